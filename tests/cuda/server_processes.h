// Prefill and decode servers as processes of their own on the emulated GPU, a client, and what the
// reference decoder says on that device.
#pragma once

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/child_process.h"
#include "cli/collected.h"
#include "model/cuda/cuda_backend.h"
#include "proto/lynx.grpc.pb.h"
#include "tests/e2e/pair_fixture.h"

namespace lynx {

inline constexpr char kServedModel[] = LYNX_TEST_DATA "/models/tiny-llama-d64.gguf";
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Polls, because processes and their counts are seen in snapshots only.
inline bool Eventually(const std::function<bool()>& condition) {
  const absl::Time end = absl::Now() + kPatience;
  while (!condition()) {
    if (absl::Now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return true;
}

// A lynx-ROLE. Killed with the object, or with the test.
class ServerProcess {
 public:
  ServerProcess(const std::string& role, const std::vector<std::string>& flags) : role_(role) {
    static int count = 0;
    log_ = std::filesystem::temp_directory_path() /
           absl::StrCat("lynx-", role, "-", ::getpid(), "-", count++, ".log");
    // The shell sends the log to its file and becomes the server.
    std::vector<std::string> command = {"/bin/sh",
                                        "-c",
                                        "log=$1; shift; exec \"$@\" >\"$log\" 2>&1",
                                        "sh",
                                        log_,
                                        absl::StrCat(LYNX_PROGRAMS "/lynx-", role),
                                        absl::StrCat("--model=", kServedModel),
                                        absl::StrCat("--", role, ".device=emulated"),
                                        absl::StrCat("--", role, ".port=0"),
                                        absl::StrCat("--", role, ".metrics_port=0"),
                                        absl::StrCat("--", role, ".threads=1"),
                                        "--kv.memory_mib.prefill=32",
                                        "--kv.memory_mib.decode=32",
                                        "--kv.staging_mib.prefill=32",
                                        "--kv.staging_mib.decode=32"};
    if (role == "prefill") command.insert(command.end(), "--prefill.data_port=0");
    // The other GPU than prefill's: nothing may rest on ordinal 0.
    if (role == "decode") command.insert(command.end(), "--decode.gpu=1");
    command.insert(command.end(), flags.begin(), flags.end());
    auto started = ChildProcess::Start(command);
    INFO(started.status());
    REQUIRE(started.ok());
    process_ = std::make_unique<ChildProcess>(*std::move(started));
  }
  ~ServerProcess() {
    process_.reset();
    std::filesystem::remove(log_);
  }

  std::string Log() const {
    std::ifstream file(log_);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }
  bool Logged(const std::string& words) const { return Log().find(words) != std::string::npos; }

  // host:port of the control plane, once it serves.
  std::string Address() {
    if (!address_.empty()) return address_;
    const std::string mark = " ready address=";
    const bool settled = Eventually([&] { return Logged(mark) || Ended(); });
    const std::string log = Log();
    const size_t at = log.find(mark);
    if (!settled || at == std::string::npos) FAIL(role_ << " does not start:\n" << log);
    const size_t begin = at + mark.size();
    return address_ = log.substr(begin, log.find_first_of(" \n", begin) - begin);
  }
  void Signal(int number) { process_->Signal(number); }
  bool Ended() {
    if (!status_) status_ = process_->Poll();
    return status_.has_value();
  }
  // What it ended with.
  std::string AwaitEnd() {
    if (!Eventually([&] { return Ended(); })) FAIL(role_ << " does not end:\n" << Log());
    return DescribeExit(*status_);
  }
  void Kill() {
    Signal(SIGKILL);
    AwaitEnd();
  }
  // As operators end it: it lets go of everything, and nothing was wrong on the way.
  void Stop() {
    Signal(SIGTERM);
    const std::string end = AwaitEnd();
    INFO(Log());
    CHECK(end == "exit code 0");
    CHECK_FALSE(Logged("fake nccl:"));
    CHECK_FALSE(Logged("event=nccl_stuck"));
  }

  v1::ServerInfo Info() {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    v1::ServerInfo info;
    const auto channel = grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials());
    if (role_ == "prefill") {
      (void)v1::Prefill::NewStub(channel)->Info(&context, {}, &info);
    } else {
      (void)v1::Decode::NewStub(channel)->Info(&context, {}, &info);
    }
    return info;
  }
  // No request, and all memory is free.
  bool AwaitIdle() {
    return Eventually([&] {
      const v1::ServerInfo info = Info();
      return info.pages_total() > 0 && info.pages_free() == info.pages_total() &&
             info.requests_running() == 0 && info.requests_waiting() == 0;
    });
  }

 private:
  const std::string role_;
  std::string log_;
  std::string address_;
  std::unique_ptr<ChildProcess> process_;
  std::optional<int> status_;
};

// One Generate call.
class ProcessCall {
 public:
  ProcessCall(ServerProcess& decode, v1::GenerateRequest request,
              const std::vector<ServerProcess*>& prefills)
      : stub_(v1::Decode::NewStub(
            grpc::CreateChannel(decode.Address(), grpc::InsecureChannelCredentials()))) {
    for (ServerProcess* prefill : prefills) request.add_prefill_addresses(prefill->Address());
    context_.set_deadline(absl::ToChronoTime(absl::Now() + kPatience));
    reader_ = stub_->Generate(&context_, request);
  }

  // Reads until this holds of what has come; false: the call ended before.
  bool ReadUntil(const std::function<bool(const Collected&)>& condition) {
    v1::GenerateEvent event;
    while (!condition(got)) {
      if (!reader_->Read(&event)) return false;
      const absl::Status added = got.Add(event);
      INFO(added);
      REQUIRE(added.ok());
      provisional = provisional || event.tokens().provisional();
    }
    return true;
  }
  bool ReadFirstToken() {
    return ReadUntil([](const Collected& c) { return c.committed > 0; });
  }
  grpc::Status End() {
    ReadUntil([](const Collected&) { return false; });
    const grpc::Status status = reader_->Finish();
    got.done = true;
    got.status =
        absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
    return status;
  }
  void Cancel() { context_.TryCancel(); }

  Collected got;
  bool provisional = false;  // some token was

 private:
  const std::unique_ptr<v1::Decode::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::GenerateEvent>> reader_;
};

inline std::unique_ptr<Backend> NewReferenceBackend(const LoadedModel& model) {
  auto backend = cuda::CudaBackend::Create(model.config, model.weights,
                                           {.kv_bytes = size_t{16} << 20,
                                            .wire_bytes = size_t{1} << 20,
                                            .rows_max = 256,
                                            .linear = {.prefill_rows = 256}});
  INFO(backend.status());
  REQUIRE(backend.ok());
  return *std::move(backend);
}

}  // namespace lynx
