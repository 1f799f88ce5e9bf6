// The gRPC clients against a real gRPC server.
#include "gateway/grpc_client.h"

#include <limits>

#include "fake_decode_service.h"

namespace lynx {
namespace {

constexpr int64_t kMaxMessageBytes = 1 << 20;

class RecordingSink : public GenerateSink {
 public:
  explicit RecordingSink(size_t wanted = std::numeric_limits<size_t>::max()) : wanted_(wanted) {}

  bool OnEvent(v1::GenerateEvent event) override {
    events.push_back(std::move(event));
    if (!first_.HasBeenNotified()) first_.Notify();
    return events.size() < wanted_;
  }
  void OnDone(absl::Status status) override {
    status_ = std::move(status);
    done_.Notify();
  }

  void WaitForFirst() { first_.WaitForNotification(); }
  absl::Status Wait() {
    done_.WaitForNotification();
    return status_;
  }

  std::vector<v1::GenerateEvent> events;  // read after Wait

 private:
  const size_t wanted_;
  absl::Notification first_, done_;
  absl::Status status_;
};

v1::GenerateEvent Token(int64_t index) {
  v1::GenerateEvent event;
  event.mutable_tokens()->set_first_index(index);
  event.mutable_tokens()->add_tokens()->set_id(static_cast<int32_t>(100 + index));
  return event;
}

struct Calling {
  explicit Calling(FakeScript script, size_t wanted = std::numeric_limits<size_t>::max(),
                   absl::Duration limit = absl::Seconds(60))
      : client(NewGrpcDecodeClient(host.address(), kMaxMessageBytes)),
        sink(std::make_shared<RecordingSink>(wanted)) {
    host.decode.script = std::move(script);
    v1::GenerateRequest request;
    request.set_request_id("r");
    request.add_prompt(5);
    request.add_prefill_addresses("p:1");
    call = client->Generate(std::move(request), absl::Now() + limit, sink);
  }

  FakeGrpcHost host;
  std::shared_ptr<DecodeClient> client;
  std::shared_ptr<RecordingSink> sink;
  std::shared_ptr<GenerateCall> call;
};

absl::StatusOr<v1::ServerInfo> AskInfo(InfoClient& client, absl::Duration timeout) {
  absl::Notification done;
  absl::StatusOr<v1::ServerInfo> result;
  client.Info(timeout, [&](absl::StatusOr<v1::ServerInfo> info) {
    result = std::move(info);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

}  // namespace

TEST_CASE("a call's request and events arrive whole and in order") {
  v1::GenerateEvent last;
  last.mutable_finished()->set_reason(v1::FINISH_LENGTH);
  last.mutable_finished()->mutable_stats()->set_drafted(9);
  Calling calling({{Token(0), Token(1), Token(2), last}, grpc::Status::OK});
  calling.call.reset();  // dropping the handle cancels nothing
  CHECK(calling.sink->Wait().ok());
  const auto& events = calling.sink->events;
  REQUIRE(events.size() == 4);
  for (int i = 0; i < 3; ++i) CHECK(events[i].tokens().tokens(0).id() == 100 + i);
  CHECK(events[3].finished().stats().drafted() == 9);
  CHECK(calling.host.decode.request().request_id() == "r");
  CHECK(calling.host.decode.request().prompt(0) == 5);
  CHECK(calling.host.decode.request().prefill_addresses(0) == "p:1");
}

TEST_CASE("a server's error keeps code and message, behind the events before it") {
  for (const grpc::StatusCode code :
       {grpc::StatusCode::INVALID_ARGUMENT, grpc::StatusCode::RESOURCE_EXHAUSTED,
        grpc::StatusCode::UNAVAILABLE, grpc::StatusCode::DEADLINE_EXCEEDED,
        grpc::StatusCode::INTERNAL}) {
    Calling calling({{Token(0)}, grpc::Status(code, "why")});
    const absl::Status status = calling.sink->Wait();
    CHECK(static_cast<int>(status.code()) == static_cast<int>(code));
    CHECK(status.message() == "why");
    CHECK(calling.sink->events.size() == 1);
  }
}

TEST_CASE("Cancel reaches the server") {
  Calling calling({.events = {Token(0)}, .hang = true});
  calling.sink->WaitForFirst();
  calling.call->Cancel();
  calling.call->Cancel();
  CHECK(absl::IsCancelled(calling.sink->Wait()));
  calling.host.decode.cancelled.WaitForNotification();
  calling.call->Cancel();  // after the end, too
}

TEST_CASE("a sink that takes no more cancels the call") {
  Calling calling({.events = {Token(0), Token(1)}, .hang = true}, /*wanted=*/2);
  CHECK(absl::IsCancelled(calling.sink->Wait()));
  calling.host.decode.cancelled.WaitForNotification();
  CHECK(calling.sink->events.size() == 2);
}

TEST_CASE("the deadline ends a call on both sides") {
  Calling calling({.hang = true}, 1, absl::Milliseconds(50));
  CHECK(absl::IsDeadlineExceeded(calling.sink->Wait()));
  calling.host.decode.cancelled.WaitForNotification();
}

TEST_CASE("a deadline that has passed already is an error like any other") {
  Calling calling({.hang = true}, 1, absl::Seconds(-1));
  CHECK(absl::IsDeadlineExceeded(calling.sink->Wait()));
}

TEST_CASE("what the server ends by itself is no cancellation") {
  Calling refused({{}, grpc::Status::CANCELLED});
  CHECK(absl::IsUnavailable(refused.sink->Wait()));

  Calling cut({.events = {Token(0)}, .hang = true});
  cut.sink->WaitForFirst();
  cut.host.Stop();
  CHECK(absl::IsUnavailable(cut.sink->Wait()));
}

TEST_CASE("a server that is not there fails calls at once") {
  FakeGrpcHost host;
  const auto client = NewGrpcDecodeClient(host.address(), kMaxMessageBytes);
  host.Stop();
  const auto sink = std::make_shared<RecordingSink>();
  client->Generate({}, absl::InfiniteFuture(), sink);
  CHECK(absl::IsUnavailable(sink->Wait()));
  CHECK(absl::IsUnavailable(AskInfo(*client, absl::Seconds(60)).status()));
}

// gRPC ends its threads with the last channel and server, which must not happen on one of them.
TEST_CASE("client and server may go as soon as a call's end is told") {
  for (int round = 0; round < 50; ++round) {
    Calling calling({{}, grpc::Status::OK});
    calling.call.reset();
    REQUIRE(calling.sink->Wait().ok());
  }
}

TEST_CASE("a client that goes cancels its calls and waits for them") {
  FakeGrpcHost host;
  host.decode.script = {.events = {Token(0)}, .hang = true};
  host.decode.hang_info = true;
  auto client = NewGrpcDecodeClient(host.address(), kMaxMessageBytes);
  const auto sink = std::make_shared<RecordingSink>();
  const auto call = client->Generate({}, absl::InfiniteFuture(), sink);
  sink->WaitForFirst();
  absl::Notification asked;
  client->Info(absl::Hours(1), [&](const absl::StatusOr<v1::ServerInfo>&) { asked.Notify(); });
  client.reset();
  CHECK_FALSE(sink->Wait().ok());
  asked.WaitForNotification();
  call->Cancel();  // touches nothing that is gone
}

TEST_CASE("Info of both kinds of servers, with its timeout") {
  FakeGrpcHost host;
  const auto decode = NewGrpcDecodeClient(host.address(), kMaxMessageBytes);
  const auto prefill = NewGrpcPrefillClient(host.address());
  const auto decode_info = AskInfo(*decode, absl::Seconds(60));
  const auto prefill_info = AskInfo(*prefill, absl::Seconds(60));
  REQUIRE((decode_info.ok() && prefill_info.ok()));
  CHECK(decode_info->model_name() == "decode's");
  CHECK(prefill_info->model_name() == "prefill's");
  host.decode.hang_info = true;
  CHECK(absl::IsDeadlineExceeded(AskInfo(*decode, absl::Milliseconds(50)).status()));
}

}  // namespace lynx
