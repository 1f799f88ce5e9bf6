#include "cli/direct_link.h"

#include <utility>
#include <vector>

namespace lynx {

void DirectLink::Start(decode::AttemptId attempt, const std::string&, v1::RunRequest request,
                       Nanos deadline) {
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (!session_.has_value()) {
      absl::StatusOr<DataSession> session = connect_();
      status = session.status();
      if (session.ok()) session_ = *session;
    }
    if (status.ok()) {
      absl::StatusOr<prefill::RunId> run =
          prefill_->Submit(std::move(request), session_->sender, deadline);
      status = run.status();
      if (run.ok()) {
        attempts_[*run] = attempt;
        runs_[attempt] = *run;
        decode_->OnAttemptStarted(attempt, session_->receiver);
      }
    }
  }
  if (!status.ok()) decode_->OnAttemptEnded(attempt, status);
}

void DirectLink::Send(decode::AttemptId attempt, v1::DecodeToPrefill message) {
  std::optional<prefill::RunId> run;
  {
    absl::MutexLock lock(&mu_);
    auto it = runs_.find(attempt);
    if (it != runs_.end()) run = it->second;
  }
  if (!run.has_value()) return;
  absl::Status status = prefill_->Post(*run, std::move(message));
  if (!status.ok()) prefill_->Cancel(*run, status);
}

void DirectLink::Cancel(decode::AttemptId attempt) {
  std::optional<prefill::RunId> run;
  {
    absl::MutexLock lock(&mu_);
    auto it = runs_.find(attempt);
    if (it == runs_.end()) return;
    run = it->second;
    attempts_.erase(*run);
    runs_.erase(it);
  }
  prefill_->Cancel(*run, absl::CancelledError("cancelled by the decode server"));
}

void DirectLink::SessionLost(SessionId session) {
  absl::MutexLock lock(&mu_);
  if (session_.has_value() && session_->receiver == session) session_.reset();
}

void DirectLink::OnMessage(prefill::RunId run, v1::PrefillToDecode message) {
  std::optional<decode::AttemptId> attempt;
  {
    absl::MutexLock lock(&mu_);
    auto it = attempts_.find(run);
    if (it != attempts_.end()) attempt = it->second;
  }
  if (attempt.has_value()) decode_->OnPrefillMessage(*attempt, std::move(message));
}

void DirectLink::OnFinished(prefill::RunId run, const absl::Status& status) {
  std::optional<decode::AttemptId> attempt = Forget(run);
  if (attempt.has_value()) decode_->OnAttemptEnded(*attempt, status);
}

std::optional<decode::AttemptId> DirectLink::Forget(prefill::RunId run) {
  absl::MutexLock lock(&mu_);
  auto it = attempts_.find(run);
  if (it == attempts_.end()) return std::nullopt;
  const decode::AttemptId attempt = it->second;
  attempts_.erase(it);
  runs_.erase(attempt);
  return attempt;
}

void DirectLink::KillRuns() {
  std::map<prefill::RunId, decode::AttemptId> killed;
  {
    absl::MutexLock lock(&mu_);
    killed.swap(attempts_);
    runs_.clear();
  }
  for (const auto& [run, attempt] : killed) {
    prefill_->Cancel(run, absl::UnavailableError("killed"));
    decode_->OnAttemptEnded(attempt, absl::UnavailableError("the prefill server is gone"));
  }
}

}  // namespace lynx
