// Writes what the generating endpoints answer. No I/O; one writer a request, not thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gateway/choice_stream.h"
#include "gateway/logprob_json.h"
#include "gateway/openai_request.h"
#include "proto/lynx.pb.h"

namespace lynx {

struct ResponseMeta {
  bool chat = false;
  std::string id;  // "chatcmpl-...", "cmpl-..."
  std::string model;
  int64_t created = 0;             // Unix seconds
  uint64_t seed = 0;               // the request's own or the one drawn for it
  std::string system_fingerprint;  // of the servers' identity; empty: null
};

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// A prompt as `echo` returns it.
struct EchoedPrompt {
  std::string text;        // empty unless it is echoed
  int64_t text_chars = 0;  // code points of `text`
  std::vector<int32_t> ids;
  std::vector<TokenPiece> logprobs;  // of ids[1] and on; empty if none were asked for
};

// What the servers told of a request's speculation.
struct StatsSummary {
  v1::GenerateStats sum;        // over the choices that servers ended
  int64_t choices_known = 0;    // that `sum` is over
  int64_t choices_without = 0;  // ended by the gateway, so that no server summed them up
};

// One choice of an answer that is not streamed.
struct ChoiceResult {
  std::string text;
  std::vector<TokenPiece> tokens;
  Finish finish = Finish::kStop;
};

class ResponseWriter {
 public:
  // `model` and `fields` outlive this.
  ResponseWriter(ResponseMeta meta, const TextModel* model, const GenerationFields* fields);

  // `prompt`: what choice `index` belongs to, `echo`: it is to be returned too (completions only).
  void AddChoice(int64_t index, const ChoiceResult& result, const EchoedPrompt& prompt, bool echo);
  // The whole answer, with the choices added so far.
  std::string Finish(const Usage& usage, const StatsSummary& stats);

  // Chunks of a stream. `first`: the choice's first chunk. `usage` is given with continuous usage.
  // Empty: the delta has nothing to say to this client.
  std::string DeltaChunk(int64_t index, const ChoiceDelta& delta, bool first,
                         const EchoedPrompt& prompt, const std::optional<Usage>& usage);
  // The prompt before the first token.
  std::string EchoChunk(int64_t index, const EchoedPrompt& prompt);
  // The chunk that carries finish_reason; with `stats` if the request ends with it and asked for
  // them.
  std::string FinishChunk(int64_t index, const ChoiceDelta& delta, bool first,
                          const std::optional<Usage>& usage, const StatsSummary* stats);
  // The chunk without choices behind the last choice.
  std::string UsageChunk(const Usage& usage, const StatsSummary* stats);

 private:
  OrderedJson Head(bool chunk) const;
  OrderedJson Choice(int64_t index) const;
  std::string Chunk(OrderedJson choice, const std::optional<Usage>& usage, OrderedJson extension,
                    const std::vector<int32_t>* chat_prompt_ids = nullptr);
  OrderedJson Logprobs(const std::vector<TokenPiece>& tokens, int64_t base_chars) const;
  OrderedJson EchoLogprobs(const EchoedPrompt& prompt, const std::vector<TokenPiece>& tokens) const;

  const ResponseMeta meta_;
  const TextModel* const model_;
  const GenerationFields* const fields_;
  OrderedJson choices_ = OrderedJson::array();
  OrderedJson chat_prompt_ids_;  // of the one prompt of a chat request
};

// The pieces that stand for a prompt's tokens, as the servers describe them.
std::vector<TokenPiece> PromptPieces(const TextModel& model, const std::vector<int32_t>& ids,
                                     const std::vector<v1::TokenInfo>& infos);

}  // namespace lynx
