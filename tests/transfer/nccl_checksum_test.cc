// Payload checksums of the NCCL channel, over a fake NCCL that can damage what it moves.
#include <algorithm>
#include <catch2/catch.hpp>

#include "fake_nccl.h"
#include "tests/transfer/nccl_world.h"

namespace lynx {
namespace {

using fake_nccl::Fate;
using fake_nccl::Where;

constexpr int kWarmUps = 2;  // recvs before the first frame

NcclClientOptions Checking() {
  NcclClientOptions options;
  options.nccl.checksums = true;
  return options;
}

SendQueueOptions Frames(uint64_t bytes) {
  SendQueueOptions options;
  options.min_frame_bytes = options.max_frame_bytes = bytes;
  return options;
}

bool SawGap(NcclReceiverSide* r, const TransferKey& key) {
  for (const ReceiverEvent& e : r->receiver.PollEvents()) r->events.push_back(e);
  return std::any_of(r->events.begin(), r->events.end(), [&](const ReceiverEvent& e) {
    return e.type == ReceiverEvent::Type::kGap && e.transfer == key;
  });
}

TEST_CASE("intact blocks pass their checksums", "[nccl]") {
  const uint64_t seed = GENERATE(0, 1, 2, 3);
  const Layout source = seed % 2 == 0 ? Layout::kDense : Layout::kApart;
  const Layout target = seed / 2 % 2 == 0 ? Layout::kDense : Layout::kApart;
  fake_nccl::Reset({.seed = seed, .step_bytes = 3000});
  // With and without whole words in a block; more blocks in a frame than one launch takes.
  DeviceWorld odd(1, {.layers = 1, .pages = 70, .anchor_bytes = 93, .residual_bytes = 60}, source,
                  target);
  DeviceWorld even(2, {.layers = 2, .pages = 5, .anchor_bytes = 4096, .residual_bytes = 904},
                   target, source);
  Waker waker;
  {
    NcclSenderSide s(&waker, {}, Frames(8 << 10));
    NcclReceiverSide r(&waker, Checking());
    const JoinedSession joined = Join(&waker, &s, &r);
    for (DeviceWorld* world : {&odd, &even}) {
      REQUIRE(r.receiver.Grant(world->key, joined.at_receiver, world->Ranges()).ok());
      s.Start(world->key, joined.at_sender, world->Blocks());
    }
    waker.Await([&] {
      for (const Completion& done : r.receiver.PollCompleted()) {
        (done.transfer == odd.key ? odd : even).Take(done);
      }
      return odd.complete() && even.complete();
    });
    odd.CheckMemory();
    even.CheckMemory();
    CHECK(r.receiver.stats().bad_payload_frames == 0);
  }
  CHECK(fake_nccl::violations().total() == 0);
}

TEST_CASE("a damaged frame is dropped, and comes again", "[nccl]") {
  const int at = GENERATE(0, 1, 3);  // which frame
  const bool checks = GENERATE(true, false);
  fake_nccl::Reset(
      {.fate = Fate::kCorrupt, .where = Where::kRecvHalf, .at = kWarmUps + at, .step_bytes = 500});
  DeviceWorld world(
      1, {.layers = 2, .pages = 4, .anchor_bytes = 1500, .residual_bytes = 904, .tail_room = 0});
  Waker waker;
  NcclSenderSide s(&waker, {}, Frames(1));  // a block each
  NcclReceiverSide r(&waker, checks ? Checking() : NcclClientOptions());
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
  s.Start(world.key, joined.at_sender, world.Blocks());
  if (!checks) {  // the damage is real
    size_t pages = 0;
    waker.Await([&] {
      for (const Completion& done : r.receiver.PollCompleted()) pages += done.pages;
      return pages == world.size();
    });
    CHECK(r.receiver.stats().bad_payload_frames == 0);
    return;
  }
  waker.Await([&] {
    r.TakeUntilComplete(&world);
    return SawGap(&r, world.key) && world.published() + 1 == world.size();
  });
  CHECK(r.receiver.stats().bad_payload_frames == 1);
  const std::vector<BlockId> missing = *r.receiver.Missing(world.key);
  REQUIRE(missing.size() == 1);
  REQUIRE(s.sender.Resend(world.key, missing).ok());
  waker.Await([&] { return r.TakeUntilComplete(&world); });
  world.CheckMemory();
  CHECK(r.receiver.stats().bad_payload_frames == 1);
  CHECK_FALSE(r.Saw(ReceiverEvent::Type::kSessionDown, joined.at_receiver));
}

TEST_CASE("a frame that is wanted in part cannot be checked, and is asked for again", "[nccl]") {
  fake_nccl::Reset({.fate = Fate::kCorrupt, .where = Where::kRecvHalf, .at = kWarmUps + 1});
  DeviceWorld world(
      1, {.layers = 1, .pages = 2, .anchor_bytes = 256, .residual_bytes = 96, .tail_room = 0});
  Waker waker;
  NcclSenderSide s(&waker, {}, Frames(1 << 20));
  NcclReceiverSide r(&waker, Checking());
  const JoinedSession joined = Join(&waker, &s, &r);
  REQUIRE(r.receiver.Grant(world.key, joined.at_receiver, world.Ranges()).ok());
  std::vector<BlockData> anchors;
  for (const BlockData& block : world.OnlyClass(BlockClass::kAnchor)) {
    if (block.id.kind == BlockKind::kAnchorPage) anchors.push_back(block);
  }
  REQUIRE(anchors.size() == 2);
  const auto await_published = [&](size_t blocks) {
    waker.Await([&] {
      r.TakeUntilComplete(&world);
      return world.published() == blocks;
    });
  };
  const auto await_bad = [&](uint64_t frames) {
    waker.Await([&] { return r.receiver.stats().bad_payload_frames == frames; });
  };
  s.Start(world.key, joined.at_sender, {anchors[0]});
  await_published(1);
  REQUIRE(s.sender.Offer(world.key, std::vector{anchors[1]}).ok());
  await_bad(1);
  // Both in one frame, of which one is there.
  REQUIRE(s.sender.Resend(world.key, std::vector{anchors[0].id, anchors[1].id}).ok());
  await_bad(2);
  CHECK(r.receiver.stats().duplicate_blocks == 1);
  REQUIRE(s.sender.Resend(world.key, std::vector{anchors[1].id}).ok());
  await_published(2);
  world.CheckMemory();
}

}  // namespace
}  // namespace lynx
