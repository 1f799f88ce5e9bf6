// What the prefill engine hears from decode servers, and tells them.
#include <utility>
#include <vector>

#include "prefill/engine.h"
#include "prefill/run_report.h"

namespace lynx::prefill {

bool Engine::ReadMail() {
  std::vector<std::unique_ptr<Run>> submitted;
  std::vector<std::pair<RunId, v1::DecodeToPrefill>> letters;
  std::vector<std::pair<RunId, absl::Status>> cancelled;
  {
    absl::MutexLock lock(&mail_mu_);
    submitted.swap(mail_.submitted);
    cancelled.swap(mail_.cancelled);
    for (auto& [run, mail] : mail_.letters) {
      for (v1::DecodeToPrefill& letter : mail.Take()) letters.emplace_back(run, std::move(letter));
    }
  }
  for (auto& run : submitted) TakeIn(std::move(run));
  for (const auto& [id, letter] : letters) {
    auto it = runs_.find(id);
    if (it != runs_.end()) OnMessage(*it->second, letter);
  }
  for (const auto& [run, why] : cancelled) Finish(run, why);
  return !submitted.empty() || !letters.empty() || !cancelled.empty();
}

void Engine::TakeIn(std::unique_ptr<Run> run) {
  const RunId id = run->id;
  const bool lost = run->request.transfer_kv() && lost_sessions_.Contains(run->session);
  runs_.emplace(id, std::move(run));
  if (lost) Finish(id, absl::UnavailableError("the data connection was lost"));
}

// Says something to the decode server.
void Engine::Tell(const Run& run, v1::PrefillToDecode message) {
  {
    absl::MutexLock lock(&mail_mu_);
    mail_.letters.at(run.id).Told(message);
  }
  sink_.OnMessage(run.id, std::move(message));
}

void Engine::OnMessage(Run& run, const v1::DecodeToPrefill& message) {
  switch (message.message_case()) {
    case v1::DecodeToPrefill::kGrant:
      return OnGrant(run);
    case v1::DecodeToPrefill::kNotYet:
      if (run.phase != Phase::kAsked) return;
      measures_.not_yet.Add();
      ReleaseRun(run, places_);
      run.phase = Phase::kQueued;
      run.not_before = clock_.Now() + options_.not_yet_retry;
      return;
    case v1::DecodeToPrefill::kMissing:
      return OnMissing(run, message.missing());
    case v1::DecodeToPrefill::kPromote:
      AddMoment(run.trace, "request", "promoted", clock_.Now());
      if (run.transfer_begun) sender_.Promote(run.key).IgnoreError();
      return;
    case v1::DecodeToPrefill::kRawGrant:
      return OnRawGrant(run);
    case v1::DecodeToPrefill::kDone:
      return Finish(run.id, absl::OkStatus());
    case v1::DecodeToPrefill::kRun:
    case v1::DecodeToPrefill::MESSAGE_NOT_SET:
      return;  // not posted
  }
}

void Engine::OnGrant(Run& run) {
  if (run.phase != Phase::kAsked) return;
  run.phase = Phase::kComputing;
  run.granted_at = clock_.Now();
  measures_.queue_s.Observe(run.granted_at - run.submitted);
  TraceWait(run, "wait for the grant", run.asked, clock_.Now());
  if (!run.request.transfer_kv()) return;
  if (awaiting_release_.contains(run.key)) {
    return Finish(run.id, absl::AlreadyExistsError("this transfer id is in use"));
  }
  absl::Status status = sender_.Begin(run.key, run.session);
  if (status.ok()) status = sender_.Granted(run.key);
  run.transfer_begun = status.ok();
  if (!status.ok()) Finish(run.id, Annotate(status, "cannot begin the transfer"));
}

// One grant for each list of raw pages that was told, in order.
void Engine::OnRawGrant(Run& run) {
  if (run.raw_told.empty() || !run.transfer_begun) return;
  std::vector<BlockData> blocks;
  for (const BlockId& id : run.raw_told.front()) {
    absl::StatusOr<BlockData> block = FindBlock(run, id);
    if (block.ok()) blocks.push_back(*block);
  }
  run.raw_told.pop_front();
  absl::Status status = sender_.Offer(run.key, blocks);
  if (!status.ok()) Finish(run.id, Annotate(status, "cannot send raw pages"));
}

void Engine::OnMissing(Run& run, const v1::Missing& missing) {
  std::vector<BlockId> ids;
  for (const v1::BlockId& block : missing.blocks()) {
    if (block.kind() >= kBlockKinds) continue;
    ids.push_back({block.layer(), static_cast<BlockKind>(block.kind()), block.page()});
  }
  measures_.missing_blocks.Add(ids.size());
  AddMoment(run.trace, "request", "blocks sent again", clock_.Now(), {"blocks", std::ssize(ids)});
  if (run.transfer_begun) sender_.Resend(run.key, ids).status().IgnoreError();
}

}  // namespace lynx::prefill
