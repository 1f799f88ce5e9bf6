// A prefill and a decode server over loopback with a tiny model, a client, and what the reference
// decoder says.
#pragma once

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "decode/server.h"
#include "model/cpu_backend.h"
#include "model/loader.h"
#include "model/reference_decoder.h"
#include "prefill/server.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {

inline constexpr absl::Duration kLongEnough = absl::Seconds(60);

inline Config TestConfig() {
  Config config;
  config.model = LYNX_TEST_DATA "/models/tiny-llama.gguf";
  config.prefill.port = config.prefill.data_port = config.decode.port = 0;
  config.prefill.metrics_port = config.decode.metrics_port = 0;
  config.prefill.threads = config.decode.threads = 1;
  config.prefill.chunk_tokens = 96;
  config.kv.memory_mib = {.prefill = 64, .decode = 64};
  return config;
}

inline std::unique_ptr<prefill::Server> StartPrefill(const Config& config) {
  auto options = prefill::MakeServerOptions(config);
  if (!options.ok()) FAIL(options.status().message());
  auto server = prefill::Server::Start(*options);
  if (!server.ok()) FAIL(server.status().message());
  return *std::move(server);
}

inline std::unique_ptr<decode::Server> StartDecode(const Config& config) {
  auto options = decode::MakeServerOptions(config);
  if (!options.ok()) FAIL(options.status().message());
  auto server = decode::Server::Start(*options);
  if (!server.ok()) FAIL(server.status().message());
  return *std::move(server);
}

inline std::string Address(int port) { return absl::StrCat("127.0.0.1:", port); }

// Polls, because what is waited for is seen in snapshots only.
inline bool WaitUntil(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kLongEnough;
  while (!condition()) {
    if (absl::Now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

// A request whose tokens differ by `seed`.
inline v1::GenerateRequest TestRequest(int prompt_tokens, int max_tokens, uint64_t seed) {
  v1::GenerateRequest request;
  request.set_request_id(absl::StrCat("test-", seed));
  uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
  for (int i = 0; i < prompt_tokens; ++i) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    request.add_prompt(static_cast<int32_t>(3 + (x >> 40) % 250));
  }
  request.set_max_tokens(max_tokens);
  request.mutable_sampling()->set_temperature(0.7);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_repetition_penalty(1);
  request.mutable_sampling()->set_seed(seed);
  request.set_ignore_eos(true);
  request.set_logprobs(-1);
  request.set_prompt_logprobs(-1);
  return request;
}

// What plain decoding in one process gives.
inline std::vector<int32_t> ReferenceTokens(const Config& config,
                                            const v1::GenerateRequest& request) {
  auto model = LoadModel(config.model);
  if (!model.ok()) FAIL(model.status().message());
  const Kernels& kernels = *SelectKernels();
  ThreadPool pool(1);
  CpuBackend backend(model->config, model->weights, kernels, pool);
  ReferenceRequest reference;
  reference.prompt.assign(request.prompt().begin(), request.prompt().end());
  reference.max_tokens = request.max_tokens();
  reference.sampling.temperature = request.sampling().temperature();
  reference.sampling.seed = request.sampling().seed();
  const auto geometry = MakeKvGeometry(model->config, *ParseKvTarget(config.kv.target), KvSplit{});
  auto result = DecodeReference(reference, *geometry, false, *backend.NewTransformer(64), backend);
  if (!result.ok()) FAIL(result.status().message());
  return result->tokens;
}

// One Generate call.
class TestCall {
 public:
  TestCall(int decode_port, const v1::GenerateRequest& request)
      : stub_(v1::Decode::NewStub(
            grpc::CreateChannel(Address(decode_port), grpc::InsecureChannelCredentials()))) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + kLongEnough));
    reader_ = stub_->Generate(&context_, request);
  }

  // False at the end of the stream.
  bool ReadEvent() {
    v1::GenerateEvent event;
    if (!reader_->Read(&event)) return false;
    for (const v1::TokenInfo& token : event.tokens().tokens()) tokens.push_back(token.id());
    if (event.has_finished()) finished = event.finished();
    return true;
  }
  bool ReadFirstToken() {
    while (tokens.empty()) {
      if (!ReadEvent()) return false;
    }
    return true;
  }
  grpc::Status ReadAll() {
    while (ReadEvent()) {
    }
    return reader_->Finish();
  }
  void Cancel() { context_.TryCancel(); }

  std::vector<int32_t> tokens;
  v1::Finished finished;

 private:
  const std::unique_ptr<v1::Decode::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader_;
};

}  // namespace lynx
