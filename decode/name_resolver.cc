#include "decode/name_resolver.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"

namespace lynx::decode {

struct NameResolver::State {
  struct Job {
    std::string host;
    absl::Time deadline;
    Done done;
    std::optional<Addresses> answer;
  };

  // Takes `done`; nullopt, and leaves it, if too many are being looked up.
  std::optional<uint64_t> Add(const std::string& host, absl::Time deadline, Done* done);
  // Tells whoever waits, until the resolver ends.
  void Tell();
  std::vector<Job> TakeFinished() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Answer(uint64_t id, Addresses answer);

  absl::Mutex mu;
  std::map<uint64_t, Job> jobs ABSL_GUARDED_BY(mu);
  uint64_t next_id ABSL_GUARDED_BY(mu) = 0;
  int threads ABSL_GUARDED_BY(mu) = 0;
  bool news ABSL_GUARDED_BY(mu) = false;  // a job, an answer, or the end
  bool stop ABSL_GUARDED_BY(mu) = false;
};

std::optional<uint64_t> NameResolver::State::Add(const std::string& host, absl::Time deadline,
                                                 Done* done) {
  absl::MutexLock lock(&mu);
  if (threads >= kThreadsMax) return std::nullopt;
  ++threads;
  const uint64_t id = next_id++;
  jobs[id] = {host, deadline, std::move(*done), {}};
  news = true;
  return id;
}

std::vector<NameResolver::State::Job> NameResolver::State::TakeFinished() {
  const absl::Time now = absl::Now();
  std::vector<Job> finished;
  for (auto it = jobs.begin(); it != jobs.end();) {
    Job& job = it->second;
    if (stop && !job.answer) job.answer = absl::CancelledError("shutting down");
    if (!job.answer && now >= job.deadline) {
      job.answer =
          absl::UnavailableError(absl::StrCat("no answer in time for the name ", job.host));
    }
    if (job.answer) {
      finished.push_back(std::move(job));
      it = jobs.erase(it);
    } else {
      ++it;
    }
  }
  return finished;
}

void NameResolver::State::Tell() {
  while (true) {
    std::vector<Job> finished;
    bool last = false;
    {
      absl::MutexLock lock(&mu);
      absl::Time next = absl::InfiniteFuture();
      for (const auto& [id, job] : jobs) next = std::min(next, job.deadline);
      mu.AwaitWithDeadline(absl::Condition(&news), next);
      news = false;
      finished = TakeFinished();
      last = stop;
    }
    for (Job& job : finished) job.done(*std::move(job.answer));
    if (last) return;
  }
}

void NameResolver::State::Answer(uint64_t id, Addresses answer) {
  absl::MutexLock lock(&mu);
  --threads;
  auto it = jobs.find(id);
  if (it == jobs.end()) return;  // too late
  it->second.answer = std::move(answer);
  news = true;
}

NameResolver::NameResolver(Nanos limit, Lookup lookup)
    : limit_(limit),
      lookup_(std::move(lookup)),
      state_(std::make_shared<State>()),
      teller_([state = state_.get()] { state->Tell(); }) {}

NameResolver::~NameResolver() {
  {
    absl::MutexLock lock(&state_->mu);
    state_->stop = state_->news = true;
  }
  teller_.join();
}

void NameResolver::Resolve(const std::string& host, uint16_t port, Done done) {
  Addresses numeric = ResolveNumericHost(host, port);
  if (numeric.ok()) return done(std::move(numeric));
  std::optional<uint64_t> id = state_->Add(host, absl::Now() + absl::FromChrono(limit_), &done);
  if (!id) {
    return done(absl::ResourceExhaustedError(
        absl::StrCat("the names of ", kThreadsMax, " data hosts are being waited for")));
  }
  std::thread([state = state_, lookup = lookup_, host, port, id = *id] {
    state->Answer(id, lookup(host, port));
  }).detach();
}

}  // namespace lynx::decode
