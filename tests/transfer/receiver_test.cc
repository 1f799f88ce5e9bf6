#include "transfer/receiver.h"

#include <catch2/catch.hpp>

#include "tests/transfer/world.h"

namespace lynx {
namespace {

constexpr SessionId kSession{7};

struct Frame {
  FrameHeader header;
  std::vector<std::byte> payload;
};

// A frame of `pages` pages, as a correct sender would build it.
Frame MakeFrame(const World& world, BlockId first, uint32_t pages) {
  Frame f;
  for (const BlockData& b : world.Blocks()) {
    if (b.id.layer != first.layer || b.id.kind != first.kind || b.id.page < first.page ||
        b.id.page >= first.page + pages) {
      continue;
    }
    f.payload.insert(f.payload.end(), b.bytes.begin(), b.bytes.end());
  }
  f.header = {.stream = StreamOf(ClassOf(first.kind)),
              .kind = first.kind,
              .transfer = world.key,
              .layer = first.layer,
              .first_page = first.page,
              .page_count = pages,
              .payload_bytes = f.payload.size(),
              .payload_checksum = PayloadChecksum(f.payload)};
  return f;
}

// Lands bytes [from, to) of a frame, `step` at a time.
void Land(Landing* landing, const Frame& frame, size_t from, size_t to, size_t step = 333) {
  while (from < to) {
    iovec iov[2];
    size_t n = landing->Prepare(iov);
    REQUIRE(n > 0);
    size_t part = std::min({step, iov[0].iov_len, to - from});
    std::memcpy(iov[0].iov_base, frame.payload.data() + from, part);
    landing->Commit(part);
    from += part;
  }
}

void Deliver(Receiver* receiver, const Frame& frame, SessionId session = kSession) {
  auto landing = receiver->Begin(session, frame.header);
  Land(landing.get(), frame, 0, frame.payload.size());
  REQUIRE(landing->remaining() == 0);
  landing->Finish();
}

TEST_CASE("a frame lands in its pages and is published once", "[receiver]") {
  World world(1, {});
  int wakes = 0;
  Receiver receiver([&] { ++wakes; });
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame frame = MakeFrame(world, {1, BlockKind::kAnchorPage, 1}, 3);
  Deliver(&receiver, frame);
  CHECK(wakes == 1);
  std::vector<Completion> done = receiver.PollCompleted();
  REQUIRE(done.size() == 1);
  CHECK((done[0].first_page == 1 && done[0].pages == 3 && done[0].bytes == 3000));
  world.Take(done[0]);
  world.CheckMemory();

  world.Scribble(std::byte{1});  // a present block is never written again
  Deliver(&receiver, frame);
  world.CheckScribble(std::byte{1});
  CHECK(receiver.PollCompleted().empty());
  CHECK(receiver.stats().duplicate_blocks == 3);
}

TEST_CASE("a frame that is partly present brings the rest", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Deliver(&receiver, MakeFrame(world, {0, BlockKind::kAnchorPage, 2}, 1));
  Deliver(&receiver, MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 5));
  std::vector<Completion> done = receiver.PollCompleted();
  REQUIRE(done.size() == 3);
  CHECK((done[1].first_page == 0 && done[1].pages == 2));
  CHECK((done[2].first_page == 3 && done[2].pages == 2));
  for (const Completion& c : done) world.Take(c);
  world.CheckMemory();
}

TEST_CASE("two frames that land the same block at once: one wins", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame frame = MakeFrame(world, {0, BlockKind::kResidualPage, 0}, 2);
  auto first = receiver.Begin(kSession, frame.header);
  Land(first.get(), frame, 0, 900);
  Deliver(&receiver, frame);
  CHECK(receiver.PollCompleted().empty());
  Land(first.get(), frame, 900, frame.payload.size());
  first->Finish();
  std::vector<Completion> done = receiver.PollCompleted();
  REQUIRE(done.size() == 1);
  world.Take(done[0]);
}

TEST_CASE("a wrong payload checksum leaves a gap that is told", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame good = MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 2);
  Frame bad = good;
  bad.payload[1500] ^= std::byte{4};
  Deliver(&receiver, bad);
  Deliver(&receiver, bad);
  CHECK(receiver.PollCompleted().empty());
  std::vector<ReceiverEvent> events = receiver.PollEvents();
  REQUIRE(events.size() == 1);
  CHECK((events[0].type == ReceiverEvent::Type::kGap && events[0].transfer == world.key));
  CHECK(receiver.Missing(world.key)->size() == world.size());
  Deliver(&receiver, good);
  CHECK(receiver.PollCompleted().size() == 1);
  CHECK(receiver.Missing(world.key)->size() == world.size() - 2);
  CHECK(*receiver.MissingCount(world.key, BlockClass::kAnchor) == 3 * 5 + 3 - 2);
}

TEST_CASE("frames that nobody waits for are drained and counted", "[receiver]") {
  World world(1, {}, 5);
  Receiver receiver;
  Frame good = MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 2);
  Deliver(&receiver, good);
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  auto with = [&](auto change) {
    Frame f = good;
    change(f);
    f.header.payload_checksum = PayloadChecksum(f.payload);
    Deliver(&receiver, f);
  };
  with([](Frame& f) { f.header.transfer.epoch = 4; });
  with([](Frame& f) { f.header.transfer.epoch = 6; });
  with([](Frame& f) { f.header.transfer.id.bytes[3] = 1; });
  with([](Frame& f) { f.header.layer = 3; });
  with([](Frame& f) { f.header.first_page = 4; });  // page 5 is no anchor page
  with([](Frame& f) {
    f.payload.resize(1998);
    f.header.payload_bytes = 1998;
  });
  Deliver(&receiver, good, SessionId{8});
  ReceiverStats stats = receiver.stats();
  CHECK(stats.unknown_transfer_frames == 3);
  CHECK(stats.old_epoch_frames == 1);
  CHECK(stats.not_granted_frames == 3);
  CHECK(stats.wrong_session_frames == 1);
  CHECK(receiver.PollCompleted().empty());
  world.Scribble(World::kGuard);
  world.CheckMemory();
}

TEST_CASE("a tail has the length of its frame, within its room", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Deliver(&receiver, MakeFrame(world, {0, BlockKind::kTailPage, 0}, 1));  // empty
  Deliver(&receiver, MakeFrame(world, {2, BlockKind::kTailPage, 3}, 1));
  for (const Completion& c : receiver.PollCompleted()) world.Take(c);
  CHECK(world.published() == 2);
  Frame large = MakeFrame(world, {1, BlockKind::kTailPage, 1}, 1);
  large.payload.resize(301);
  large.header.payload_bytes = 301;
  Deliver(&receiver, large);
  CHECK(receiver.stats().not_granted_frames == 1);
  world.CheckMemory();
}

TEST_CASE("revoked memory is safe at once between two writes", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame frame = MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 5);
  auto landing = receiver.Begin(kSession, frame.header);
  Land(landing.get(), frame, 0, 2500);
  CHECK(*receiver.Revoke(world.key));
  world.Scribble(std::byte{2});
  CHECK(receiver.Grant(world.key, kSession, world.Ranges()).ok());  // the memory's next owner
  Land(landing.get(), frame, 2500, frame.payload.size());
  landing->Finish();
  world.CheckScribble(std::byte{2});
  CHECK(receiver.PollCompleted().empty());
  CHECK(receiver.Missing(world.key)->size() == world.size());
}

TEST_CASE("revoked memory stays in quarantine during a write", "[receiver]") {
  World world(1, {});
  int wakes = 0;
  Receiver receiver([&] { ++wakes; });
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame frame = MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 5);
  auto landing = receiver.Begin(kSession, frame.header);
  iovec iov[4];
  REQUIRE(landing->Prepare(iov) == 4);
  CHECK_FALSE(*receiver.Revoke(world.key));
  CHECK(absl::IsAlreadyExists(receiver.Grant(world.key, kSession, world.Ranges())));
  CHECK(receiver.stats().quarantined_transfers == 1);
  CHECK(receiver.PollEvents().empty());
  landing->Commit(0);
  std::vector<ReceiverEvent> events = receiver.PollEvents();
  REQUIRE(events.size() == 1);
  CHECK((events[0].type == ReceiverEvent::Type::kMemorySafe && events[0].transfer == world.key));
  CHECK(wakes == 1);
  CHECK(receiver.stats().quarantined_transfers == 0);
  landing.reset();
}

TEST_CASE("revoking takes back what was completed and not polled", "[receiver]") {
  World world(1, {}), other(2, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  REQUIRE(receiver.Grant(other.key, kSession, other.Ranges()).ok());
  Deliver(&receiver, MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 5));
  Deliver(&receiver, MakeFrame(other, {0, BlockKind::kAnchorPage, 0}, 5));
  CHECK(*receiver.Revoke(world.key));
  std::vector<Completion> done = receiver.PollCompleted();
  REQUIRE(done.size() == 1);
  other.Take(done[0]);
  CHECK(absl::IsNotFound(receiver.Revoke(world.key).status()));
}

TEST_CASE("a frame that ends early leaves its blocks missing", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  Frame frame = MakeFrame(world, {0, BlockKind::kAnchorPage, 0}, 5);
  auto landing = receiver.Begin(kSession, frame.header);
  Land(landing.get(), frame, 0, 4000);
  landing.reset();
  CHECK(receiver.stats().cut_frames == 1);
  CHECK(receiver.Missing(world.key)->size() == world.size());
  REQUIRE(receiver.Rebind(world.key, SessionId{9}).ok());
  Deliver(&receiver, frame, SessionId{9});
  for (const Completion& c : receiver.PollCompleted()) world.Take(c);
  CHECK(world.published() == 5);
}

TEST_CASE("raw pages: granted later, their codes excused", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  REQUIRE(receiver.Grant(world.key, kSession, world.Ranges()).ok());
  BlockId codes[] = {{1, BlockKind::kAnchorPage, 2},
                     {1, BlockKind::kResidualPage, 2},
                     {1, BlockKind::kTailPage, 2}};
  REQUIRE(receiver.Excuse(world.key, codes).ok());
  std::vector<std::byte> raw(2048);
  auto grant = [&] {
    std::vector<GrantRange> ranges(1);
    ranges[0] = {.kind = BlockKind::kRawPage,
                 .first_layer = 1,
                 .layers = 1,
                 .first_page = 2,
                 .pages = 1,
                 .block_bytes = 2048,
                 .memory = {raw.data()}};
    return ranges;
  };
  REQUIRE(receiver.AddGrant(world.key, grant()).ok());
  CHECK(absl::IsInvalidArgument(receiver.AddGrant(world.key, grant())));
  CHECK(receiver.Missing(world.key)->size() == world.size() - 3 + 1);
  Frame frame;
  frame.payload.assign(2048, std::byte{3});
  frame.header = {.stream = Stream::kAnchor,
                  .kind = BlockKind::kRawPage,
                  .transfer = world.key,
                  .layer = 1,
                  .first_page = 2,
                  .page_count = 1,
                  .payload_bytes = 2048,
                  .payload_checksum = PayloadChecksum(frame.payload)};
  Deliver(&receiver, frame);
  CHECK(receiver.PollCompleted().size() == 1);
  CHECK(raw == frame.payload);
  Deliver(&receiver, MakeFrame(world, codes[0], 1));
  CHECK(receiver.PollCompleted().empty());
  world.CheckMemory();
  BlockId present[] = {{1, BlockKind::kRawPage, 2}};
  CHECK(absl::IsFailedPrecondition(receiver.Excuse(world.key, present)));
}

TEST_CASE("bad grants are refused whole", "[receiver]") {
  World world(1, {});
  Receiver receiver;
  auto refused = [&](auto change) {
    std::vector<GrantRange> ranges = world.Ranges();
    change(ranges);
    return absl::IsInvalidArgument(receiver.Grant(world.key, kSession, std::move(ranges)));
  };
  CHECK(refused([](auto& r) { r[0].memory.pop_back(); }));
  CHECK(refused([](auto& r) { r[0].block_bytes = 0; }));
  CHECK(refused([](auto& r) { r[0].first_layer = kMaxLayers; }));
  CHECK(refused([](auto& r) { r[0].first_page = kMaxPages; }));
  CHECK(refused([](auto& r) { r.push_back(r[1]); }));
  CHECK(receiver.Grant(world.key, kSession, world.Ranges()).ok());
}

}  // namespace
}  // namespace lynx
