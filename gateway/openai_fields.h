// The parts of openai_request.cc that completions and chat share.
#pragma once

#include "gateway/json_fields.h"
#include "gateway/openai_request.h"

namespace lynx {

// Everything of GenerationFields but max_tokens and logprobs, whose names differ by endpoint.
void ReadGenerationFields(JsonFields& fields, const RequestLimits& limits, GenerationFields* out);

// Fails on the first field that is known, unsupported and would change the text or the answer's
// form.
void RefuseUnsupported(JsonFields& fields);

}  // namespace lynx
