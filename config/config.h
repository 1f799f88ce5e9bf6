// Every option of Lynx, with default, unit and trade-off. One file configures all roles; each role
// reads its own section and the shared ones (model, transfer, kv, speculation, log).
//
// The names in files, environment and flags are those of the members (config/fields.h, which also
// has the ranges): gateway.port, LYNX_GATEWAY_PORT, --gateway.port=8000.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/status.h"

namespace lynx {

// The OpenAI front end, the only role that clients see.
struct GatewayConfig {
  // "0.0.0.0" or "::" serves other machines too: set api_keys_file then.
  std::string listen_address = "127.0.0.1";
  int64_t port = 8000;  // 0: any free one

  // Names that requests may give for the model; the first stands in answers. Empty: the model's
  // own.
  std::vector<std::string> served_model_names;

  std::string api_keys_file;      // one key a line; empty: no key is needed
  std::string cors_allow_origin;  // "*" or one origin; empty: browsers' pages cannot use the API

  // For requests that do not say. "verified": committed tokens only, what every client understands.
  // "speculative": drafts at once, marked, and taken back by explicit events.
  std::string default_emission = "verified";

  // Tokens that a chat may generate if it sets no limit: what is left of the context, up to this.
  // Memory for all of them is reserved before a request starts: higher admits fewer at a time.
  int64_t chat_max_tokens_default = 4096;

  // Limits of one request.
  int64_t max_body_mib = 16;      // a prompt of 128K ids is about 1 MiB
  int64_t max_header_kib = 16;    //
  int64_t max_choices = 128;      // prompts times n: each is a call to a decode server
  int64_t max_logprobs = 20;      // alternatives a token
  int64_t max_stops = 64;         // stop strings
  int64_t max_stop_bytes = 1024;  // each

  // Limits of the server. What is above them is answered 503 at once instead of waiting unbounded.
  int64_t max_connections = 4096;
  int64_t max_requests = 1024;         // in flight
  int64_t max_buffered_events = 4096;  // that a slow client may fall behind; then it is cancelled
  int64_t max_grpc_message_mib = 64;
  int64_t retry_after_s = 1;  // told to refused clients; longer spreads their return

  int64_t header_timeout_s = 30;
  int64_t body_timeout_s = 60;
  // Below the clients' own, they meet closed connections now and then.
  int64_t keep_alive_timeout_s = 180;
  int64_t write_timeout_s = 30;  // a client that takes nothing for so long is gone
  // One deadline for queueing, all servers and retries. Longer than the longest answer takes.
  int64_t request_timeout_s = 600;
  int64_t stall_timeout_s = 120;  // no event of any request for so long: /health says 503
  int64_t drain_timeout_s = 45;   // after SIGTERM; what still runs then is cut

  int64_t io_threads = 1;    // one holds thousands of streams
  int64_t text_threads = 1;  // tokenize long prompts, so that they do not stall streams

  bool page = true;          // a page at / with servers and a playground
  bool vllm_metrics = true;  // /metrics also under vLLM's names, for existing dashboards
};

// The servers behind a gateway.
struct PoolsConfig {
  // host:port each; prefill servers as the decode servers reach them. A name stands for a server at
  // each of its addresses, such as the pods of a Kubernetes headless service; names are looked up
  // again and again, so that servers come and go without a restart.
  std::vector<std::string> decode = {"127.0.0.1:8201"};
  std::vector<std::string> prefill = {"127.0.0.1:8101"};
  int64_t resolve_interval_ms = 1000;  // between two look-ups of a name

  // How often servers are asked how they are, and how long their answer may take. A server that
  // hangs or died gets no new requests after the sum of both at the latest.
  int64_t info_interval_ms = 400;
  int64_t info_timeout_ms = 1500;

  // Requests that may be sent to a second decode server, of all: an outage is not made worse by
  // asking for everything twice. A few are always allowed.
  double retry_share = 0.2;
};

// Computes prompts and sends their KV.
struct PrefillConfig {
  std::string listen_address = "127.0.0.1";  // of the control plane and the data plane
  int64_t port = 8101;                       // control plane (gRPC); 0: any free one
  int64_t data_port = 8102;                  // KV streams; 0: any free one
  int64_t metrics_port = 8103;               // GET /metrics over HTTP; 0: any free one, -1: off
  bool vllm_metrics = true;                  // /metrics also under vLLM's names

  // The host that decode servers open data connections to. Empty: the one they called.
  std::string data_host;

  // Where prompts are computed: cpu, cuda (a GPU), emulated (the GPU path on the CPU, for tests).
  std::string device = "cpu";
  int64_t gpu = 0;  // which one, as CUDA numbers them

  int64_t threads = 0;  // 0: one for each core that the process may use

  // Prompt tokens in one pass. Larger: faster prompts; smaller: the first Anchors leave sooner and
  // short prompts wait less behind long ones. Results do not depend on it.
  int64_t chunk_tokens = 512;

  int64_t queue_limit = 256;       // requests that are not finished; further ones go elsewhere
  int64_t not_yet_retry_ms = 20;   // until a decode server short of memory is asked again
  int64_t max_context_tokens = 0;  // 0: the model's
  int64_t stall_timeout_s = 120;   // a longer step of the engine makes gRPC health NOT_SERVING
  int64_t drain_timeout_s = 45;    // after SIGTERM; what still runs then is cut
};

// Owns requests: receives KV, drafts, verifies, generates.
struct DecodeConfig {
  std::string listen_address = "127.0.0.1";
  int64_t port = 8201;          // control plane (gRPC); 0: any free one
  int64_t metrics_port = 8203;  // GET /metrics over HTTP; 0: any free one, -1: off
  bool vllm_metrics = true;     // /metrics also under vLLM's names

  // Where tokens are computed; prefill servers of the same kind are needed beside it.
  std::string device = "cpu";
  int64_t gpu = 0;

  int64_t threads = 0;  // 0: one for each core that the process may use

  // Query rows in one pass over all requests. More: higher throughput; fewer: each token comes
  // sooner under load. Must hold one verification: speculation.max_draft_tokens + 1.
  int64_t max_batch_rows = 256;

  int64_t queue_limit = 256;  // requests that are not finished; further ones go elsewhere

  // No block for so long after all were sent: the missing ones are asked for again. Too short sends
  // twice what was only slow.
  int64_t gap_timeout_ms = 500;

  // kv.target bf16: pages restored between two passes. More: sooner committed; fewer: other
  // requests' tokens wait less.
  int64_t restore_pages_per_step = 256;

  int64_t max_context_tokens = 0;  // 0: the model's
  int64_t stall_timeout_s = 120;   // a longer step of the engine makes gRPC health NOT_SERVING
  int64_t drain_timeout_s = 45;    // after SIGTERM; what still runs then is cut
};

// The data plane over NCCL. Both sides need the same traffic classes, and should have the rest
// alike.
struct NcclConfig {
  // Service classes of the two streams on InfiniBand and RoCE (SL and TC); -1: NCCL's own choice.
  int64_t anchor_traffic_class = -1;
  int64_t residual_traffic_class = -1;
  // Thread blocks of one operation. Fewer leave more of the GPU to the model; more are faster.
  int64_t max_ctas = 4;
  int64_t channels_per_peer = 4;  // NCCL's nChannelsPerNetPeer

  // Of each stream of a pair. 2 hide the time of announcing; more make an Anchor wait.
  int64_t operations_in_flight = 2;
  // What a decode server takes in one, and keeps a buffer of. At least transfer.max_frame_kib.
  int64_t max_operation_mib = 16;

  // Whether a decode server checks what it receives, frame by frame: both ends then read it once
  // more from GPU memory. For networks that do not check their packets; NVLink, PCIe, InfiniBand
  // and TCP do.
  bool checksums = false;

  // Peers connected at a time: each takes about 100 MB of GPU memory. Beyond it the pair that was
  // used the longest ago gives way, if no request uses it and it has been idle for so long.
  int64_t max_pairs = 8;
  int64_t evict_idle_after_s = 5;

  int64_t init_timeout_s = 60;       // to connect a pair
  int64_t operation_timeout_s = 10;  // of one, from its announcement to its end
  int64_t abort_timeout_s = 5;       // after a failure, until the GPU has let go; twice in all
};

// The data plane between prefill and decode.
struct TransferConfig {
  // What KV travels over. auto: nccl where the role computes on a GPU and libnccl.so.2 can be
  // loaded, else tcp. Both sides must have the same. nccl moves it from GPU memory to GPU memory;
  // tcp through pinned host memory (kv.staging_mib).
  std::string channel = "auto";
  NcclConfig nccl;

  // How long a request's Residual may be held up by other requests' Anchors, in all. Smaller:
  // committed tokens come sooner under load; larger: first drafts do.
  int64_t residual_max_wait_ms = 50;

  // Limits a prefill server's sending, to emulate a slow link or leave room on a shared one. 0:
  // off.
  double link_rate_mbit = 0.0;
  int64_t rate_burst_ms = 50;  // of the limit, to be caught up after a late wake-up

  // Frames last about so long on the link. Shorter: an Anchor waits less behind a Residual; longer:
  // fewer headers and system calls.
  int64_t frame_time_ms = 3;
  int64_t min_frame_kib = 16;
  int64_t max_frame_kib = 4096;
  // More keeps fast links busy; an Anchor waits for all of them.
  int64_t max_residual_frames_in_flight = 2;

  // Differentiated services code points: AF41 and LE. A network that ignores them loses nothing.
  int64_t anchor_dscp = 34;
  int64_t residual_dscp = 1;

  // Unsent bytes that the kernel may hold for a connection. Smaller: an Anchor waits for less;
  // larger: fewer wake-ups.
  int64_t notsent_lowat_kib = 128;
  int64_t receive_buffer_kib = 0;  // of each connection; 0: the kernel tunes it

  int64_t connect_timeout_s = 5;
  int64_t handshake_timeout_s = 5;
  int64_t stall_timeout_s = 10;      // a frame that moves no byte for so long ends its connection
  int64_t frame_timeout_s = 60;      // and so does one that takes longer in all
  int64_t dead_peer_timeout_s = 15;  // a peer that vanished without a word
  // A peer that took nothing for so long does not hold up other peers' Residuals.
  int64_t stalled_after_ms = 20;

  int64_t ticket_lifetime_s = 30;        // to open data connections after joining
  int64_t max_sessions = 256;            // peers of one server
  int64_t max_unknown_connections = 64;  // that have not shown a ticket yet
};

struct AnchorBits {
  int64_t k = 5;
  int64_t v = 4;
};

struct KvMemory {
  int64_t prefill = 1024;
  int64_t decode = 1024;
};

struct KvConfig {
  // The precision of the prompt's KV that tokens are decided with; servers work together only if it
  // is equal. int8: fastest. bf16: restored bit for bit, about 11 instead of 8.4 bits a value to
  // send and twice the memory. int8_whole, int4_whole, bf16_whole: baselines that draft nothing,
  // for measurements.
  std::string target = "int8";

  // Bits of a key or value that travel first. More: drafts are accepted more often; fewer: drafting
  // starts sooner. 5 and 4 is the default, 4 and 4 the fastest worth drafting on, 6 and 5 the most
  // exact. Never changes the text. Used by decode servers; they ask for it.
  AnchorBits anchor_bits;

  // The role's memory for KV. A request that needs more than all of it is refused; one that does
  // not fit now waits.
  KvMemory memory_mib;

  // Of a role on a GPU, over TCP: pinned host memory that KV is sent from and lands in, beside its
  // pages.
  KvMemory staging_mib;
};

struct SpeculationConfig {
  // Tokens drafted while the Residual is on its way. More: more to commit at once if the link is
  // slow; each costs a pass and a row of the verification. 0: never draft.
  int64_t max_draft_tokens = 64;
};

struct LogConfig {
  std::string level = "info";   // trace, debug, info, warn, error
  std::string format = "text";  // text (key=value), json
  bool requests = true;         // a line for each finished request
  // The bodies of requests too, which hold what users wrote. For looking for an error.
  bool prompts = false;
};

// What `lynx trace` can show: kept in memory by every server.
struct TraceConfig {
  int64_t requests = 128;  // the latest ones; 0: none
  int64_t spans = 2048;    // of each; about 100 bytes of memory a span
};

struct Config {
  // A GGUF file or a Hugging Face folder. All roles need the same one; none is the default.
  std::string model;

  GatewayConfig gateway;
  PoolsConfig pools;
  PrefillConfig prefill;
  DecodeConfig decode;
  TransferConfig transfer;
  KvConfig kv;
  SpeculationConfig speculation;
  LogConfig log;
  TraceConfig trace;

  // Ranges, choices and what must fit together. INVALID_ARGUMENT with one line for each error,
  // which names the key. An empty `model` is valid: whoever loads one says if it is missing.
  absl::Status Validate() const;
};

}  // namespace lynx
