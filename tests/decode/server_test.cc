#include "tests/decode/server_fixture.h"
#include "tests/runtime/http_get.h"

namespace lynx {
namespace {

v1::GenerateRequest To(const prefill::Server& prefill, v1::GenerateRequest request) {
  request.add_prefill_addresses(Address(prefill.port()));
  return request;
}

// So slow that no KV ever arrives completely: what is in flight stays there.
Config StuckConfig() {
  Config config = TestConfig();
  config.transfer.link_rate_mbit = 0.008;
  return config;
}

bool IsEmpty(const prefill::EngineStats& stats) {
  return stats.running == 0 && stats.waiting == 0 && stats.kv_used_bytes == 0;
}
bool IsEmpty(const decode::EngineStats& stats) {
  return stats.running == 0 && stats.waiting == 0 && stats.kv_used_bytes == 0 &&
         stats.quarantined_transfers == 0;
}

// The sample's value; -1: there is none.
double Metric(const std::string& text, const std::string& sample) {
  const size_t at = text.find("\n" + sample + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size() + 2));
}

// What three requests that went well must have left at a pair of servers.
void CheckMeasures(const prefill::Server& prefill, const decode::Server& decode) {
  const std::string on_decode = HttpGet(decode.metrics_port(), "/metrics");
  const std::string on_prefill = HttpGet(prefill.metrics_port(), "/metrics");
  INFO(on_decode << on_prefill);
  for (const char* name :
       {"lynx_decode_requests_admitted_total", "lynx_decode_prefill_attempts_total",
        "lynx_decode_requests_finished_total{reason=\"length\"}",
        "lynx_request_queue_time_seconds_count", "lynx_request_prefill_time_seconds_count",
        "lynx_request_decode_time_seconds_count", "lynx_decode_prefill_ready_seconds_count",
        "lynx_decode_anchor_complete_seconds_count", "lynx_decode_target_complete_seconds_count",
        "lynx_decode_first_token_seconds_count",
        "lynx_decode_second_token_provisional_seconds_count",
        "lynx_decode_second_token_committed_seconds_count"}) {
    CAPTURE(name);
    CHECK(Metric(on_decode, name) == 3);
  }
  for (const char* name : {"lynx_prefill_runs_admitted_total", "lynx_prefill_runs_finished_total",
                           "lynx_prefill_queue_seconds_count", "lynx_prefill_compute_seconds_count",
                           "lynx_prefill_kept_seconds_count"}) {
    CAPTURE(name);
    CHECK(Metric(on_prefill, name) == 3);
  }
  const auto total = [&](const char* name) { return Metric(on_decode, name); };
  CHECK(total("lynx_decode_joins_total{result=\"ok\"}") == 1);
  CHECK(total("lynx_decode_drafted_tokens_total") ==
        total("lynx_decode_accepted_tokens_total") + total("lynx_decode_rolled_back_tokens_total"));
  CHECK(total("lynx_decode_pass_seconds_count") == total("lynx_decode_passes_total"));
  CHECK(total("lynx_decode_pass_rows_sum") ==
        total("lynx_decode_rows_total{state=\"drafting\"}") +
            total("lynx_decode_rows_total{state=\"verifying\"}") +
            total("lynx_decode_rows_total{state=\"decoding\"}"));
  CHECK(total("lynx_transfer_received_bytes_total{class=\"anchor\"}") > 0);
  CHECK(total("lynx_transfer_received_bytes_total{class=\"anchor\"}") <=
        Metric(on_prefill, "lynx_transfer_sent_bytes_total{class=\"anchor\"}"));
}

TEST_CASE("servers: a request's tokens equal the reference") {
  for (const std::string target : {"int8", "bf16"}) {
    Config config = TestConfig();
    config.kv.target = target;
    const auto prefill = StartPrefill(config);
    const auto decode = StartDecode(config);
    for (const int prompt_tokens : {5, 64, 333}) {
      const v1::GenerateRequest request = TestRequest(prompt_tokens, 24, 7);
      TestCall call(decode->port(), To(*prefill, request));
      const grpc::Status status = call.ReadAll();
      INFO(status.error_message());
      REQUIRE(status.ok());
      CHECK(call.tokens == ReferenceTokens(config, request));
      CHECK(call.finished.reason() == v1::FINISH_LENGTH);
    }
    CHECK(WaitUntil([&] { return IsEmpty(prefill->stats()) && IsEmpty(decode->stats()); }));
    CheckMeasures(*prefill, *decode);
  }
}

TEST_CASE("servers: concurrent requests equal the reference") {
  const Config config = TestConfig();
  const auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  std::vector<v1::GenerateRequest> requests;
  for (int i = 0; i < 16; ++i) requests.push_back(TestRequest(40 + 23 * i, 8 + i, 100 + i));
  std::vector<grpc::Status> statuses(requests.size());
  std::vector<std::vector<int32_t>> tokens(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] {
      TestCall call(decode->port(), To(*prefill, requests[i]));
      statuses[i] = call.ReadAll();
      tokens[i] = call.tokens;
    });
  }
  for (std::thread& client : clients) client.join();
  for (size_t i = 0; i < requests.size(); ++i) {
    INFO("request " << i << " " << statuses[i].error_message());
    CHECK(statuses[i].ok());
    CHECK(tokens[i] == ReferenceTokens(config, requests[i]));
  }
}

TEST_CASE("servers: a peer of another identity is refused with both identities") {
  Config config = TestConfig();
  const auto prefill = StartPrefill(config);
  config.kv.target = "bf16";
  const auto decode = StartDecode(config);
  TestCall call(decode->port(), To(*prefill, TestRequest(70, 4, 1)));
  const grpc::Status status = call.ReadAll();
  CHECK(status.error_code() == grpc::StatusCode::FAILED_PRECONDITION);
  CHECK_THAT(status.error_message(), Catch::Contains("kv_target=int8"));
  CHECK_THAT(status.error_message(), Catch::Contains("kv_target=bf16"));
}

TEST_CASE(
    "servers: a prefill server that dies fails its request and serves again when it is back") {
  Config config = StuckConfig();
  auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  TestCall cut(decode->port(), To(*prefill, TestRequest(300, 16, 2)));
  REQUIRE(cut.ReadFirstToken());
  const int port = prefill->port();
  const absl::Time killed = absl::Now();
  prefill.reset();
  CHECK(cut.ReadAll().error_code() == grpc::StatusCode::UNAVAILABLE);
  CHECK(absl::Now() - killed < kLongEnough / 2);  // not by the call's deadline

  TestCall nobody(decode->port(), [&] {
    v1::GenerateRequest request = TestRequest(300, 16, 2);
    request.add_prefill_addresses(Address(port));
    return request;
  }());
  CHECK(nobody.ReadAll().error_code() == grpc::StatusCode::UNAVAILABLE);

  config = TestConfig();
  config.prefill.port = port;
  prefill = StartPrefill(config);
  const v1::GenerateRequest request = TestRequest(300, 16, 3);
  std::vector<int32_t> tokens;
  // Refused at once while the channel waits for its next attempt to connect.
  REQUIRE(WaitUntil([&] {
    TestCall call(decode->port(), To(*prefill, request));
    const grpc::Status status = call.ReadAll();
    tokens = call.tokens;
    return status.ok();
  }));
  CHECK(tokens == ReferenceTokens(config, request));
}

TEST_CASE("servers: a dead prefill server is passed over") {
  const Config config = TestConfig();
  const auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  auto dead = StartPrefill(config);
  v1::GenerateRequest request = TestRequest(100, 6, 4);
  request.add_prefill_addresses(Address(dead->port()));
  request.add_prefill_addresses(Address(prefill->port()));
  dead.reset();
  TestCall call(decode->port(), request);
  CHECK(call.ReadAll().ok());
  CHECK(call.tokens == ReferenceTokens(config, request));
}

TEST_CASE("servers: a client that cancels leaves nothing behind") {
  const Config config = StuckConfig();
  const auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  TestCall call(decode->port(), To(*prefill, TestRequest(300, 16, 5)));
  REQUIRE(call.ReadFirstToken());
  CHECK(WaitUntil([&] { return !IsEmpty(prefill->stats()) && !IsEmpty(decode->stats()); }));
  call.Cancel();
  CHECK(call.ReadAll().error_code() == grpc::StatusCode::CANCELLED);
  CHECK(WaitUntil([&] { return IsEmpty(prefill->stats()) && IsEmpty(decode->stats()); }));
  CHECK(WaitUntil([&] { return prefill->open_calls() == 0 && decode->open_calls() == 0; }));
}

TEST_CASE("servers: a full queue refuses, a draining server too") {
  Config config = StuckConfig();
  config.decode.queue_limit = 1;
  const auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  TestCall first(decode->port(), To(*prefill, TestRequest(300, 16, 6)));
  REQUIRE(first.ReadFirstToken());
  TestCall second(decode->port(), To(*prefill, TestRequest(300, 16, 7)));
  CHECK(second.ReadAll().error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED);
  CHECK(WaitUntil([&] { return decode->stats().tokens_outstanding == 300 + 16; }));
  decode->Drain();
  TestCall third(decode->port(), To(*prefill, TestRequest(300, 16, 8)));
  CHECK(third.ReadAll().error_code() == grpc::StatusCode::UNAVAILABLE);
  first.Cancel();
  CHECK(first.ReadAll().error_code() == grpc::StatusCode::CANCELLED);
  CHECK(WaitUntil([&] { return decode->open_calls() == 0; }));
}

TEST_CASE("servers: metrics tell of a request, and answer while one is stuck") {
  Config config = StuckConfig();
  config.decode.vllm_metrics = false;
  const auto prefill = StartPrefill(config);
  const auto decode = StartDecode(config);
  TestCall call(decode->port(), To(*prefill, TestRequest(130, 24, 7)));
  REQUIRE(call.ReadFirstToken());
  std::vector<UniqueFd> slow;
  for (int i = 0; i < 50; ++i) slow.push_back(ConnectTo(decode->metrics_port()));
  std::string on_decode, on_prefill;
  CHECK(WaitUntil([&] {
    on_decode = HttpGet(decode->metrics_port(), "/metrics");
    return Metric(on_decode, "lynx_decode_generated_tokens_total") == 1;
  }));
  INFO(on_decode);
  CHECK(Metric(on_decode, "lynx_num_requests_running") == 1);
  CHECK(Metric(on_decode, "lynx_num_requests_waiting") == 0);
  CHECK(Metric(on_decode, "lynx_kv_cache_usage_perc") > 0);
  CHECK(Metric(on_decode, "lynx_transfer_sessions{state=\"up\"}") == 1);
  CHECK(on_decode.find("lynx_build_info{role=\"decode\"") != std::string::npos);
  CHECK(on_decode.find("vllm:") == std::string::npos);
  CHECK(WaitUntil([&] {
    on_prefill = HttpGet(prefill->metrics_port(), "/metrics");
    return Metric(on_prefill, "lynx_prefill_prompt_tokens_total") == 130;
  }));
  INFO(on_prefill);
  CHECK(Metric(on_prefill, "lynx_transfer_queued_bytes{class=\"residual\"}") > 0);
  CHECK(on_prefill.find("\nvllm:num_requests_running{model_name=") != std::string::npos);
  call.Cancel();
  CHECK_FALSE(call.ReadAll().ok());
}

TEST_CASE("servers: a request that can never be served is refused with the reason") {
  const Config config = TestConfig();
  const auto decode = StartDecode(config);
  TestCall call(decode->port(), TestRequest(10, 4, 9));
  const grpc::Status status = call.ReadAll();
  CHECK(status.error_code() == grpc::StatusCode::INVALID_ARGUMENT);
  CHECK_THAT(status.error_message(), Catch::Contains("prefill server"));
}

}  // namespace
}  // namespace lynx
