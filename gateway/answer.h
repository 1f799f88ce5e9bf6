// One request's answer in the making: server events go in, SSE payloads or one body come out. No
// I/O.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "gateway/choice_stream.h"
#include "gateway/openai_response.h"
#include "gateway/request_plan.h"

namespace lynx {

class Answer {
 public:
  // All outlive this. `echo`: completions return the prompts too.
  Answer(const GenerationFields* fields, const RequestPlan* plan, bool echo, ResponseMeta meta,
         const TextModel* model);

  // Takes one event of a choice; appends payloads to `chunks` if the request streams. INTERNAL: the
  // server broke the protocol.
  absl::Status OnEvent(int64_t choice, const v1::GenerateEvent& event,
                       std::vector<std::string>* chunks);

  bool finished(int64_t choice) const { return choices_[choice].stream.finished(); }
  bool finished() const { return open_ == 0; }
  int64_t completion_tokens(int64_t choice) const {
    return choices_[choice].stream.completion_tokens();
  }
  Finish reason(int64_t choice) const { return choices_[choice].result.finish; }

  // Once finished: the payloads behind the last choice's, or the whole body.
  void Tail(std::vector<std::string>* chunks);
  std::string Body();

  Usage usage() const;
  // Of the choices that servers ended.
  const v1::GenerateStats& stats() const { return stats_.sum; }

 private:
  struct Choice {
    explicit Choice(const TextModel* model, const ChoiceOptions& options)
        : stream(model, options) {}
    ChoiceStream stream;
    ChoiceResult result;  // of a request that does not stream; `finish` always
    EchoedPrompt prompt;  // with what is known of its log-probabilities
    std::vector<v1::TokenInfo> prompt_infos;
    bool first = true;   // nothing was sent yet
    bool stats = false;  // its server has told them
  };

  absl::Status TakePromptLogprobs(const v1::PromptLogprobs& logprobs, Choice* choice);
  absl::Status CompletePrompt(Choice* choice);
  absl::Status Deliver(int64_t index, std::vector<ChoiceDelta> deltas,
                       std::vector<std::string>* chunks);
  void Send(int64_t index, const ChoiceDelta& delta, std::vector<std::string>* chunks);
  void Keep(ChoiceDelta delta, Choice* choice);
  void AddStats(const v1::GenerateStats& stats);

  const GenerationFields* const fields_;
  const RequestPlan* const plan_;
  const bool echo_;
  const TextModel* const model_;
  ResponseWriter writer_;
  std::vector<Choice> choices_;
  int64_t open_;
  StatsSummary stats_;
};

}  // namespace lynx
