// A decode server that is a VirtualPair: behind a gateway, it makes whole requests, from JSON to
// JSON, run on virtual time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "cli/virtual_pair.h"
#include "gateway/decode_client.h"

namespace lynx {

// Threads: the gateway's call Generate and Cancel; one other, the test's, calls Serve.
class PairDecode final : public DecodeClient {
 public:
  explicit PairDecode(int64_t max_context);

  void Info(absl::Duration timeout,
            std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override;
  std::shared_ptr<GenerateCall> Generate(v1::GenerateRequest request, absl::Time deadline,
                                         std::shared_ptr<GenerateSink> sink) override;

  // Waits until `calls` calls have come, hands them all to the pair before its first step, and runs
  // it until they have ended. DEADLINE_EXCEEDED: they did not come; INTERNAL: as VirtualPair::Run.
  absl::Status Serve(VirtualPair& pair, size_t calls);

 private:
  class Call;

  absl::StatusOr<std::vector<std::shared_ptr<Call>>> Take(size_t count);

  const v1::ServerInfo info_;
  absl::Mutex mu_;
  std::vector<std::shared_ptr<Call>> waiting_ ABSL_GUARDED_BY(mu_);
};

// The prefill server that a gateway wants to know beside it.
class PairPrefill final : public InfoClient {
 public:
  explicit PairPrefill(int64_t max_context);
  void Info(absl::Duration timeout,
            std::function<void(absl::StatusOr<v1::ServerInfo>)> done) override;

 private:
  const v1::ServerInfo info_;
};

}  // namespace lynx
