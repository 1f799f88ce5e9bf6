// One GET over a blocking socket, for asking a server of ours how it is.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/clock.h"

namespace lynx {

// The status code of GET http://host:port/path; 0 if there is no answer in time. `host`: an
// address.
int HttpGetStatus(const std::string& host, int64_t port, const std::string& path, Nanos timeout);

}  // namespace lynx
