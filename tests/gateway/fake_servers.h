// Decode and prefill servers whose calls a test steers by hand, or that answer by themselves.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "gateway/decode_client.h"

namespace lynx {

class FakeCall : public GenerateCall {
 public:
  FakeCall(v1::GenerateRequest request, std::shared_ptr<GenerateSink> sink)
      : request(std::move(request)), sink_(std::move(sink)) {}

  const v1::GenerateRequest request;

  // False: the gateway wants no more, or the call has ended.
  bool Send(v1::GenerateEvent event) {
    absl::MutexLock lock(&mu_);
    if (sink_ == nullptr) return false;
    if (sink_->OnEvent(std::move(event))) return true;
    EndLocked(absl::CancelledError("full"));
    return false;
  }
  // The text's bytes as tokens behind what was sent before.
  bool SendText(const std::string& text) {
    v1::GenerateEvent event;
    event.mutable_tokens()->set_first_index(next_);
    for (char c : text) {
      v1::TokenInfo* token = event.mutable_tokens()->add_tokens();
      token->set_id(static_cast<uint8_t>(c));
      token->set_logprob(-0.5);
    }
    next_ += static_cast<int64_t>(text.size());
    return Send(std::move(event));
  }
  void Finish(v1::FinishReason reason, const v1::GenerateStats& stats = {}) {
    v1::GenerateEvent event;
    event.mutable_finished()->set_reason(reason);
    *event.mutable_finished()->mutable_stats() = stats;
    Send(std::move(event));
    End(absl::OkStatus());
  }
  void End(absl::Status status) {
    absl::MutexLock lock(&mu_);
    EndLocked(std::move(status));
  }

  void Cancel() override {
    absl::MutexLock lock(&mu_);
    cancelled_ = true;
    EndLocked(absl::CancelledError("cancelled"));
  }
  bool WaitUntilCancelled() {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&cancelled_), absl::Seconds(30));
  }

 private:
  void EndLocked(absl::Status status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    if (sink_ == nullptr) return;
    sink_->OnDone(std::move(status));
    sink_ = nullptr;
  }

  absl::Mutex mu_;
  std::shared_ptr<GenerateSink> sink_ ABSL_GUARDED_BY(mu_);
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  int64_t next_ = 0;
};

inline v1::ServerInfo FakeInfo(const std::string& weights = "w") {
  v1::ServerInfo info;
  info.mutable_identity()->set_weights_hash(weights);
  info.set_model_name("fake");
  info.set_max_context(100);
  info.set_pages_total(10);
  info.set_pages_free(4);
  return info;
}

// What a server says of itself: as set, at once.
class FakeState {
 public:
  explicit FakeState(v1::ServerInfo info) : info_(std::move(info)) {}
  absl::StatusOr<v1::ServerInfo> Get() {
    absl::MutexLock lock(&mu_);
    return info_;
  }
  void Set(absl::StatusOr<v1::ServerInfo> info) {
    absl::MutexLock lock(&mu_);
    info_ = std::move(info);
  }

 private:
  absl::Mutex mu_;
  absl::StatusOr<v1::ServerInfo> info_ ABSL_GUARDED_BY(mu_);
};

class FakePrefill : public InfoClient {
 public:
  explicit FakePrefill(v1::ServerInfo info = FakeInfo()) : state_(std::move(info)) {}
  void Info(absl::Duration, std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override {
    done(state_.Get());
  }
  void SetInfo(absl::StatusOr<v1::ServerInfo> info) { state_.Set(std::move(info)); }

 private:
  FakeState state_;
};

class FakeDecode : public DecodeClient {
 public:
  // Runs inside Generate; empty: the test takes the call with NextCall.
  using Script = std::function<void(FakeCall&)>;

  explicit FakeDecode(Script script = {}) : script_(std::move(script)), state_(FakeInfo()) {}

  void Info(absl::Duration, std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override {
    done(state_.Get());
  }
  void SetInfo(absl::StatusOr<v1::ServerInfo> info) { state_.Set(std::move(info)); }

  std::shared_ptr<GenerateCall> Generate(v1::GenerateRequest request, absl::Time,
                                         std::shared_ptr<GenerateSink> sink) override {
    auto call = std::make_shared<FakeCall>(std::move(request), std::move(sink));
    if (script_) {
      script_(*call);
      return call;
    }
    absl::MutexLock lock(&mu_);
    calls_.push_back(call);
    return call;
  }

  // The oldest call that was not taken yet; null after 30 s.
  std::shared_ptr<FakeCall> NextCall() {
    absl::MutexLock lock(&mu_);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !calls_.empty(); };
    if (!mu_.AwaitWithTimeout(absl::Condition(&ready), absl::Seconds(30))) return nullptr;
    std::shared_ptr<FakeCall> call = calls_.front();
    calls_.erase(calls_.begin());
    return call;
  }

 private:
  const Script script_;
  FakeState state_;
  absl::Mutex mu_;
  std::vector<std::shared_ptr<FakeCall>> calls_ ABSL_GUARDED_BY(mu_);
};

// Gives fakes numeric addresses, which need no name server, and finds them by these. Filled before
// it is used.
class FakeServers {
 public:
  std::string Add(std::shared_ptr<FakeDecode> server) {
    decodes_[NextAddress()] = std::move(server);
    return last_;
  }
  std::string Add(std::shared_ptr<FakePrefill> server) {
    prefills_[NextAddress()] = std::move(server);
    return last_;
  }
  ServerClients Clients() const {
    return {
        .decode = [servers = decodes_](const std::string& address) { return servers.at(address); },
        .prefill = [servers =
                        prefills_](const std::string& address) { return servers.at(address); }};
  }

 private:
  std::string NextAddress() {
    return last_ = "10.0.0.1:" + std::to_string(decodes_.size() + prefills_.size() + 1);
  }

  std::string last_;
  std::map<std::string, std::shared_ptr<FakeDecode>> decodes_;
  std::map<std::string, std::shared_ptr<FakePrefill>> prefills_;
};

}  // namespace lynx
