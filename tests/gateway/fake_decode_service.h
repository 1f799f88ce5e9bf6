// A Decode and a Prefill service on a real gRPC server in this process.
#pragma once

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "proto/lynx.grpc.pb.h"

namespace lynx {

// What a call does: sends the events, then ends with the status, or waits until it is cancelled.
struct FakeScript {
  std::vector<v1::GenerateEvent> events = {};
  grpc::Status status = grpc::Status::OK;
  bool hang = false;
};

class FakeDecodeService final : public v1::Decode::CallbackService {
 public:
  // Set before a call.
  FakeScript script;
  bool hang_info = false;

  absl::Notification cancelled;  // a hanging call was

  // Of the last call.
  v1::GenerateRequest request() {
    absl::MutexLock lock(&mu_);
    return request_;
  }

 private:
  class Call final : public grpc::ServerWriteReactor<v1::GenerateEvent> {
   public:
    explicit Call(FakeDecodeService* service) : service_(service) { Next(); }
    void OnWriteDone(bool ok) override {
      if (ok) Next();
    }
    void OnCancel() override {
      if (!service_->script.hang) return;
      service_->cancelled.Notify();
      Finish(grpc::Status::CANCELLED);
    }
    void OnDone() override { delete this; }

   private:
    void Next() {
      if (next_ < service_->script.events.size())
        return StartWrite(&service_->script.events[next_++]);
      if (!service_->script.hang) Finish(service_->script.status);
    }
    FakeDecodeService* const service_;
    size_t next_ = 0;
  };

  grpc::ServerWriteReactor<v1::GenerateEvent>* Generate(
      grpc::CallbackServerContext*, const v1::GenerateRequest* received) override {
    absl::MutexLock lock(&mu_);
    request_ = *received;
    return new Call(this);
  }
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context, const v1::InfoRequest*,
                                 v1::ServerInfo* reply) override {
    class Hanging final : public grpc::ServerUnaryReactor {
      void OnCancel() override { Finish(grpc::Status::CANCELLED); }
      void OnDone() override { delete this; }
    };
    if (hang_info) return new Hanging;
    reply->set_model_name("decode's");
    reply->set_max_context(1000);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  absl::Mutex mu_;
  v1::GenerateRequest request_ ABSL_GUARDED_BY(mu_);
};

class FakePrefillService final : public v1::Prefill::CallbackService {
  grpc::ServerUnaryReactor* Info(grpc::CallbackServerContext* context, const v1::InfoRequest*,
                                 v1::ServerInfo* reply) override {
    reply->set_model_name("prefill's");
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

// Both services on one free port.
class FakeGrpcHost {
 public:
  FakeGrpcHost() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(&decode);
    builder.RegisterService(&prefill);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
  }
  ~FakeGrpcHost() { Stop(); }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  // Cancels what runs.
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  FakeDecodeService decode;
  FakePrefillService prefill;

 private:
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace lynx
