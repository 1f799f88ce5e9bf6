#include "gateway/answer.h"

#include "runtime/status.h"

namespace lynx {

Answer::Answer(const GenerationFields* fields, const RequestPlan* plan, bool echo,
               ResponseMeta meta, const TextModel* model)
    : fields_(fields),
      plan_(plan),
      echo_(echo),
      model_(model),
      writer_(std::move(meta), model, fields),
      open_(static_cast<int64_t>(plan->requests.size())) {
  choices_.reserve(plan->requests.size());
  for (int64_t i = 0; i < open_; ++i) {
    choices_.emplace_back(model, plan->choice);
    choices_.back().prompt = plan->prompts[i / fields->n];
  }
}

absl::Status Answer::OnEvent(int64_t index, const v1::GenerateEvent& event,
                             std::vector<std::string>* chunks) {
  Choice& choice = choices_[index];
  if (choice.stream.finished()) return absl::OkStatus();
  std::vector<ChoiceDelta> deltas;
  switch (event.event_case()) {
    case v1::GenerateEvent::kTokens:
      RETURN_IF_ERROR(CompletePrompt(&choice));
      RETURN_IF_ERROR(choice.stream.OnTokens(event.tokens(), &deltas));
      break;
    case v1::GenerateEvent::kRollbackTo:
      RETURN_IF_ERROR(choice.stream.OnRollback(event.rollback_to(), &deltas));
      break;
    case v1::GenerateEvent::kPromptLogprobs:
      return TakePromptLogprobs(event.prompt_logprobs(), &choice);
    case v1::GenerateEvent::kFinished:
      RETURN_IF_ERROR(CompletePrompt(&choice));
      AddStats(event.finished().stats());
      choice.stats = true;
      RETURN_IF_ERROR(choice.stream.OnFinished(event.finished().reason(), &deltas));
      break;
    case v1::GenerateEvent::EVENT_NOT_SET:
      return absl::OkStatus();  // a newer server's kind of event
  }
  return Deliver(index, std::move(deltas), chunks);
}

absl::Status Answer::TakePromptLogprobs(const v1::PromptLogprobs& logprobs, Choice* choice) {
  if (logprobs.first_position() != static_cast<int64_t>(choice->prompt_infos.size()) + 1) {
    return absl::InternalError("The decode server sent prompt log-probabilities out of order.");
  }
  choice->prompt_infos.insert(choice->prompt_infos.end(), logprobs.tokens().begin(),
                              logprobs.tokens().end());
  return absl::OkStatus();
}

// Before the first token: the prompt's log-probabilities must be there if they were asked for.
absl::Status Answer::CompletePrompt(Choice* choice) {
  if (!echo_ || fields_->logprobs < 0 || !choice->prompt.logprobs.empty()) return absl::OkStatus();
  if (choice->prompt_infos.size() + 1 != choice->prompt.ids.size()) {
    return absl::InternalError("The decode server did not send all prompt log-probabilities.");
  }
  choice->prompt.logprobs = PromptPieces(*model_, choice->prompt.ids, choice->prompt_infos);
  choice->prompt_infos.clear();
  choice->prompt_infos.shrink_to_fit();
  return absl::OkStatus();
}

absl::Status Answer::Deliver(int64_t index, std::vector<ChoiceDelta> deltas,
                             std::vector<std::string>* chunks) {
  Choice& choice = choices_[index];
  for (ChoiceDelta& delta : deltas) {
    if (delta.finish.has_value()) {
      choice.result.finish = *delta.finish;
      --open_;
      if (!choice.stats) ++stats_.choices_without;
    }
    if (fields_->stream) {
      Send(index, delta, chunks);
    } else {
      Keep(std::move(delta), &choice);
    }
  }
  return absl::OkStatus();
}

void Answer::Send(int64_t index, const ChoiceDelta& delta, std::vector<std::string>* chunks) {
  Choice& choice = choices_[index];
  if (choice.first && echo_) chunks->push_back(writer_.EchoChunk(index, choice.prompt));
  std::optional<Usage> usage;
  if (fields_->continuous_usage_stats) {
    usage = Usage{static_cast<int64_t>(choice.prompt.ids.size()), completion_tokens(index)};
  }
  std::string chunk;
  if (delta.finish.has_value()) {
    const bool stats = fields_->stats && open_ == 0;
    chunk = writer_.FinishChunk(index, delta, choice.first, usage, stats ? &stats_ : nullptr);
  } else {
    chunk = writer_.DeltaChunk(index, delta, choice.first, choice.prompt, usage);
  }
  if (chunk.empty()) {
    choice.first &= !echo_;
    return;
  }
  choice.first = false;
  chunks->push_back(std::move(chunk));
}

void Answer::Keep(ChoiceDelta delta, Choice* choice) {
  choice->result.text += delta.text;
  for (TokenPiece& token : delta.tokens) choice->result.tokens.push_back(std::move(token));
}

void Answer::AddStats(const v1::GenerateStats& stats) {
  ++stats_.choices_known;
  v1::GenerateStats& sum = stats_.sum;
  sum.set_drafted(sum.drafted() + stats.drafted());
  sum.set_accepted(sum.accepted() + stats.accepted());
  sum.set_rolled_back(sum.rolled_back() + stats.rolled_back());
  sum.set_anchor_bytes(sum.anchor_bytes() + stats.anchor_bytes());
  sum.set_residual_bytes(sum.residual_bytes() + stats.residual_bytes());
  sum.set_diverged(sum.diverged() || stats.diverged());
  // Times are those of the first choice that ended.
  if (sum.second_token_committed_ms() > 0) return;
  sum.set_second_token_provisional_ms(stats.second_token_provisional_ms());
  sum.set_second_token_committed_ms(stats.second_token_committed_ms());
}

Usage Answer::usage() const {
  Usage usage;
  usage.prompt_tokens = plan_->prompt_tokens;
  for (const Choice& choice : choices_)
    usage.completion_tokens += choice.stream.completion_tokens();
  return usage;
}

void Answer::Tail(std::vector<std::string>* chunks) {
  if (fields_->include_usage) {
    chunks->push_back(writer_.UsageChunk(usage(), fields_->stats ? &stats_ : nullptr));
  }
}

std::string Answer::Body() {
  for (size_t i = 0; i < choices_.size(); ++i) {
    writer_.AddChoice(static_cast<int64_t>(i), choices_[i].result, choices_[i].prompt, echo_);
  }
  return writer_.Finish(usage(), stats_);
}

}  // namespace lynx
