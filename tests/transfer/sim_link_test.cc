// Faults by seed: whatever the link does, every block arrives exactly, once, and nothing else is
// written.
#include "transfer/sim_link.h"

#include <catch2/catch.hpp>
#include <memory>
#include <random>

#include "tests/transfer/world.h"

namespace lynx {
namespace {

using std::chrono::milliseconds;

// A prefill and a decode engine, reduced to what they do with transfers, and the control plane
// between them.
class Pair {
 public:
  Pair(uint64_t seed, const SimLinkOptions& link, const SendQueueOptions& queue = {})
      : random_(seed),
        sender_(std::make_unique<Sender>(queue)),
        link_(std::make_unique<SimLink>(link, &clock_, sender_.get(), &receiver_)) {
    session_ = link_->Connect();
  }

  struct Job {
    std::unique_ptr<World> world;
    std::vector<std::pair<uint32_t, uint32_t>> to_offer;  // (layer, chunk), from the back
    bool ended = false;
    Nanos complete_at{0};
  };

  Job& Start(std::unique_ptr<World> world, uint32_t layers, uint32_t pages) {
    REQUIRE(receiver_.Grant(world->key, session_, world->Ranges()).ok());
    REQUIRE(sender_->Begin(world->key, session_).ok());
    REQUIRE(sender_->Granted(world->key).ok());
    Job& job = jobs_.emplace_back();
    job.world = std::move(world);
    for (uint32_t chunk = 0; chunk <= pages / 2; ++chunk) {
      for (uint32_t layer = 0; layer < layers; ++layer) job.to_offer.emplace_back(layer, chunk);
    }
    std::reverse(job.to_offer.begin(), job.to_offer.end());
    return job;
  }

  void OfferNext(Job& job) {
    if (job.to_offer.empty() || job.ended) return;
    auto [layer, chunk] = job.to_offer.back();
    job.to_offer.pop_back();
    REQUIRE(
        sender_->Offer(job.world->key, job.world->BlocksOf(layer, chunk * 2, chunk * 2 + 2)).ok());
  }

  // One round: the prefill offers, the link works, the engine takes over what came.
  void Round() {
    for (Job& job : jobs_) {
      if (random_() % 2 == 0) OfferNext(job);
    }
    link_->Step();
    for (const Completion& c : receiver_.PollCompleted(1 + random_() % 5)) TakeOver(c);
    for (const ReceiverEvent& e : receiver_.PollEvents())
      lost_ |= e.type == ReceiverEvent::Type::kSessionDown;
    sender_->PollEvents();
    if (lost_) Reconnect();
    std::optional<Nanos> next = link_->NextEventAt();
    clock_.AdvanceTo(next && *next > clock_.Now() ? *next : clock_.Now() + milliseconds(1));
    // A clean link loses nothing, and asking for what is on its way would send it twice.
    if (++rounds_ % 64 == 0 && faulty_) AskForMissing();
  }

  void TakeOver(const Completion& c) {
    for (Job& job : jobs_) {
      if (job.world->key != c.transfer) continue;
      job.world->Take(c);
      if (job.world->complete()) {
        job.complete_at = clock_.Now();
        End(job);
      }
    }
  }

  void End(Job& job) {
    job.ended = true;
    job.world->CheckMemory();
    REQUIRE(receiver_.Missing(job.world->key)->empty());
    REQUIRE(*receiver_.Revoke(job.world->key));
    REQUIRE(sender_->End(job.world->key).ok());
  }

  void Reconnect() {
    lost_ = false;
    session_ = link_->Connect();
    for (Job& job : jobs_) {
      if (job.ended) continue;
      REQUIRE(receiver_.Rebind(job.world->key, session_).ok());
      REQUIRE(sender_->Rebind(job.world->key, session_).ok());
    }
    AskForMissing();
  }

  void AskForMissing() {
    for (Job& job : jobs_) {
      if (job.ended) continue;
      auto missing = receiver_.Missing(job.world->key);
      REQUIRE(missing.ok());
      REQUIRE(sender_->Resend(job.world->key, *missing).ok());
    }
  }

  bool done() const {
    return std::all_of(jobs_.begin(), jobs_.end(), [](const Job& j) { return j.ended; });
  }

  std::mt19937_64 random_;
  ManualClock clock_;
  Receiver receiver_;
  std::unique_ptr<Sender> sender_;
  std::unique_ptr<SimLink> link_;
  std::deque<Job> jobs_;
  SessionId session_{};
  bool lost_ = false;
  bool faulty_ = true;
  int rounds_ = 0;
};

SimLinkOptions Faulty(uint64_t seed) {
  std::mt19937_64 random(seed * 977 + 1);
  auto chance = [&](double max) {
    return random() % 3 == 0 ? 0.0 : std::uniform_real_distribution<double>(0, max)(random);
  };
  SimLinkOptions link{.faults = {}, .seed = seed};
  link.bytes_per_s = random() % 4 == 0 ? 0 : 100'000 + random() % 5'000'000;
  link.delay = Nanos(random() % 30'000'000);
  link.faults = {.lose = chance(0.3),
                 .duplicate = chance(0.3),
                 .corrupt = chance(0.2),
                 .reorder = chance(0.5),
                 .cut = chance(0.05)};
  return link;
}

TEST_CASE("every block arrives exactly once, whatever the link does", "[sim_link]") {
  SimLinkStats all;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    Pair pair(seed, Faulty(seed));
    std::mt19937_64 random(seed);
    uint32_t transfers = 1 + random() % 3;
    for (uint32_t t = 0; t < transfers; ++t) {
      WorldShape shape{.layers = 1 + static_cast<uint32_t>(random() % 3),
                       .pages = 1 + static_cast<uint32_t>(random() % 6),
                       .anchor_bytes = 1 + random() % 3000,
                       .residual_bytes = 1 + random() % 3000,
                       .tail_room = random() % 2 * (1 + random() % 500)};
      pair.Start(std::make_unique<World>(static_cast<uint8_t>(t), shape, 1 + t), shape.layers,
                 shape.pages);
    }
    while (!pair.done()) {
      pair.Round();
      REQUIRE(pair.rounds_ < 20000);
      if (random() % 200 == 0) pair.link_->Cut(pair.session_);
    }
    REQUIRE(pair.sender_->stats().transfers == 0);
    REQUIRE(pair.receiver_.stats().transfers == 0);
    for (auto& job : pair.jobs_) job.world->CheckMemory();
    const SimLinkStats& stats = pair.link_->stats();
    all.lost += stats.lost;
    all.duplicated += stats.duplicated;
    all.corrupted += stats.corrupted;
    all.reordered += stats.reordered;
    all.cuts += stats.cuts;
  }
  // The seeds did what they are for.
  CHECK(all.lost > 300);
  CHECK(all.duplicated > 300);
  CHECK(all.corrupted > 300);
  CHECK(all.reordered > 300);
  CHECK(all.cuts > 50);
}

TEST_CASE("a transfer cancelled at any moment leaves its memory alone", "[sim_link]") {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    CAPTURE(seed);
    SimLinkOptions link = Faulty(seed);
    link.faults.cut = 0;
    Pair pair(seed, link);
    WorldShape shape{.tail_room = 100};
    pair.Start(std::make_unique<World>(1, shape), shape.layers, shape.pages);
    pair.Start(std::make_unique<World>(2, shape), shape.layers, shape.pages);
    std::mt19937_64 random(seed);
    for (uint64_t i = random() % 120; i > 0; --i) pair.Round();
    auto& victim = pair.jobs_.front();
    if (!victim.ended) {
      victim.ended = true;
      REQUIRE(*pair.receiver_.Revoke(victim.world->key));
      victim.world->Scribble(std::byte{9});
      if (*pair.sender_->Cancel(victim.world->key)) {
        victim.world->ScribbleSource();
      } else {
        pair.link_->Step();
        bool released = false;
        for (const SenderEvent& e : pair.sender_->PollEvents()) {
          released |= e.type == SenderEvent::Type::kReleased && e.transfer == victim.world->key;
        }
        REQUIRE(released);
      }
    } else {
      victim.world->Scribble(std::byte{9});
    }
    while (!pair.done()) {
      pair.Round();
      REQUIRE(pair.rounds_ < 20000);
    }
    victim.world->CheckScribble(std::byte{9});
    pair.jobs_.back().world->CheckMemory();
  }
}

// Bytes over a clean link take exactly their time, and the Anchor comes first.
TEST_CASE("a clean link carries a transfer at its own rate", "[sim_link]") {
  SimLinkOptions link{.bytes_per_s = 2'500'000, .delay = milliseconds(10), .faults = {}};
  Pair pair(1, link);
  pair.faulty_ = false;
  WorldShape shape{
      .layers = 4, .pages = 40, .anchor_bytes = 15000, .residual_bytes = 9000, .tail_room = 0};
  auto& job = pair.Start(std::make_unique<World>(1, shape), shape.layers, shape.pages);
  while (!job.to_offer.empty()) pair.OfferNext(job);
  while (!pair.done()) pair.Round();
  double ideal_s = static_cast<double>(job.world->total_bytes()) / 2.5e6 + 0.010;
  double actual_s = std::chrono::duration<double>(job.complete_at).count();
  CHECK(actual_s >= ideal_s);
  CHECK(actual_s <= ideal_s * 1.01);
}

TEST_CASE("an anchor offered while residuals flow starts within ten milliseconds", "[sim_link]") {
  SimLinkOptions link{.bytes_per_s = 2'500'000, .faults = {}};
  Pair pair(1, link);
  pair.faulty_ = false;
  WorldShape shape{
      .layers = 4, .pages = 40, .anchor_bytes = 15000, .residual_bytes = 9000, .tail_room = 0};
  auto& first = pair.Start(std::make_unique<World>(1, shape), shape.layers, shape.pages);
  while (!first.to_offer.empty()) pair.OfferNext(first);
  // Until the first transfer's Anchor is through.
  while (*pair.receiver_.MissingCount(first.world->key, BlockClass::kAnchor) > 0) pair.Round();
  for (int i = 0; i < 10; ++i) pair.Round();
  auto& second = pair.Start(std::make_unique<World>(2, shape), shape.layers, shape.pages);
  pair.OfferNext(second);
  Nanos offered = pair.clock_.Now();
  while (second.world->published() == 0 && !second.ended) pair.Round();
  // At most the frame on the link and its own: 16 KB each at least, 6.6 ms on this link, and a
  // round's millisecond.
  CHECK(pair.clock_.Now() - offered <= milliseconds(15));
  CHECK_FALSE(first.ended);
}

}  // namespace
}  // namespace lynx
