// What /metrics shows. Times begin when a request has arrived here.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

#include "gateway/choice_stream.h"
#include "gateway/server_pool.h"
#include "runtime/measures.h"

namespace lynx {

// Threads: any.
class GatewayMetrics {
 public:
  // `vllm_names`: dashboards and endpoint pickers made for vLLM find their names too.
  explicit GatewayMetrics(bool vllm_names);

  void Http(const std::string& route, int status);
  void FirstToken(double seconds) { first_token_.Observe(seconds); }
  void InterToken(double seconds) { inter_token_.Observe(seconds); }
  void ChoiceFinished(Finish finish);
  void RequestFinished(double seconds, int64_t prompt_tokens, int64_t completion_tokens);
  void ClientGone() { clients_gone_.Increment(); }
  void Speculation(const v1::GenerateStats& stats);

  // The text format. What others know comes with it.
  std::string Text(const PoolState& pool, int64_t requests_in_flight, int64_t connections);

 private:
  prometheus::Counter& Count(const char* name, const char* help);
  prometheus::Gauge& Level(const char* name, const char* help);
  prometheus::Histogram& Spread(const char* name, const char* help, BucketEdges edges);

  const bool vllm_names_;
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>& http_;
  prometheus::Family<prometheus::Counter>& success_;
  prometheus::Histogram &first_token_, &inter_token_, &per_token_, &e2e_;
  prometheus::Counter &prompt_tokens_, &generation_tokens_, &clients_gone_;
  prometheus::Counter &drafted_, &accepted_, &rolled_back_, &anchor_bytes_, &residual_bytes_;
  prometheus::Gauge &in_flight_, &connections_, &running_, &waiting_, &kv_usage_,
      &prefill_kv_usage_, &decode_ready_, &prefill_ready_;
};

}  // namespace lynx
