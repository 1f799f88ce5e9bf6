// Mistakes in the channel (nccl_bugs.h) that must not pass: each is found by the fake NCCL, or
// shows in memory or in the end of a session.
#include "transfer/nccl_bugs.h"

#include <catch2/catch.hpp>

#include "fake_cuda.h"
#include "fake_nccl.h"
#include "tests/transfer/nccl_world.h"

namespace lynx {
namespace {

using fake_nccl::Fate;
using fake_nccl::Violations;
using fake_nccl::Where;

class Injected {
 public:
  explicit Injected(NcclBug bug) { injected_nccl_bug = bug; }
  ~Injected() {
    injected_nccl_bug = NcclBug::kNone;
    simt::ResetDevice();  // what hangs on its streams
  }
};

// Two ends, and transfers one after another until `found`.
struct Run {
  explicit Run(Layout target = Layout::kDense)
      : target(target),
        s(&waker, Options(), Frames()),
        r(&waker, ClientOptions()),
        joined(Join(&waker, &s, &r)) {}
  static NcclServerOptions Options() {
    NcclServerOptions options;
    options.nccl = ShortDeadlines();
    options.nccl.operation_timeout = std::chrono::seconds(10);
    return options;
  }
  static NcclClientOptions ClientOptions() { return {.nccl = Options().nccl}; }
  static SendQueueOptions Frames() {
    SendQueueOptions options;
    options.min_frame_bytes = options.max_frame_bytes = 6000;
    return options;
  }
  void Offer(uint8_t name, bool residual_only = false) {
    worlds.push_back(std::make_unique<DeviceWorld>(name, shape, Layout::kDense, target));
    DeviceWorld& world = *worlds.back();
    REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
    s.Start(world.key, joined.at_sender,
            residual_only ? world.OnlyClass(BlockClass::kResidual) : world.Blocks());
  }
  void Until(const std::function<bool()>& found) {
    waker.Await([&] {
      if (s.sender.stats().bytes_queued[0] == 0 && next < 200) Offer(next++);
      return found();
    });
  }

  const Layout target;
  WorldShape shape{
      .layers = 2, .pages = 6, .anchor_bytes = 2000, .residual_bytes = 2000, .tail_room = 0};
  std::vector<std::unique_ptr<DeviceWorld>> worlds;
  uint8_t next = 1;
  Waker waker;
  NcclSenderSide s;
  NcclReceiverSide r;
  JoinedSession joined;
};

TEST_CASE("without a bug nothing is found", "[nccl]") {
  fake_nccl::Reset({.seed = 1, .step_bytes = 500});
  Run run;
  run.Offer(1);
  run.waker.Await([&] { return run.r.TakeUntilComplete(run.worlds[0].get()); });
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("a send before its credit is found", "[nccl]") {
  fake_nccl::Reset({.seed = 1});
  Run run;
  Injected bug(NcclBug::kSendBeforeCredit);
  run.Until([&] { return fake_nccl::violations().send_before_recv > 0; });
  CHECK_FALSE(run.s.AwaitDown(&run.waker, run.joined.at_sender).ok());
}

TEST_CASE("operations that one side launches in another order are found", "[nccl]") {
  fake_nccl::Reset({.seed = 1, .step_bytes = 500});
  Run run;
  Injected bug(NcclBug::kSwappedOrder);
  run.Until([&] { return fake_nccl::violations().order > 0; });
  CHECK_FALSE(run.r.AwaitDown(&run.waker, run.joined.at_receiver).ok());
}

TEST_CASE("pieces that the two sides cut differently are found", "[nccl]") {
  fake_nccl::Reset({.seed = 1});
  Run run(Layout::kApart);
  Injected bug(NcclBug::kWrongPieces);
  run.Until([&] { return fake_nccl::violations().length > 0; });
  CHECK_FALSE(run.r.AwaitDown(&run.waker, run.joined.at_receiver).ok());
}

TEST_CASE("memory that is told safe too early is seen to change", "[nccl]") {
  fake_nccl::Reset({.fate = Fate::kHang, .where = Where::kSendHalf, .at = 3, .step_bytes = 100});
  Run run;
  Injected bug(NcclBug::kEarlySafe);
  run.Offer(1);
  // The operation that hangs is the second of the transfer; the first has ended.
  run.waker.Await([&] { return fake_nccl::calls(Where::kSend) >= 4; });
  // A correct receiver would say: not yet.
  CHECK(*run.r.receiver.Revoke(run.worlds[0]->key));
  CHECK(fake_nccl::running_operations() > 0);
}

TEST_CASE("communicators that are not aborted keep the session's memory", "[nccl]") {
  fake_nccl::Reset({.fate = Fate::kHang, .where = Where::kRecvHalf, .at = 3, .step_bytes = 500});
  Injected bug(NcclBug::kLostAbort);
  {
    Run run;
    run.Offer(1);
    run.waker.Await([&] { return fake_nccl::calls(Where::kRecv) >= 4; });
    run.r.client->CloseSession(run.joined.at_receiver);
    CHECK_FALSE(run.r.AwaitDown(&run.waker, run.joined.at_receiver).ok());
    run.waker.Await([&] { return run.r.client->stats().sessions_stuck == 1; });
    CHECK(fake_nccl::running_operations() > 0);
    CHECK_FALSE(*run.r.receiver.Revoke(run.worlds[0]->key));
    CHECK_FALSE(run.r.client->Close());  // and says so in time
    simt::ResetDevice();
  }
  CHECK(fake_nccl::live_communicators() > 0);
}

TEST_CASE("aborting one communicator of a pair alone is found", "[nccl]") {
  fake_nccl::Reset({.fate = Fate::kHang, .where = Where::kRecvHalf, .at = 2, .step_bytes = 500});
  Run run;
  Injected bug(NcclBug::kAbortAlone);
  run.Offer(1, true);  // the Residual's is the second to be aborted
  run.waker.Await([&] { return fake_nccl::calls(Where::kRecv) >= 3; });
  run.waker.Await([&] { return fake_nccl::running_operations() > 0; });
  run.r.client->CloseSession(run.joined.at_receiver);
  CHECK_FALSE(run.r.AwaitDown(&run.waker, run.joined.at_receiver).ok());
  CHECK(fake_nccl::violations().abort_alone > 0);
}

}  // namespace
}  // namespace lynx
