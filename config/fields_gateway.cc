#include "config/field_list.h"

namespace lynx {
namespace {

void AddAddresses(GatewayConfig& c, FieldList& list) {
  list.Text("gateway.listen_address", &c.listen_address,
            "Where clients connect. 0.0.0.0 or :: serves other machines too: set api_keys_file "
            "then.");
  list.Int("gateway.port", &c.port, 0, kMaxPort, "0: any free one.");
  list.List("gateway.served_model_names", &c.served_model_names,
            "Names that requests may give for the model; the first stands in answers. Empty: the "
            "model's own.");
  list.Text("gateway.api_keys_file", &c.api_keys_file,
            "File of API keys, one a line. Empty: no key is needed.");
  list.Text("gateway.cors_allow_origin", &c.cors_allow_origin,
            "* or one origin. Empty: pages in browsers cannot use the API.");
}

void AddRequestLimits(GatewayConfig& c, FieldList& list) {
  list.Choice("gateway.default_emission", &c.default_emission, {"verified", "speculative"},
              "For requests that do not say. verified: committed tokens only, what every client "
              "understands. speculative: drafts at once, marked, and taken back by explicit "
              "events.");
  list.Int("gateway.chat_max_tokens_default", &c.chat_max_tokens_default, 1, kMaxTokens,
           "Tokens that a chat may generate if it sets no limit: what is left of the context, up "
           "to this. Memory for all of them is reserved before a request starts: higher admits "
           "fewer at a time.");
  list.Int("gateway.max_body_mib", &c.max_body_mib, 1, 1024,
           "Largest request. A prompt of 128K ids is about 1 MiB.");
  list.Int("gateway.max_header_kib", &c.max_header_kib, 1, 1024, "Largest HTTP header.");
  list.Int("gateway.max_choices", &c.max_choices, 1, 4096,
           "Prompts times n of one request: each is a call to a decode server.");
  list.Int("gateway.max_logprobs", &c.max_logprobs, 0, 1000,
           "Alternatives a token whose log-probabilities a request may ask for.");
  list.Int("gateway.max_stops", &c.max_stops, 0, 4096, "Stop strings of one request.");
  list.Int("gateway.max_stop_bytes", &c.max_stop_bytes, 1, 65536,
           "Longest stop string. Text is held back as long as it may be the start of one.");
}

void AddServerLimits(GatewayConfig& c, FieldList& list) {
  list.Int("gateway.max_connections", &c.max_connections, 1, 1000000,
           "Further ones are told 503 and closed.");
  list.Int("gateway.max_requests", &c.max_requests, 1, 1000000,
           "In flight; further ones are told 503 with Retry-After.");
  list.Int("gateway.max_buffered_events", &c.max_buffered_events, 16, 1000000,
           "A request that a slow client falls so far behind is cancelled. More: patience for "
           "memory.");
  list.Int("gateway.max_grpc_message_mib", &c.max_grpc_message_mib, 1, 1024,
           "Largest message from a server: prompt log-probabilities are the largest.");
  list.Int("gateway.retry_after_s", &c.retry_after_s, 0, 3600,
           "Told to refused clients. Longer spreads their return.");
}

void AddTimes(GatewayConfig& c, FieldList& list) {
  list.Int("gateway.header_timeout_s", &c.header_timeout_s, 1, kMaxSeconds,
           "For a request's header to arrive.");
  list.Int("gateway.body_timeout_s", &c.body_timeout_s, 1, kMaxSeconds,
           "For a request's body to arrive.");
  list.Int("gateway.keep_alive_timeout_s", &c.keep_alive_timeout_s, 1, kMaxSeconds,
           "For idle connections. Below the clients' own, they meet closed connections now and "
           "then.");
  list.Int("gateway.write_timeout_s", &c.write_timeout_s, 1, kMaxSeconds,
           "A client that takes nothing for so long is gone.");
  list.Int("gateway.request_timeout_s", &c.request_timeout_s, 1, kMaxSeconds,
           "One deadline for queueing, all servers and retries. Longer than the longest answer "
           "takes.");
  list.Int("gateway.stall_timeout_s", &c.stall_timeout_s, 1, kMaxSeconds,
           "No event of any request for so long: /health says 503.");
  list.Int("gateway.drain_timeout_s", &c.drain_timeout_s, 0, kMaxSeconds,
           "After SIGTERM, for requests to end. What still runs then is cut.");
}

}  // namespace

void AddGatewayFields(GatewayConfig& c, FieldList& list) {
  AddAddresses(c, list);
  AddRequestLimits(c, list);
  AddServerLimits(c, list);
  AddTimes(c, list);
  list.Int("gateway.io_threads", &c.io_threads, 1, kMaxThreads, "One holds thousands of streams.");
  list.Int("gateway.text_threads", &c.text_threads, 1, kMaxThreads,
           "Tokenize long prompts, so that they do not stall streams.");
  list.Bool("gateway.page", &c.page,
            "A page at / that shows the servers and lets people try requests. Whoever reaches the "
            "port can open it; with api_keys_file it shows nothing without a key.");
  list.Bool("gateway.vllm_metrics", &c.vllm_metrics,
            "/metrics also under vLLM's names, for existing dashboards and endpoint pickers.");
}

void AddPoolsFields(PoolsConfig& c, FieldList& list) {
  list.List("pools.decode", &c.decode,
            "host:port of the decode servers. A name stands for a server at each of its addresses "
            "(Kubernetes: a headless service) and is looked up again and again.");
  list.List("pools.prefill", &c.prefill,
            "host:port of the prefill servers, as the decode servers reach them. Names as in "
            "pools.decode.");
  list.Int("pools.resolve_interval_ms", &c.resolve_interval_ms, 10, kMaxMillis,
           "Between two look-ups of a name. Shorter: new servers are found sooner; longer: less "
           "work for name servers.");
  list.Int("pools.info_interval_ms", &c.info_interval_ms, 10, kMaxMillis,
           "How often servers are asked how they are. Shorter: better choices; longer: less "
           "traffic.");
  list.Int("pools.info_timeout_ms", &c.info_timeout_ms, 10, kMaxMillis,
           "A server that does not answer for so long gets no new requests until it does; those "
           "of its requests that had no token yet are sent to another one.");
  list.Real("pools.retry_share", &c.retry_share, 0.0, 1.0,
            "Requests that may be sent to a second decode server because the first refused or is "
            "gone, of all; a few beside. More: less is lost with a server; fewer: an outage costs "
            "the others less.");
}

}  // namespace lynx
