// The error that the emulated device has met, if any.
#pragma once

namespace simt {

// Keeps the first text until ResetError, and prints it.
void SetError(const char* text);
bool HasError();

}  // namespace simt
