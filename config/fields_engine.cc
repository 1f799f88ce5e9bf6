#include "config/field_list.h"

namespace lynx {

namespace {

constexpr int64_t kMaxGpu = 1023;
constexpr char kDeviceHelp[] =
    "Where it computes. cuda: a GPU; emulated: the GPU path on the CPU, for tests (each needs a "
    "build of its own). Prefill and decode servers that work together compute on the same.";
constexpr char kGpuHelp[] = "Which GPU, as CUDA numbers them.";
constexpr char kThreadsHelp[] = "0: one for each core that the process may use.";
constexpr char kQueueHelp[] =
    "Requests that are not finished; further ones go to another server. Longer queues: fewer "
    "refusals, longer waits.";
constexpr char kContextHelp[] =
    "Longest prompt and output together. 0: the model's. Smaller bounds what one request may "
    "take.";
constexpr char kStallHelp[] =
    "A step of the engine that takes longer makes gRPC health NOT_SERVING until it ends: above the "
    "longest pass over a whole batch.";
constexpr char kMetricsHelp[] =
    "GET /metrics over HTTP, for Prometheus, at listen_address. 0: any free one; -1: none.";
constexpr char kVllmHelp[] = "/metrics also under vLLM's names, where one means the same.";
constexpr char kDrainHelp[] = "After SIGTERM, for requests to end. What still runs then is cut.";

}  // namespace

void AddPrefillFields(PrefillConfig& c, FieldList& list) {
  list.Text("prefill.listen_address", &c.listen_address,
            "Of the control plane and the data plane. Both are plain TCP: on a trusted network "
            "only.");
  list.Int("prefill.port", &c.port, 0, kMaxPort, "Control plane (gRPC). 0: any free one.");
  list.Int("prefill.data_port", &c.data_port, 0, kMaxPort, "KV streams. 0: any free one.");
  list.Int("prefill.metrics_port", &c.metrics_port, -1, kMaxPort, kMetricsHelp);
  list.Bool("prefill.vllm_metrics", &c.vllm_metrics, kVllmHelp);
  list.Text("prefill.data_host", &c.data_host,
            "The host that decode servers open data connections to. Empty: the one they called.");
  list.Choice("prefill.device", &c.device, {"cpu", "cuda", "emulated"}, kDeviceHelp);
  list.Int("prefill.gpu", &c.gpu, 0, kMaxGpu, kGpuHelp);
  list.Int("prefill.threads", &c.threads, 0, kMaxThreads, kThreadsHelp);
  list.Int("prefill.chunk_tokens", &c.chunk_tokens, 1, 65536,
           "Prompt tokens in one pass. Larger: faster prompts; smaller: the first Anchors leave "
           "sooner and short prompts wait less behind long ones. Results do not depend on it.");
  list.Int("prefill.queue_limit", &c.queue_limit, 1, 1000000, kQueueHelp);
  list.Int("prefill.not_yet_retry_ms", &c.not_yet_retry_ms, 1, kMaxMillis,
           "Until a decode server that was short of memory is asked again.");
  list.Int("prefill.max_context_tokens", &c.max_context_tokens, 0, kMaxTokens, kContextHelp);
  list.Int("prefill.stall_timeout_s", &c.stall_timeout_s, 1, kMaxSeconds, kStallHelp);
  list.Int("prefill.drain_timeout_s", &c.drain_timeout_s, 0, kMaxSeconds, kDrainHelp);
}

void AddDecodeFields(DecodeConfig& c, FieldList& list) {
  list.Text("decode.listen_address", &c.listen_address,
            "Of the control plane, plain TCP: on a trusted network only.");
  list.Int("decode.port", &c.port, 0, kMaxPort, "Control plane (gRPC). 0: any free one.");
  list.Int("decode.metrics_port", &c.metrics_port, -1, kMaxPort, kMetricsHelp);
  list.Bool("decode.vllm_metrics", &c.vllm_metrics, kVllmHelp);
  list.Choice("decode.device", &c.device, {"cpu", "cuda", "emulated"}, kDeviceHelp);
  list.Int("decode.gpu", &c.gpu, 0, kMaxGpu, kGpuHelp);
  list.Int("decode.threads", &c.threads, 0, kMaxThreads, kThreadsHelp);
  list.Int("decode.max_batch_rows", &c.max_batch_rows, 1, 65536,
           "Query rows in one pass over all requests. More: higher throughput; fewer: each token "
           "comes sooner under load. Must hold one verification: speculation.max_draft_tokens + "
           "1.");
  list.Int("decode.queue_limit", &c.queue_limit, 1, 1000000, kQueueHelp);
  list.Int("decode.gap_timeout_ms", &c.gap_timeout_ms, 1, kMaxMillis,
           "No block for so long after all were sent: the missing ones are asked for again. Too "
           "short sends twice what was only slow.");
  list.Int("decode.restore_pages_per_step", &c.restore_pages_per_step, 1, 1000000,
           "Pages restored to BF16 between two passes, for kv.target bf16. More: sooner "
           "committed; fewer: other requests' tokens wait less.");
  list.Int("decode.max_context_tokens", &c.max_context_tokens, 0, kMaxTokens, kContextHelp);
  list.Int("decode.stall_timeout_s", &c.stall_timeout_s, 1, kMaxSeconds, kStallHelp);
  list.Int("decode.drain_timeout_s", &c.drain_timeout_s, 0, kMaxSeconds, kDrainHelp);
}

}  // namespace lynx
