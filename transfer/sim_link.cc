#include "transfer/sim_link.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

namespace lynx {
namespace {

// A frame on the way: bytes as they would stand on a wire.
struct Packet {
  SessionId session{};
  FrameHeaderBytes header{};
  std::vector<std::byte> payload;
  size_t landed = 0;
  bool cut = false;                  // the session ends in its middle
  std::unique_ptr<Landing> landing;  // once its header has arrived
};

Nanos TimeOnLink(size_t bytes, uint64_t bytes_per_s) {
  if (bytes_per_s == 0) return Nanos(0);
  return Nanos(
      static_cast<int64_t>(static_cast<unsigned __int128>(bytes) * 1'000'000'000 / bytes_per_s));
}

}  // namespace

struct SimLink::Impl {
  enum class Kind { kSent, kArrives, kArrived };
  struct Event {
    Kind kind = Kind::kSent;
    SessionId session{};
    FrameId frame{};                   // kSent
    std::shared_ptr<Packet> packet{};  // kArrives, kArrived
  };

  SimLinkOptions options;
  const Clock* clock;
  FrameSource* source;
  FrameSink* sink;
  SimLinkStats stats;
  std::mt19937_64 random;
  uint64_t next_session = 1;
  std::set<SessionId> up;
  std::multimap<Nanos, Event> events;  // equal times in the order of insertion
  std::optional<FrameId> in_memory;    // the frame on the link, if its memory is still the source's
  Nanos free_at{0};
  bool backlogged = false;  // the source had a frame whenever the link was free
  std::optional<Nanos> ask_again_at;
  std::atomic<bool> woken{true};

  bool Chance(double p) {
    return p > 0 && std::uniform_real_distribution<double>(0, 1)(random) < p;
  }

  Readiness ReadinessOf(SessionId session) const {
    return up.contains(session) ? Readiness::kReady : Readiness::kStalled;
  }

  void Down(SessionId session, const char* why) {
    if (up.erase(session) == 0) return;
    std::vector<FrameId> sent;
    for (auto it = events.begin(); it != events.end();) {
      bool mine = it->second.session == session;
      if (mine && it->second.kind == Kind::kSent) sent.push_back(it->second.frame);
      it = mine ? events.erase(it) : std::next(it);
    }
    for (FrameId frame : sent) Sent(frame);
    absl::Status status = absl::UnavailableError(why);
    sink->OnSession({session, false, status});
    source->OnSession({session, false, status});
  }

  void Written() {
    if (in_memory) source->FrameWritten(*std::exchange(in_memory, std::nullopt));
  }

  void Sent(FrameId frame) {
    if (in_memory == frame) Written();
    source->FrameDelivered(frame);
  }

  // Between the wire and the memory of a source or sink. A place that is null is drained.
  void Copy(std::byte* to, const std::byte* from, size_t bytes) const {
    if (bytes == 0 || to == nullptr) return;
    if (options.device_copy != nullptr) return options.device_copy(to, from, bytes);
    std::memcpy(to, from, bytes);
  }

  // Writes up to `bytes` more of the payload to where it belongs.
  void Land(Packet* packet, size_t bytes) const {
    while (bytes > 0) {
      iovec iov[16];
      size_t n = packet->landing->Prepare(iov);
      if (n == 0) return;
      size_t written = 0;
      for (size_t i = 0; i < n && bytes > 0; ++i) {
        size_t part = std::min(iov[i].iov_len, bytes);
        Copy(static_cast<std::byte*>(iov[i].iov_base), packet->payload.data() + packet->landed,
             part);
        packet->landed += part;
        written += part;
        bytes -= part;
      }
      packet->landing->Commit(written);
    }
  }

  // A frame's fate is drawn when it leaves.
  void Launch(const OutFrame& frame, Nanos start, Nanos end) {
    auto packet = std::make_shared<Packet>();
    packet->session = frame.session;
    packet->payload.resize(frame.payload_bytes);
    size_t at = 0;
    for (const BlockData& block : frame.blocks) {
      Copy(packet->payload.data() + at, block.bytes.data(), block.bytes.size());
      at += block.bytes.size();
    }
    const BlockId& first = frame.blocks.front().id;
    packet->header = EncodeFrameHeader({.stream = StreamOf(frame.block_class),
                                        .kind = first.kind,
                                        .transfer = frame.transfer,
                                        .layer = first.layer,
                                        .first_page = first.page,
                                        .page_count = static_cast<uint32_t>(frame.blocks.size()),
                                        .payload_bytes = packet->payload.size(),
                                        .payload_checksum = PayloadChecksum(packet->payload)});
    if (Chance(options.faults.lose)) {
      ++stats.lost;
      return;
    }
    if (Chance(options.faults.duplicate)) {
      ++stats.duplicated;
      auto copy = std::make_shared<Packet>();
      copy->session = packet->session;
      copy->header = packet->header;
      copy->payload = packet->payload;
      Fly(copy, start, end);
    }
    if (Chance(options.faults.corrupt)) Corrupt(packet.get());
    if (Chance(options.faults.cut)) {
      ++stats.cuts;
      packet->cut = true;
    }
    Fly(packet, start, end);
  }

  void Corrupt(Packet* packet) {
    ++stats.corrupted;
    const bool checked = options.device_copy == nullptr;
    size_t bits = (packet->header.size() + (checked ? packet->payload.size() : 0)) * 8;
    size_t bit = random() % bits;
    size_t at = bit / 8;
    std::byte& byte = at < packet->header.size() ? packet->header[at]
                                                 : packet->payload[at - packet->header.size()];
    byte ^= std::byte{1} << (bit % 8);
  }

  void Fly(const std::shared_ptr<Packet>& packet, Nanos start, Nanos end) {
    Nanos delay = options.delay;
    if (Chance(options.faults.reorder)) {
      ++stats.reordered;
      delay += Nanos(random() % (options.faults.reorder_delay.count() + 1));
    }
    SessionId session = packet->session;
    events.emplace(start + delay,
                   Event{.kind = Kind::kArrives, .session = session, .packet = packet});
    events.emplace(end + delay,
                   Event{.kind = Kind::kArrived, .session = session, .packet = packet});
  }

  // The header is in, and half of the payload.
  void Arrives(const std::shared_ptr<Packet>& packet) {
    absl::StatusOr<FrameHeader> header = ParseFrameHeader(packet->header);
    if (!header.ok() || header->payload_bytes != packet->payload.size()) {
      sink->OnBadHeader(packet->session);
      Down(packet->session, "simulated: damaged header");
      return;
    }
    packet->landing = options.device_copy == nullptr
                          ? sink->Begin(packet->session, *header)
                          : sink->BeginOnDevice(packet->session, *header);
    Land(packet.get(), packet->payload.size() / 2);
    if (packet->cut) Down(packet->session, "simulated: cut");
  }

  void Arrived(const std::shared_ptr<Packet>& packet) {
    Land(packet.get(), packet->payload.size() - packet->landed);
    packet->landing->Finish();
  }

  void Handle(const Event& event) {
    switch (event.kind) {
      case Kind::kSent:
        return Sent(event.frame);
      case Kind::kArrives:
        return Arrives(event.packet);
      case Kind::kArrived:
        return Arrived(event.packet);
    }
  }

  // Events that fall together with the link's becoming free come first: they may make room.
  void HandleUntil(Nanos now) {
    while (!events.empty() && events.begin()->first <= now) {
      Event event = events.begin()->second;
      events.erase(events.begin());
      Handle(event);
    }
  }

  // True if a frame was sent.
  bool Send(Nanos now) {
    SendPick pick =
        source->NextFrame(now, [this](SessionId session, Stream) { return ReadinessOf(session); });
    ask_again_at = pick.ask_again_at;
    if (!pick.frame) {
      backlogged = false;
      return false;
    }
    // Step may come late on a real clock: a link that had work all the time was not idle meanwhile.
    Nanos start = backlogged ? free_at : std::max(free_at, now);
    backlogged = true;
    size_t bytes = pick.frame->payload_bytes + kFrameHeaderBytes;
    free_at = start + TimeOnLink(bytes, options.bytes_per_s);
    ++stats.frames;
    stats.bytes += bytes;
    in_memory = pick.frame->id;
    events.emplace(
        free_at,
        Event{.kind = Kind::kSent, .session = pick.frame->session, .frame = pick.frame->id});
    Launch(*pick.frame, start, free_at);
    return true;
  }
};

SimLink::SimLink(const SimLinkOptions& options, const Clock* clock, FrameSource* source,
                 FrameSink* sink)
    : impl_(std::make_unique<Impl>()) {
  impl_->options = options;
  impl_->clock = clock;
  impl_->source = source;
  impl_->sink = sink;
  impl_->random.seed(options.seed);
  source->SetChannelWake([impl = impl_.get()] { impl->woken = true; });
}

SimLink::~SimLink() {
  impl_->source->SetChannelWake(nullptr);
  while (!impl_->up.empty()) Cut(*impl_->up.begin());
}

SessionId SimLink::Connect() {
  SessionId session{impl_->next_session++};
  impl_->up.insert(session);
  impl_->sink->OnSession({session, true});
  impl_->source->OnSession({session, true});
  impl_->woken = true;
  return session;
}

void SimLink::Cut(SessionId session) {
  impl_->Down(session, "simulated: cut");
  impl_->woken = true;
}

void SimLink::Step() {
  const Nanos now = impl_->clock->Now();
  impl_->woken = false;
  if (impl_->in_memory && impl_->source->FrameMemoryWanted(*impl_->in_memory)) impl_->Written();
  do {
    impl_->HandleUntil(now);
  } while (impl_->free_at <= now && impl_->Send(now));
}

std::optional<Nanos> SimLink::NextEventAt() const {
  std::optional<Nanos> next;
  auto consider = [&](Nanos at) { next = next ? std::min(*next, at) : at; };
  if (impl_->woken) consider(impl_->clock->Now());
  if (impl_->backlogged) consider(impl_->free_at);
  if (!impl_->events.empty()) consider(impl_->events.begin()->first);
  if (impl_->ask_again_at) consider(std::max(*impl_->ask_again_at, impl_->free_at));
  return next;
}

const SimLinkStats& SimLink::stats() const { return impl_->stats; }

}  // namespace lynx
