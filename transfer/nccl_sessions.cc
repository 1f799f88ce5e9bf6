#include "transfer/nccl_sessions.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "transfer/nccl_api.h"

namespace lynx {

namespace {

absl::StatusOr<NcclMemory> TakeMemory(const NcclOptions& options, uint64_t scratch_bytes,
                                      bool checksums) {
  NcclMemory memory;
  ASSIGN_OR_RETURN(memory.scratch, cuda::DeviceBuffer<std::byte>::Create(scratch_bytes));
  RETURN_IF_ERROR(cuda::ToStatus(cudaMemset(memory.scratch.data(), 0, memory.scratch.bytes()),
                                 "cannot clear the channel's scratch memory"));
  if (!checksums) return memory;
  const size_t slots = size_t{kStreams} * static_cast<size_t>(options.operations_in_flight);
  ASSIGN_OR_RETURN(memory.checksums,
                   NcclChecksums::Create(slots * static_cast<size_t>(options.max_pairs)));
  return memory;
}

}  // namespace

absl::StatusOr<NcclMemory> StartNccl(const NcclOptions& options, uint64_t scratch_bytes,
                                     bool checksums) {
  RETURN_IF_ERROR(options.Validate());
  RETURN_IF_ERROR(LoadNccl().status());
  int before = 0;
  RETURN_IF_ERROR(cuda::ToStatus(cudaGetDevice(&before), "cannot use CUDA"));
  RETURN_IF_ERROR(cuda::ToStatus(cudaSetDevice(options.device),
                                 absl::StrCat("cannot use CUDA device ", options.device)));
  absl::StatusOr<NcclMemory> memory = TakeMemory(options, scratch_bytes, checksums);
  (void)cudaSetDevice(before);  // the caller's thread is not the issuing one
  return memory;
}

NcclSessions::NcclSessions(const NcclOptions& options, EventLoop* loop, OnEnd on_end)
    : options_(options), loop_(loop), on_end_(std::move(on_end)) {}

absl::Status NcclSessions::Add(std::unique_ptr<NcclSession> session) {
  const SessionId id = session->id();
  auto entry = std::make_unique<Entry>();
  entry->session = std::move(session);
  entry->watched_fd = entry->session->fd();
  // What comes only ends the waiting: every session is stepped in each round.
  RETURN_IF_ERROR(loop_->Add(entry->watched_fd, entry->session->wanted_events(), [](uint32_t) {}));
  sessions_[id] = std::move(entry);
  return absl::OkStatus();
}

NcclSession* NcclSessions::Find(SessionId id) {
  auto it = sessions_.find(id);
  if (it == sessions_.end() || it->second->session->failing()) return nullptr;
  return it->second->session.get();
}

int64_t NcclSessions::up() const {
  return std::count_if(sessions_.begin(), sessions_.end(),
                       [](const auto& entry) { return entry.second->session->up(); });
}

int64_t NcclSessions::stuck() const {
  return std::count_if(sessions_.begin(), sessions_.end(),
                       [](const auto& entry) { return entry.second->session->stuck(); });
}

bool NcclSessions::MakeRoom(Nanos now, absl::FunctionRef<bool(SessionId)> retire, bool* evicted) {
  *evicted = false;
  int pairs = 0;
  std::vector<NcclSession*> idle;
  for (auto& [id, entry] : sessions_) {
    NcclSession* session = entry->session.get();
    if (session->failing()) continue;
    ++pairs;
    if (session->idle() && now - session->last_used() >= options_.evict_idle_after) {
      idle.push_back(session);
    }
  }
  if (pairs < options_.max_pairs) return true;
  std::sort(idle.begin(), idle.end(), [](const NcclSession* a, const NcclSession* b) {
    return a->last_used() < b->last_used();
  });
  const auto oldest =
      std::find_if(idle.begin(), idle.end(), [&](const NcclSession* s) { return retire(s->id()); });
  if (oldest == idle.end()) return false;
  *evicted = true;
  (*oldest)->Fail(absl::UnavailableError(absl::StrCat(
                      "idle for the longest of all ", options_.max_pairs,
                      " pairs, gave way to another: join again when there is something to send")),
                  now);
  return true;
}

void NcclSessions::Unwatch(Entry* entry) {
  if (entry->watched_fd >= 0) loop_->Remove(std::exchange(entry->watched_fd, -1));
}

void NcclSessions::Watch(Entry* entry) {
  if (entry->watched_fd < 0) return;
  // A failing session reads no more: its socket would stay readable.
  if (entry->session->failing()) return Unwatch(entry);
  loop_->SetEvents(entry->watched_fd, entry->session->wanted_events());
}

void NcclSessions::Settle(Entry* entry) {
  const bool ended = entry->session->over() || entry->session->stuck();
  if (ended && !std::exchange(entry->told, true)) on_end_(*entry->session);
}

void NcclSessions::StepAll(Nanos now) {
  for (auto& [id, entry] : sessions_) {
    entry->session->Step(now);
    Watch(entry.get());
    Settle(entry.get());
  }
  absl::erase_if(sessions_, [](const auto& entry) { return entry.second->session->over(); });
}

std::optional<Nanos> NcclSessions::NextStep(Nanos now) const {
  std::optional<Nanos> next;
  for (const auto& [id, entry] : sessions_) {
    const std::optional<Nanos> at = entry->session->NextStep(now);
    if (at) next = next ? std::min(*next, *at) : *at;
  }
  return next;
}

bool NcclSessions::AbortAll(const absl::Status& why) {
  for (auto& [id, entry] : sessions_) entry->session->Fail(why, loop_->Now());
  while (true) {
    StepAll(loop_->Now());
    const bool waits = std::any_of(sessions_.begin(), sessions_.end(), [](const auto& entry) {
      return !entry.second->session->stuck();
    });
    if (!waits) break;
    loop_->RunOnce(NextStep(loop_->Now()));
  }
  const bool clean = sessions_.empty();
  for (auto& [id, entry] : sessions_) {
    (void)entry.release();  // NOLINT(bugprone-unused-return-value): the device still uses it
  }
  sessions_.clear();
  return clean;
}

}  // namespace lynx
