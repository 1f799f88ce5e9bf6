#include "tests/e2e/product_bed.h"

#include <deque>
#include <nlohmann/json.hpp>
#include <utility>

#include "cli/text_file.h"
#include "gateway/model_text.h"
#include "gateway/utf8.h"
#include "model/cpu_backend.h"

namespace lynx {
namespace {

using nlohmann::json;

json BodyOf(const ProductRequest& request) {
  const ProductCase& c = request.wanted;
  const SamplingParams& s = request.sampling;
  json bias = json::object();
  for (const auto& [id, addend] : s.logit_bias) bias[std::to_string(id)] = addend;
  json body = {{"prompt", request.prompt},
               {"max_tokens", c.max_tokens},
               {"temperature", s.temperature},
               {"top_p", s.top_p},
               {"repetition_penalty", s.repetition_penalty},
               {"frequency_penalty", s.frequency_penalty},
               {"presence_penalty", s.presence_penalty},
               {"logit_bias", bias},
               {"seed", s.seed},
               {"n", c.n},
               {"echo", c.echo},
               {"ignore_eos", request.ignore_eos},
               {"stop", request.stops},
               {"stop_token_ids", request.stop_token_ids},
               {"return_token_ids", true},
               {"return_tokens_as_token_ids", true}};
  if (c.logprobs) body["logprobs"] = kProductLogprobs;
  if (c.delivery != ProductDelivery::kWhole) {
    body["stream"] = true;
    body["stream_options"] = {{"include_usage", true}};
  }
  // Provisional tokens have no log-probabilities yet.
  if (c.delivery == ProductDelivery::kSpeculative && !c.logprobs) {
    body["lynx"] = {{"emission", "speculative"}};
  }
  return body;
}

// The text that OpenAI's clients show: characters that are ill-formed are replaced.
std::string TextOf(const TextModel& model, const std::vector<int32_t>& ids) {
  std::string bytes;
  for (int32_t id : ids) model.AppendTokenBytes(id, /*skip_special=*/true, &bytes);
  return LossyUtf8(bytes);
}

absl::Status Differs(const std::string& what, const json& got, const json& want) {
  return absl::InternalError(
      absl::StrCat(what, ": got ", got.dump(-1, ' ', false, json::error_handler_t::replace),
                   ", want ", want.dump(-1, ' ', false, json::error_handler_t::replace)));
}

json TopOf(const Logprobs& logprobs, int32_t id) {
  json top;
  top["token_id:" + std::to_string(id)] = logprobs.logprob;
  for (const TokenLogprob& t : logprobs.top) {
    top["token_id:" + std::to_string(t.id)] = t.logprob;
  }
  return top;
}

// Characters that are complete in the first `bytes`.
int64_t CharsBefore(const std::string& text, size_t bytes) {
  std::string out;
  AppendUtf8(std::string_view(text).substr(0, bytes), &out);
  return static_cast<int64_t>(CountCodePoints(out));
}

absl::Status CompareLogprobs(const ProductRequest& request, const ExpectedChoice& want,
                             const std::string& prompt_text, const ReplyChoice& got) {
  if (!request.wanted.logprobs) {
    if (!got.token_logprobs.empty()) return absl::InternalError("log-probabilities unasked for");
    return absl::OkStatus();
  }
  std::vector<json> logprobs, tops;
  const auto add = [&](const Logprobs& l, int32_t id) {
    logprobs.emplace_back(l.logprob);
    tops.push_back(TopOf(l, id));
  };
  const size_t echoed = request.wanted.echo ? request.prompt.size() : 0;
  if (echoed > 0) {
    logprobs.emplace_back();
    tops.emplace_back();
  }
  for (size_t i = 1; i < echoed; ++i) add(want.prompt_logprobs[i - 1], request.prompt[i]);
  for (size_t i = 0; i < want.ids.size(); ++i) add(want.logprobs[i], want.ids[i]);
  if (got.token_logprobs != logprobs)
    return Differs("token_logprobs", got.token_logprobs, logprobs);
  if (got.top_logprobs != tops) return Differs("top_logprobs", got.top_logprobs, tops);
  const int64_t base = echoed > 0 ? static_cast<int64_t>(CountCodePoints(prompt_text)) : 0;
  std::vector<int64_t> offsets;
  for (size_t begin : want.token_begin)
    offsets.push_back(base + CharsBefore(want.all_bytes, begin));
  if (got.text_offset.size() != echoed + offsets.size()) {
    return Differs("text_offset's size", got.text_offset.size(), echoed + offsets.size());
  }
  const std::vector<int64_t> tail(got.text_offset.begin() + static_cast<int64_t>(echoed),
                                  got.text_offset.end());
  return tail == offsets ? absl::OkStatus() : Differs("text_offset", tail, offsets);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ProductBed>> ProductBed::Make(const std::string& model_path,
                                                             const std::string& text_file,
                                                             int threads) {
  ASSIGN_OR_RETURN(LoadedModel model, LoadModel(model_path));
  std::unique_ptr<ProductBed> bed(new ProductBed(threads, std::move(model)));
  RETURN_IF_ERROR(bed->Open(model_path, text_file));
  return bed;
}

ProductBed::ProductBed(int threads, LoadedModel model)
    : pool_(threads), model_(std::move(model)), kernels_(SelectKernels()) {}

absl::Status ProductBed::Open(const std::string& model_path, const std::string& text_file) {
  if (kernels_ == nullptr) return absl::InternalError("no kernel tier passes its self-test");
  ASSIGN_OR_RETURN(text_, LoadTextModel(model_path));
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(text_file));
  ASSIGN_OR_RETURN(prompt_text_, text_->Encode(text, /*add_special_tokens=*/false));
  backend_ = std::make_unique<CpuBackend>(model_.config, model_.weights, *kernels_, pool_);
  transformer_ = backend_->NewTransformer(512);
  oracle_ = std::make_unique<ProductOracle>(model_, *text_, *transformer_, *backend_);
  decode_ = std::make_shared<PairDecode>(model_.config.max_context);
  GatewayOptions options;
  options.http.port = 0;
  options.pool.decode = {"10.0.0.1:8201"};
  options.pool.prefill = {"10.0.0.1:8101"};
  options.request_timeout = absl::Hours(2);
  auto prefill = std::make_shared<PairPrefill>(model_.config.max_context);
  ASSIGN_OR_RETURN(std::unique_ptr<const TextModel> gateway_text, LoadTextModel(model_path));
  ServerClients clients{.decode = [this](const std::string&) { return decode_; },
                        .prefill = [prefill](const std::string&) { return prefill; }};
  ASSIGN_OR_RETURN(gateway_, GatewayServer::Create(options, std::move(gateway_text), clients));
  return gateway_->Start();
}

std::unique_ptr<VirtualPair> ProductBed::MakePair(const ProductCase& c) {
  VirtualPairOptions options;
  options.prefill.target = c.target;
  options.prefill.chunk_tokens = c.chunk_tokens;
  options.prefill.kv_budget_bytes = size_t{8} << 30;
  options.decode.target = c.target;
  options.decode.split = c.split;
  options.decode.max_draft_tokens = 16;
  options.decode.kv_budget_bytes = size_t{8} << 30;
  options.link.bytes_per_s = static_cast<uint64_t>(c.link_mbit * 125'000);
  options.request_timeout = std::chrono::hours(24);  // of virtual time, at 20 Mbit/s and less
  options.send_queue.rate_burst = Nanos(0);
  return std::make_unique<VirtualPair>(options, model_, *kernels_, pool_);
}

absl::Status ProductBed::Run(const ProductCase& c) {
  std::vector<ProductRequest> requests;
  ASSIGN_OR_RETURN(ProductRequest first, oracle_->MakeRequest(c, prompt_text_));
  requests.push_back(std::move(first));
  for (int i = 0; i + 1 < c.batch; ++i) {
    ASSIGN_OR_RETURN(ProductRequest mate, oracle_->MakeRequest(BatchMate(c, i), prompt_text_));
    requests.push_back(std::move(mate));
  }
  std::deque<TestClient> clients;  // they do not move
  size_t calls = 0;
  for (const ProductRequest& request : requests) {
    clients.emplace_back(gateway_->port()).Send("POST", "/v1/completions", BodyOf(request).dump());
    calls += static_cast<size_t>(request.wanted.n);
  }
  const std::unique_ptr<VirtualPair> pair = MakePair(c);
  RETURN_IF_ERROR(decode_->Serve(*pair, calls));
  for (size_t i = 0; i < requests.size(); ++i) {
    const ProductCase& wanted = requests[i].wanted;
    ASSIGN_OR_RETURN(const CompletionReply reply,
                     ReadCompletion(clients[i].Read(), wanted.delivery != ProductDelivery::kWhole,
                                    static_cast<size_t>(wanted.n)));
    RETURN_IF_ERROR(Annotate(Compare(requests[i], reply), Describe(wanted)));
  }
  const decode::EngineStats stats = pair->decode_stats();
  if (stats.kv_used_bytes + pair->prefill_stats().kv_used_bytes > 0) {
    return absl::InternalError("KV memory is in use behind the last request");
  }
  totals_.drafted += static_cast<int64_t>(stats.drafted);
  totals_.accepted += static_cast<int64_t>(stats.accepted);
  totals_.rolled_back += static_cast<int64_t>(stats.rolled_back);
  return absl::OkStatus();
}

absl::Status ProductBed::Compare(const ProductRequest& request, const CompletionReply& reply) {
  const std::string prompt_text = TextOf(*text_, request.prompt);
  int64_t completion_tokens = 0;
  for (int i = 0; i < request.wanted.n; ++i) {
    const ReplyChoice& got = reply.choices[i];
    ASSIGN_OR_RETURN(const ExpectedChoice want, oracle_->Expect(request, i));
    const std::string which = absl::StrCat("choice ", i, " ");
    if (got.ids != want.ids) return Differs(which + "ids", got.ids, want.ids);
    const std::string text = (request.wanted.echo ? prompt_text : "") + LossyUtf8(want.bytes);
    if (got.text != text) return Differs(which + "text", got.text, text);
    if (got.finish_reason != want.finish_reason) {
      return Differs(which + "finish_reason", got.finish_reason, want.finish_reason);
    }
    RETURN_IF_ERROR(CompareLogprobs(request, want, prompt_text, got));
    completion_tokens += static_cast<int64_t>(want.ids.size());
  }
  if (reply.completion_tokens != completion_tokens) {
    return Differs("completion_tokens", reply.completion_tokens, completion_tokens);
  }
  const auto prompt_tokens = static_cast<int64_t>(request.prompt.size());
  return reply.prompt_tokens == prompt_tokens
             ? absl::OkStatus()
             : Differs("prompt_tokens", reply.prompt_tokens, prompt_tokens);
}

}  // namespace lynx
