#include "tests/e2e/pair_decode.h"

#include <atomic>
#include <map>
#include <utility>

#include "absl/time/time.h"

namespace lynx {
namespace {

// Steps of the pair between two looks for cancelled calls.
constexpr int64_t kStepsAtATime = 4;
// For the gateway's threads to parse and pass on what was sent.
constexpr absl::Duration kCallsTimeout = absl::Seconds(120);

v1::ServerInfo InfoOf(int64_t max_context) {
  v1::ServerInfo info;
  info.mutable_identity()->set_weights_hash("pair");
  info.set_model_name("pair");
  info.set_max_context(max_context);
  return info;
}

}  // namespace

class PairDecode::Call final : public GenerateCall {
 public:
  Call(v1::GenerateRequest request, std::shared_ptr<GenerateSink> sink)
      : request_(std::move(request)), sink_(std::move(sink)) {}

  void Cancel() override { cancelled_ = true; }

  // The rest: the test's thread.
  void Submit(VirtualPair& pair) { result_ = &pair.Submit(std::move(request_)); }
  const Collected* result() const { return result_; }
  bool OnEvent(const v1::GenerateEvent& event) { return sink_->OnEvent(event); }

  // Whether the call goes on; told once if it does not.
  bool Step(VirtualPair& pair, const absl::Status& run_status) {
    if (sink_ == nullptr) return false;
    if (result_->done || !run_status.ok()) {
      sink_->OnDone(result_->done ? result_->status : run_status);
      sink_ = nullptr;
      return false;
    }
    if (cancelled_) pair.Cancel(*result_);
    return true;
  }

 private:
  v1::GenerateRequest request_;
  std::shared_ptr<GenerateSink> sink_;  // null once the call has ended
  const Collected* result_ = nullptr;
  std::atomic<bool> cancelled_{false};
};

PairDecode::PairDecode(int64_t max_context) : info_(InfoOf(max_context)) {}

void PairDecode::Info(absl::Duration, std::function<void(absl::StatusOr<v1::ServerInfo>)> done) {
  done(info_);
}

std::shared_ptr<GenerateCall> PairDecode::Generate(v1::GenerateRequest request, absl::Time,
                                                   std::shared_ptr<GenerateSink> sink) {
  auto call = std::make_shared<Call>(std::move(request), std::move(sink));
  absl::MutexLock lock(&mu_);
  waiting_.push_back(call);
  return call;
}

absl::StatusOr<std::vector<std::shared_ptr<PairDecode::Call>>> PairDecode::Take(size_t count) {
  absl::MutexLock lock(&mu_);
  const auto ready = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return waiting_.size() >= count; };
  if (!mu_.AwaitWithTimeout(absl::Condition(&ready), kCallsTimeout)) {
    return absl::DeadlineExceededError(
        absl::StrCat(waiting_.size(), " of ", count, " calls came from the gateway"));
  }
  return std::exchange(waiting_, {});
}

absl::Status PairDecode::Serve(VirtualPair& pair, size_t calls) {
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<Call>> open, Take(calls));
  std::map<const Collected*, Call*> by_result;
  pair.set_observer([&](const Collected& result, const v1::GenerateEvent& event) {
    return by_result.at(&result)->OnEvent(event);
  });
  for (const std::shared_ptr<Call>& call : open) {
    call->Submit(pair);
    by_result[call->result()] = call.get();
  }
  absl::Status status;
  for (bool going_on = true; going_on;) {
    status = pair.Run(kStepsAtATime);
    going_on = false;
    for (const std::shared_ptr<Call>& call : open) going_on |= call->Step(pair, status);
  }
  RETURN_IF_ERROR(status);
  return pair.Run();  // what cancelled requests leave behind
}

PairPrefill::PairPrefill(int64_t max_context) : info_(InfoOf(max_context)) {}

void PairPrefill::Info(absl::Duration, std::function<void(absl::StatusOr<v1::ServerInfo>)> done) {
  done(info_);
}

}  // namespace lynx
