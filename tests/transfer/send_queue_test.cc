#include "transfer/send_queue.h"

#include <catch2/catch.hpp>
#include <deque>
#include <map>

#include "transfer/frame.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;

constexpr SessionId kA{1}, kB{2};

TransferKey Key(uint8_t n) {
  TransferKey key;
  key.id.bytes[0] = n;
  return key;
}

// A queue and connections that take a frame at once unless told otherwise.
class Bench {
 public:
  explicit Bench(SendQueueOptions options = {}) : queue(options) {
    queue.AddSession(kA);
    queue.AddSession(kB);
  }

  void Begin(uint8_t n, SessionId session = kA) {
    REQUIRE(queue.Begin(Key(n), session).ok());
    REQUIRE(queue.Granted(Key(n)).ok());
  }
  void Offer(uint8_t n, BlockKind kind, uint32_t layer, uint32_t pages, size_t bytes = 16 << 10,
             uint32_t first = 0) {
    memory.emplace_back(bytes);
    std::vector<BlockData> blocks;
    for (uint32_t p = first; p < first + pages; ++p)
      blocks.push_back({{layer, kind, p}, memory.back()});
    REQUIRE(queue.Offer(Key(n), blocks).ok());
  }
  SendPick Ask() {
    return queue.Next(now, [this](SessionId session, Stream stream) {
      auto it = readiness.find({session, stream});
      return it == readiness.end() ? Readiness::kReady : it->second;
    });
  }
  // The next frame, sent in `time`, as "<transfer><class letter><layer>.<page>".
  std::string Send(Nanos time = Nanos(0)) {
    SendPick pick = Ask();
    if (!pick.frame) return "-";
    const BlockId& id = pick.frame->blocks.front().id;
    now += time;
    queue.Written(pick.frame->id);
    queue.Delivered(pick.frame->id);
    last_pages = pick.frame->blocks.size();
    return absl::StrCat(pick.frame->transfer.id.bytes[0],
                        std::string(1, "ART"[static_cast<int>(pick.frame->block_class)]), id.layer,
                        ".", id.page);
  }

  SendQueue queue;
  Nanos now{0};
  std::map<std::pair<SessionId, Stream>, Readiness> readiness;
  std::deque<std::vector<std::byte>> memory;
  size_t last_pages = 0;
};

TEST_CASE("nothing is sent before the grant, or without a session", "[send_queue]") {
  Bench b;
  REQUIRE(b.queue.Begin(Key(1), SessionId{9}).ok());
  b.Offer(1, BlockKind::kAnchorPage, 0, 1);
  CHECK(b.Send() == "-");
  REQUIRE(b.queue.Granted(Key(1)).ok());
  CHECK(b.Send() == "-");
  REQUIRE(b.queue.Rebind(Key(1), kA).ok());
  CHECK(b.Send() == "1A0.0");
  CHECK(b.Send() == "-");
}

TEST_CASE("within a transfer: anchor, residual, tail, each in layer order", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kTailPage, 0, 1);
  b.Offer(1, BlockKind::kResidualPage, 1, 1);
  b.Offer(1, BlockKind::kResidualPage, 0, 1);
  b.Offer(1, BlockKind::kAnchorPage, 1, 1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 1);
  std::vector<std::string> order;
  for (int i = 0; i < 6; ++i) order.push_back(b.Send());
  CHECK(order == std::vector<std::string>{"1A0.0", "1A1.0", "1R0.0", "1R1.0", "1T0.0", "-"});
}

TEST_CASE("an anchor overtakes an older transfer's residual", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kResidualPage, 0, 3);
  CHECK(b.Send() == "1R0.0");
  b.Begin(2);
  b.Offer(2, BlockKind::kAnchorPage, 0, 1);
  b.Offer(2, BlockKind::kResidualPage, 0, 1);
  CHECK(b.Send() == "2A0.0");
  CHECK(b.Send() == "1R0.1");  // the older transfer's first
  CHECK(b.Send() == "1R0.2");
  CHECK(b.Send() == "2R0.0");
}

TEST_CASE("no residual waits for others' anchors longer than allowed", "[send_queue]") {
  SendQueueOptions options;
  options.residual_max_wait = milliseconds(20);
  Bench b(options);
  b.Begin(1);
  b.Begin(2);
  b.Offer(1, BlockKind::kResidualPage, 0, 3);
  b.Offer(2, BlockKind::kAnchorPage, 0, 20);
  std::string sent;
  for (int i = 0; i < 8; ++i) absl::StrAppend(&sent, b.Send(milliseconds(5)), " ");
  // Four anchor frames of 5 ms are its patience; then it goes at full speed.
  CHECK(sent == "2A0.0 2A0.1 2A0.2 2A0.3 1R0.0 1R0.1 1R0.2 2A0.4 ");
}

TEST_CASE("a promoted residual goes by age", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Begin(2);
  b.Offer(1, BlockKind::kResidualPage, 0, 2);
  b.Offer(2, BlockKind::kAnchorPage, 0, 2);
  CHECK(b.Send() == "2A0.0");
  REQUIRE(b.queue.Promote(Key(1)).ok());
  CHECK(b.Send() == "1R0.0");
  CHECK(b.Send() == "1R0.1");
  CHECK(b.Send() == "2A0.1");
}

TEST_CASE("a residual keeps off the link while an anchor's connection is busy", "[send_queue]") {
  SendQueueOptions options;
  options.residual_max_wait = milliseconds(20);
  Bench b(options);
  b.Begin(1);
  b.Begin(2, kB);
  b.Offer(1, BlockKind::kResidualPage, 0, 2);
  b.Offer(2, BlockKind::kAnchorPage, 0, 1);
  b.readiness[{kB, Stream::kAnchor}] = Readiness::kBusy;
  SendPick pick = b.Ask();
  CHECK_FALSE(pick.frame);
  REQUIRE(pick.ask_again_at);
  CHECK(*pick.ask_again_at == milliseconds(20));
  b.now = milliseconds(19);
  CHECK(b.Send() == "-");
  b.now = milliseconds(20);
  CHECK(b.Send() == "1R0.0");
}

TEST_CASE("a stalled peer holds up nobody", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Begin(2, kB);
  b.Offer(1, BlockKind::kResidualPage, 0, 1);
  b.Offer(2, BlockKind::kAnchorPage, 0, 1);
  b.readiness[{kB, Stream::kAnchor}] = Readiness::kStalled;
  CHECK(b.Send() == "1R0.0");
  CHECK(b.Send() == "-");
}

TEST_CASE("at most two residual frames are in flight", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kResidualPage, 0, 3);
  SendPick first = b.Ask();
  SendPick second = b.Ask();
  REQUIRE((first.frame && second.frame));
  CHECK_FALSE(b.Ask().frame);
  b.queue.Written(first.frame->id);
  CHECK_FALSE(b.Ask().frame);
  b.Offer(1, BlockKind::kAnchorPage, 0, 1);
  CHECK(b.Send() == "1A0.0");  // anchors are not held back
  b.queue.Delivered(first.frame->id);
  CHECK(b.Send() == "1R0.2");
}

TEST_CASE("frames take at most three milliseconds of the link", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 200, 4096);
  CHECK(b.Send() == "1A0.0");
  CHECK(b.last_pages == 4);  // nothing measured yet: 16 KB
  b.queue.SetLinkRate(kA, 12'500'000);
  CHECK(b.Send() == "1A0.4");
  CHECK(b.last_pages == 9);  // 37,500 bytes
  b.queue.SetLinkRate(kA, 1'000'000);
  CHECK(b.Send() == "1A0.13");
  CHECK(b.last_pages == 4);
  b.queue.SetLinkRate(kA, 100'000'000'000);
  CHECK(b.Send() == "1A0.17");
  CHECK(b.last_pages == 183);
}

TEST_CASE("frames hold consecutive pages of one layer and kind and length", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 2, 100);
  b.Offer(1, BlockKind::kAnchorPage, 0, 2, 100, 3);
  b.Offer(1, BlockKind::kAnchorPage, 0, 1, 120, 5);
  b.Offer(1, BlockKind::kPartial, 0, 1, 100, 6);
  b.Offer(1, BlockKind::kAnchorPage, 1, 1, 100, 6);
  b.Offer(1, BlockKind::kTailPage, 0, 2, 100);
  std::string sent;
  for (int i = 0; i < 7; ++i) {
    const std::string frame = b.Send();  // sets last_pages
    absl::StrAppend(&sent, frame, "x", b.last_pages, " ");
  }
  CHECK(sent == "1A0.0x2 1A0.3x2 1A0.5x1 1A0.6x1 1A1.6x1 1T0.0x1 1T0.1x1 ");
}

TEST_CASE("peers share, and a peer's requests go by age", "[send_queue]") {
  Bench b;
  b.Begin(1, kA);
  b.Begin(2, kA);
  b.Begin(3, kB);
  for (uint8_t n : {1, 2, 3}) b.Offer(n, BlockKind::kAnchorPage, 0, 2);
  std::string sent;
  for (int i = 0; i < 6; ++i) absl::StrAppend(&sent, b.Send().substr(0, 1));
  CHECK(sent == "131322");
}

TEST_CASE("a peer that was idle has not saved up a share", "[send_queue]") {
  Bench b;
  b.Begin(1, kA);
  b.Offer(1, BlockKind::kAnchorPage, 0, 100);
  for (int i = 0; i < 50; ++i) b.Send();
  b.Begin(2, kB);
  b.Offer(2, BlockKind::kAnchorPage, 0, 50);
  int of_b = 0;
  for (int i = 0; i < 20; ++i) of_b += b.Send()[0] == '2';
  CHECK((of_b == 10 || of_b == 11));
}

TEST_CASE("the rate limit is exact on virtual time", "[send_queue]") {
  SendQueueOptions options;
  options.rate_limit_bytes_per_s = 10'000'000;
  options.rate_burst = Nanos(0);
  Bench b(options);
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 50, 9936);  // one frame: five blocks and a header
  b.Offer(1, BlockKind::kResidualPage, 0, 50, 9936);
  uint64_t bytes = 0;
  Nanos end{0};
  while (true) {
    SendPick pick = b.Ask();
    if (pick.frame) {
      bytes += pick.frame->payload_bytes + kFrameHeaderBytes;
      b.queue.Written(pick.frame->id);
      b.queue.Delivered(pick.frame->id);
    } else if (pick.ask_again_at) {
      b.now = end = *pick.ask_again_at;
    } else {
      break;
    }
  }
  CHECK(end.count() == static_cast<int64_t>(bytes * 100));
}

TEST_CASE("removing a transfer frees what is queued and waits for what is written",
          "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 3);
  SendPick pick = b.Ask();
  REQUIRE(pick.frame);
  CHECK_FALSE(b.queue.MemoryWanted(pick.frame->id));
  CHECK(*b.queue.Remove(Key(1)) == 1);
  CHECK(b.queue.MemoryWanted(pick.frame->id));
  CHECK(b.queue.queued().bytes[0] == 0);
  CHECK(absl::IsAlreadyExists(b.queue.Begin(Key(1), kA)));
  CHECK(b.queue.Written(pick.frame->id) == Key(1));
  b.queue.Delivered(pick.frame->id);
  CHECK(b.Send() == "-");
  CHECK(b.queue.Begin(Key(1), kA).ok());
  CHECK(*b.queue.Remove(Key(1)) == 0);
  CHECK(absl::IsNotFound(b.queue.Remove(Key(1)).status()));
}

TEST_CASE("resends queue what was sent, once", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 2);
  CHECK(b.Send() == "1A0.0");
  std::vector<BlockId> missing = {{0, BlockKind::kAnchorPage, 0},
                                  {0, BlockKind::kAnchorPage, 1},   // still queued
                                  {7, BlockKind::kAnchorPage, 0}};  // not offered yet
  CHECK(*b.queue.Resend(Key(1), missing) == 1);
  CHECK(b.Send() == "1A0.0");
  CHECK(b.Send() == "1A0.1");
  CHECK(b.Send() == "-");
}

TEST_CASE("a bad offer changes nothing", "[send_queue]") {
  Bench b;
  b.Begin(1);
  b.Offer(1, BlockKind::kAnchorPage, 0, 1);
  std::vector<std::byte> memory(10);
  std::vector<BlockData> twice = {{{1, BlockKind::kAnchorPage, 0}, memory},
                                  {{0, BlockKind::kAnchorPage, 0}, memory}};
  CHECK(absl::IsInvalidArgument(b.queue.Offer(Key(1), twice)));
  std::vector<BlockData> empty = {{{1, BlockKind::kAnchorPage, 0}, {}}};
  CHECK(absl::IsInvalidArgument(b.queue.Offer(Key(1), empty)));
  CHECK(b.Send() == "1A0.0");
  CHECK(b.Send() == "-");
  std::vector<BlockData> tail = {{{1, BlockKind::kTailPage, 0}, {}}};
  CHECK(b.queue.Offer(Key(1), tail).ok());
  CHECK(b.Send() == "1T1.0");
}

}  // namespace
}  // namespace lynx
