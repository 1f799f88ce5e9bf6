#include "tests/e2e/product_oracle.h"

#include <algorithm>
#include <utility>

#include "model/kv_format.h"
#include "model/sampling_noise.h"

namespace lynx {
namespace {

// Not in any text, so that there is a second stop string beside the one that is met.
constexpr char kNever[] = "\x01\x02";

bool Printable(char c) { return c >= ' ' && c <= '~'; }

SamplingParams SamplingOf(const ProductCase& c, const std::vector<int32_t>& prompt) {
  SamplingParams s;
  s.temperature = c.temperature;
  s.top_p = c.top_p;
  if (c.penalties) {
    s.repetition_penalty = 1.2;
    s.frequency_penalty = 0.5;
    s.presence_penalty = -0.25;
    s.logit_bias = {{prompt.front(), 1.5}};
  }
  s.seed = 1000 + static_cast<uint64_t>(c.variety);
  return s;
}

}  // namespace

bool ProductOracle::EndsText(const ProductRequest& request, int32_t id) const {
  const std::vector<int32_t>& stops = request.stop_token_ids;
  const std::vector<int32_t>& eos = model_.config.eos_ids;
  if (std::find(stops.begin(), stops.end(), id) != stops.end()) return true;
  return !request.ignore_eos && std::find(eos.begin(), eos.end(), id) != eos.end();
}

absl::StatusOr<ProductRequest> ProductOracle::MakeRequest(const ProductCase& c,
                                                          const std::vector<int32_t>& text) {
  ProductRequest request;
  request.wanted = c;
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < c.prompt_tokens; ++i) {
    request.prompt.push_back(text[(c.variety * 97 + i) % size]);
  }
  request.sampling = SamplingOf(c, request.prompt);
  request.ignore_eos = c.variety % 2 == 1;
  if (c.stop != ProductStop::kNone) {
    ASSIGN_OR_RETURN(const ReferenceResult* reference, Reference(request, 0));
    AddStop(*reference, &request);
  }
  return request;
}

void ProductOracle::AddStop(const ReferenceResult& reference, ProductRequest* request) const {
  if (request->wanted.stop == ProductStop::kTokenId) {
    request->stop_token_ids = {reference.tokens[reference.tokens.size() / 2]};
    return;
  }
  std::string bytes;
  for (int32_t id : reference.tokens) text_.AppendTokenBytes(id, /*skip_special=*/true, &bytes);
  // A stop string may span tokens; ASCII, so that it cannot begin inside a character.
  size_t begin = bytes.size() / 2;
  while (begin < bytes.size() && !Printable(bytes[begin])) ++begin;
  size_t end = begin;
  while (end < bytes.size() && end - begin < 3 && Printable(bytes[end])) ++end;
  if (end > begin) request->stops.push_back(bytes.substr(begin, end - begin));
  request->stops.emplace_back(kNever);
}

absl::StatusOr<const ReferenceResult*> ProductOracle::Reference(const ProductRequest& request,
                                                                int choice) {
  const ProductCase& c = request.wanted;
  const bool prompt_logprobs = c.echo && c.logprobs;
  const std::string key = absl::StrCat(
      c.prompt_tokens, " ", ToAbsl(KvTargetName(c.target)), " ", c.temperature, " ", c.top_p, " ",
      c.penalties, " ", c.max_tokens, " ", c.variety, " ", choice, " ", prompt_logprobs);
  std::unique_ptr<const ReferenceResult>& known = known_[key];
  if (known == nullptr) {
    ReferenceRequest reference;
    reference.prompt = request.prompt;
    reference.max_tokens = c.max_tokens;
    if (!request.ignore_eos) reference.ending_ids = model_.config.eos_ids;
    reference.sampling = request.sampling;
    reference.sampling.seed = DeriveSeed(request.sampling.seed, static_cast<uint64_t>(choice));
    reference.logprobs = kProductLogprobs;
    reference.prompt_logprobs = prompt_logprobs ? kProductLogprobs : -1;
    // Target bf16 must equal what no code has a part in; any split will do for the other.
    ASSIGN_OR_RETURN(const KvGeometry geometry, MakeKvGeometry(model_.config, c.target, {5, 4}));
    ASSIGN_OR_RETURN(
        ReferenceResult result,
        DecodeReference(reference, geometry, c.target == KvTarget::kBf16, transformer_, backend_));
    known = std::make_unique<const ReferenceResult>(std::move(result));
  }
  return known.get();
}

absl::StatusOr<ExpectedChoice> ProductOracle::Expect(const ProductRequest& request, int choice) {
  ASSIGN_OR_RETURN(const ReferenceResult* reference, Reference(request, choice));
  ExpectedChoice out;
  out.finish_reason = "length";
  out.prompt_logprobs = reference->prompt_logprobs;
  for (size_t i = 0; i < reference->tokens.size() && out.finish_reason == "length"; ++i) {
    const int32_t id = reference->tokens[i];
    out.ids.push_back(id);
    out.logprobs.push_back(reference->logprobs[i]);
    out.token_begin.push_back(out.all_bytes.size());
    if (EndsText(request, id)) {
      out.finish_reason = "stop";
      break;
    }
    text_.AppendTokenBytes(id, /*skip_special=*/true, &out.all_bytes);
    size_t cut = std::string::npos;
    for (const std::string& stop : request.stops) cut = std::min(cut, out.all_bytes.find(stop));
    if (cut == std::string::npos) continue;
    out.finish_reason = "stop";
    out.bytes = out.all_bytes.substr(0, cut);
    return out;
  }
  out.bytes = out.all_bytes;
  return out;
}

}  // namespace lynx
