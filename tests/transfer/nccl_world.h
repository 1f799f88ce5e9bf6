// Both ends of the NCCL channel, and a transfer whose blocks lie in device memory.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "runtime/cuda/cuda_buffer.h"
#include "tests/transfer/tcp_world.h"
#include "transfer/nccl_client.h"
#include "transfer/nccl_server.h"

namespace lynx {

// How blocks lie in memory: one behind the other, or apart.
enum class Layout { kDense, kApart };

// Known blocks in device memory at one side, guarded device memory at the other.
class DeviceWorld {
 public:
  static constexpr size_t kGap = 64;
  static constexpr std::byte kGuard{0xdb};

  DeviceWorld(uint8_t name, WorldShape shape, Layout source = Layout::kDense,
              Layout target = Layout::kApart, uint32_t epoch = 1)
      : shape_(shape) {
    key.id.bytes[0] = name;
    key.id.bytes[15] = 0x5a;
    key.epoch = epoch;
    for (BlockKind kind : {BlockKind::kAnchorPage, BlockKind::kResidualPage, BlockKind::kTailPage,
                           BlockKind::kPartial}) {
      AddKind(kind, source, target);
    }
    content_.resize(source_bytes_ + kGap);
    for (const auto& [id, b] : blocks_) {
      for (size_t i = 0; i < b.bytes; ++i) content_[b.source + i] = ContentAt(key, id, i);
    }
    source_ = Make(content_);
    target_ = Make(std::vector<std::byte>(target_bytes_ + kGap, kGuard));
  }

  std::vector<BlockData> Blocks() const { return BlocksOf(BlockClass::kTail); }
  // Of this class and those before it.
  std::vector<BlockData> BlocksOf(BlockClass last) const {
    std::vector<BlockData> out;
    for (const auto& [id, b] : blocks_) {
      if (ClassOf(id.kind) <= last) out.push_back({id, {source_.data() + b.source, b.bytes}});
    }
    return out;
  }
  std::vector<BlockData> OnlyClass(BlockClass c) const {
    std::vector<BlockData> out;
    for (const auto& [id, b] : blocks_) {
      if (ClassOf(id.kind) == c) out.push_back({id, {source_.data() + b.source, b.bytes}});
    }
    return out;
  }

  std::vector<GrantRange> Ranges() const {
    std::vector<GrantRange> out;
    for (BlockKind kind : {BlockKind::kAnchorPage, BlockKind::kResidualPage, BlockKind::kTailPage,
                           BlockKind::kPartial}) {
      const bool partial = kind == BlockKind::kPartial;
      if (kind == BlockKind::kTailPage && shape_.tail_room == 0) continue;
      out.push_back(MakeGrantRange(kind, shape_.layers, partial ? shape_.pages : 0,
                                   partial ? 1 : shape_.pages, RoomOf(kind),
                                   [&](uint32_t layer, uint32_t page) {
                                     return target_.data() + blocks_.at({layer, kind, page}).target;
                                   }));
    }
    return out;
  }

  void Take(const Completion& c) {
    REQUIRE(c.transfer == key);
    for (uint32_t i = 0; i < c.pages; ++i) {
      REQUIRE(published_.insert({c.layer, c.kind, c.first_page + i}).second);
    }
    Check(c);
  }
  bool complete() const { return published_.size() == blocks_.size(); }
  size_t published() const { return published_.size(); }
  size_t size() const { return blocks_.size(); }

  // Every published block holds its bytes, and what lies between blocks is untouched.
  void CheckMemory() const {
    const std::vector<std::byte> memory = Read();
    std::vector<bool> owned(memory.size(), false);
    for (const auto& [id, b] : blocks_) {
      std::fill_n(owned.begin() + static_cast<ptrdiff_t>(b.target), b.bytes, true);
      if (published_.contains(id)) REQUIRE(Holds(memory, id));
    }
    for (size_t i = 0; i < memory.size(); ++i) {
      if (!owned[i] && memory[i] != kGuard) FAIL("byte " << i << " between blocks was written");
    }
  }
  // What a freed page's next owner writes.
  void Scribble(std::byte value) {
    REQUIRE(cudaMemset(target_.data(), static_cast<int>(value), target_.bytes()) == cudaSuccess);
    REQUIRE(cudaDeviceSynchronize() == cudaSuccess);
  }
  void ScribbleSource() {
    REQUIRE(cudaMemset(source_.data(), 0xee, source_.bytes()) == cudaSuccess);
  }
  bool AllIs(std::byte value) const {
    const std::vector<std::byte> memory = Read();
    return std::all_of(memory.begin(), memory.end(), [&](std::byte b) { return b == value; });
  }

  TransferKey key;

 private:
  struct Block {
    size_t bytes = 0;
    size_t source = 0;  // offsets
    size_t target = 0;
  };

  uint64_t RoomOf(BlockKind kind) const {
    switch (kind) {
      case BlockKind::kAnchorPage:
        return shape_.anchor_bytes;
      case BlockKind::kResidualPage:
        return shape_.residual_bytes;
      case BlockKind::kTailPage:
        return shape_.tail_room;
      default:
        return 96;
    }
  }
  void AddKind(BlockKind kind, Layout source, Layout target) {
    const bool partial = kind == BlockKind::kPartial;
    if (kind == BlockKind::kTailPage && shape_.tail_room == 0) return;
    for (uint32_t layer = 0; layer < shape_.layers; ++layer) {
      for (uint32_t i = 0; i < (partial ? 1 : shape_.pages); ++i) {
        const BlockId id{layer, kind, partial ? shape_.pages : i};
        const uint64_t room = RoomOf(kind);
        const bool tail = kind == BlockKind::kTailPage;
        Block b{.bytes = tail ? (layer * 53 + i * 37) % room : room};
        b.source = source_bytes_ += source == Layout::kApart ? kGap : 0;
        b.target = target_bytes_ += target == Layout::kApart ? kGap : 0;
        source_bytes_ += b.bytes;
        target_bytes_ += room;
        blocks_[id] = b;
      }
    }
  }
  static cuda::DeviceBuffer<std::byte> Make(const std::vector<std::byte>& content) {
    auto buffer = cuda::DeviceBuffer<std::byte>::Create(content.size());
    REQUIRE(buffer.ok());
    REQUIRE(cudaMemcpy(buffer->data(), content.data(), content.size(), cudaMemcpyHostToDevice) ==
            cudaSuccess);
    return std::move(*buffer);
  }
  std::vector<std::byte> Read() const {
    std::vector<std::byte> memory(target_.bytes());
    REQUIRE(cudaMemcpy(memory.data(), target_.data(), memory.size(), cudaMemcpyDeviceToHost) ==
            cudaSuccess);
    return memory;
  }
  bool Holds(const std::vector<std::byte>& memory, const BlockId& id) const {
    const Block& b = blocks_.at(id);
    return std::equal(content_.begin() + static_cast<ptrdiff_t>(b.source),
                      content_.begin() + static_cast<ptrdiff_t>(b.source + b.bytes),
                      memory.begin() + static_cast<ptrdiff_t>(b.target));
  }
  // At the moment of completion.
  void Check(const Completion& c) const {
    for (uint32_t i = 0; i < c.pages; ++i) {
      const Block& b = blocks_.at({c.layer, c.kind, c.first_page + i});
      std::vector<std::byte> got(b.bytes);
      REQUIRE(cudaMemcpy(got.data(), target_.data() + b.target, b.bytes, cudaMemcpyDeviceToHost) ==
              cudaSuccess);
      REQUIRE(
          std::equal(got.begin(), got.end(), content_.begin() + static_cast<ptrdiff_t>(b.source)));
    }
  }

  WorldShape shape_;
  size_t source_bytes_ = 0;
  size_t target_bytes_ = 0;
  std::map<BlockId, Block> blocks_;
  std::vector<std::byte> content_;  // of the source
  cuda::DeviceBuffer<std::byte> source_;
  cuda::DeviceBuffer<std::byte> target_;
  std::set<BlockId> published_;
};

// Deadlines that end a test quickly where one is to strike; the operation's is chosen by each.
inline NcclOptions ShortDeadlines() {
  NcclOptions options;
  options.max_operation_bytes = 1 << 20;
  options.init_timeout = std::chrono::milliseconds(2000);
  options.operation_timeout = std::chrono::milliseconds(4000);
  options.abort_timeout = std::chrono::milliseconds(1000);
  return options;
}

struct NcclSenderSide {
  explicit NcclSenderSide(Waker* waker, NcclServerOptions options = {}, SendQueueOptions queue = {})
      : sender(queue, waker->callback()) {
    options.incarnation = kSenderIncarnation;
    auto started = NcclServer::Start(options, &sender);
    REQUIRE(started.ok());
    server = std::move(*started);
  }
  // The event's status; nullopt: not seen.
  std::optional<absl::Status> Saw(SenderEvent::Type type, SessionId session) {
    Take();
    for (const SenderEvent& e : events) {
      if (e.type == type && e.session == session) return e.status;
    }
    return std::nullopt;
  }
  bool SawReleased(const TransferKey& key) {
    Take();
    for (const SenderEvent& e : events) {
      if (e.type == SenderEvent::Type::kReleased && e.transfer == key) return true;
    }
    return false;
  }
  absl::Status AwaitDown(Waker* waker, SessionId session) {
    waker->Await([&] { return Saw(SenderEvent::Type::kSessionDown, session).has_value(); });
    return *Saw(SenderEvent::Type::kSessionDown, session);
  }
  void Start(const TransferKey& key, SessionId session, const std::vector<BlockData>& blocks) {
    REQUIRE(sender.Begin(key, session).ok());
    REQUIRE(sender.Offer(key, blocks).ok());
    REQUIRE(sender.Granted(key).ok());
  }

  Sender sender;
  std::unique_ptr<NcclServer> server;
  std::vector<SenderEvent> events;

 private:
  void Take() {
    for (SenderEvent& e : sender.PollEvents()) events.push_back(e);
  }
};

struct NcclReceiverSide {
  explicit NcclReceiverSide(Waker* waker, NcclClientOptions options = {}, int device = 1)
      : receiver(waker->callback()) {
    options.incarnation = kReceiverIncarnation;
    options.nccl.device = device;
    auto started = NcclClient::Start(options, &receiver);
    REQUIRE(started.ok());
    client = std::move(*started);
  }
  SessionId Dial(uint16_t port, const Ticket& ticket) {
    auto session = client->Dial({.host = "127.0.0.1",
                                 .port = port,
                                 .ticket = ticket,
                                 .sender_incarnation = kSenderIncarnation});
    REQUIRE(session.ok());
    return *session;
  }
  std::optional<absl::Status> Saw(ReceiverEvent::Type type, SessionId session) {
    Take();
    for (const ReceiverEvent& e : events) {
      if (e.type == type && e.session == session) return e.status;
    }
    return std::nullopt;
  }
  bool SawSafe(const TransferKey& key) {
    Take();
    for (const ReceiverEvent& e : events) {
      if (e.type == ReceiverEvent::Type::kMemorySafe && e.transfer == key) return true;
    }
    return false;
  }
  absl::Status AwaitDown(Waker* waker, SessionId session) {
    waker->Await([&] { return Saw(ReceiverEvent::Type::kSessionDown, session).has_value(); });
    return *Saw(ReceiverEvent::Type::kSessionDown, session);
  }
  void AwaitUp(Waker* waker, SessionId session) {
    waker->Await([&] {
      const auto down = Saw(ReceiverEvent::Type::kSessionDown, session);
      if (down) FAIL("the session went down: " << down->ToString());
      return Saw(ReceiverEvent::Type::kSessionUp, session).has_value();
    });
  }
  bool TakeUntilComplete(DeviceWorld* world) {
    for (const Completion& c : receiver.PollCompleted()) world->Take(c);
    return world->complete();
  }

  Receiver receiver;
  std::unique_ptr<NcclClient> client;
  std::vector<ReceiverEvent> events;

 private:
  void Take() {
    for (ReceiverEvent& e : receiver.PollEvents()) events.push_back(e);
  }
};

// A session that is up at both ends.
struct JoinedSession {
  SessionId at_sender{};
  SessionId at_receiver{};
};
inline JoinedSession Join(Waker* waker, NcclSenderSide* s, NcclReceiverSide* r,
                          const IssuedTicket& t) {
  const SessionId d = r->Dial(s->server->port(), t.ticket);
  r->AwaitUp(waker, d);
  waker->Await([&] { return s->Saw(SenderEvent::Type::kSessionUp, t.session).has_value(); });
  return {t.session, d};
}
inline JoinedSession Join(Waker* waker, NcclSenderSide* s, NcclReceiverSide* r) {
  return Join(waker, s, r, *s->server->IssueTicket(kReceiverIncarnation));
}

}  // namespace lynx
