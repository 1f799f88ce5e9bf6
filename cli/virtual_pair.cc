#include "cli/virtual_pair.h"

#include <algorithm>

#include "model/cpu_backend.h"

namespace lynx {

VirtualPair::VirtualPair(const VirtualPairOptions& options, const LoadedModel& model,
                         const Kernels& kernels, ThreadPool& pool)
    : VirtualPair(options, model.config,
                  std::make_unique<CpuBackend>(model.config, model.weights, kernels, pool),
                  std::make_unique<CpuBackend>(model.config, model.weights, kernels, pool)) {}

VirtualPair::VirtualPair(const VirtualPairOptions& options, const ModelConfig& config,
                         std::unique_ptr<Backend> prefill, std::unique_ptr<Backend> decode)
    : options_(options), sender_(options.send_queue) {
  control_ = std::make_unique<DirectLink>([this]() -> absl::StatusOr<DataSession> {
    session_ = link_->Connect();
    return DataSession{.sender = session_, .receiver = session_};
  });
  prefill_ = std::make_unique<prefill::Engine>(options.prefill, config, std::move(prefill), clock_,
                                               sender_, *control_, [] {});
  decode_ = std::make_unique<decode::Engine>(options.decode, config, std::move(decode), clock_,
                                             receiver_, *control_, *this, [] {});
  control_->Attach(prefill_.get(), decode_.get());
  link_ = std::make_unique<SimLink>(options.link, &clock_, &sender_, &receiver_);
}

VirtualPair::~VirtualPair() = default;

const TimedResult& VirtualPair::SubmitTimed(v1::GenerateRequest request) {
  results_.push_back(std::make_unique<Result>());
  Result& result = *results_.back();
  result.submitted = clock_.Now();
  Collected& collected = result.timed.collected;
  if (request.prefill_addresses().empty()) request.add_prefill_addresses("prefill");
  absl::StatusOr<decode::RequestId> id =
      decode_->Submit(std::move(request), clock_.Now() + options_.request_timeout);
  if (id.ok()) {
    open_[*id] = &result;
  } else {
    collected.done = true;
    collected.status = id.status();
  }
  return result.timed;
}

void VirtualPair::Cancel(const Collected& request) {
  for (const auto& [id, result] : open_) {
    if (&result->timed.collected == &request) decode_->Cancel(id);
  }
}

bool VirtualPair::OnEvent(decode::RequestId request, v1::GenerateEvent event) {
  Result& result = *open_.at(request);
  const Nanos since = clock_.Now() + options_.decode_step - result.submitted;
  protocol_error_.Update(result.timed.Add(event, since));
  if (!protocol_error_.ok()) return false;
  return observer_ == nullptr || observer_(result.timed.collected, event);
}

void VirtualPair::OnFinished(decode::RequestId request, const absl::Status& status) {
  auto it = open_.find(request);
  TimedResult& timed = it->second->timed;
  timed.total = clock_.Now() + options_.decode_step - it->second->submitted;
  timed.collected.done = true;
  timed.collected.status = status;
  open_.erase(it);
}

bool VirtualPair::Open() const {
  const decode::EngineStats d = decode_->stats();
  const prefill::EngineStats p = prefill_->stats();
  // Cancelled requests leave later than they end: memory in quarantine, runs that are told.
  return !open_.empty() || d.quarantined_transfers > 0 || p.running + p.waiting > 0;
}

absl::Status VirtualPair::Run(int64_t steps_max) {
  for (int64_t step = 0; step < steps_max; ++step) {
    const bool busy = StepAll();
    if (!protocol_error_.ok()) return protocol_error_;
    if (busy) continue;
    if (!Open()) return absl::OkStatus();
    const Nanos next = NextEvent();
    if (next == Nanos::max()) {
      return absl::InternalError(
          absl::StrCat(open_.size(), " requests are open and nothing can happen"));
    }
    clock_.AdvanceTo(next);
  }
  return absl::OkStatus();
}

bool VirtualPair::StepAll() {
  link_->Step();
  bool busy = false;
  if (clock_.Now() >= prefill_free_at_) {
    const prefill::EngineStats before = prefill_->stats();
    busy |= prefill_->Step();
    const prefill::EngineStats after = prefill_->stats();
    if (after.steps != before.steps) {
      const auto tokens = static_cast<int64_t>(after.prompt_tokens - before.prompt_tokens);
      prefill_free_at_ = clock_.Now() + options_.prefill_step + tokens * options_.prefill_token;
    }
  }
  if (clock_.Now() >= decode_free_at_) {
    const uint64_t before = decode_->stats().steps;
    busy |= decode_->Step();
    if (decode_->stats().steps != before) decode_free_at_ = clock_.Now() + options_.decode_step;
  }
  return busy;
}

// Later than now: what is due now has been done.
Nanos VirtualPair::NextEvent() const {
  const Nanos now = clock_.Now();
  Nanos next = Nanos::max();
  auto consider = [&](Nanos t) { next = std::min(next, std::max(t, now + Nanos(1))); };
  if (link_->NextEventAt().has_value()) consider(*link_->NextEventAt());
  if (prefill_free_at_ > now) consider(prefill_free_at_);
  if (decode_free_at_ > now) consider(decode_free_at_);
  // A busy engine looks at its deadlines when it is free again.
  if (prefill_->NextDeadline() != Nanos::max()) {
    consider(std::max(prefill_->NextDeadline(), prefill_free_at_));
  }
  if (decode_->NextDeadline() != Nanos::max()) {
    consider(std::max(decode_->NextDeadline(), decode_free_at_));
  }
  return next;
}

void VirtualPair::RestartPrefill() {
  control_->KillRuns();
  CutLink();
}

void VirtualPair::CutLink() {
  if (session_ != SessionId{}) link_->Cut(session_);
}

}  // namespace lynx
