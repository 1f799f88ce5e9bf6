// fuzz-links: lynx_transfer
// Bytes of a data connection as a stranger could send them: a greeting, a reply, then frames for a
// receiver with a grant.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "transfer/receiver.h"

namespace lynx {
namespace {

constexpr SessionId kSession{1};
constexpr uint64_t kBlockBytes = 48;
constexpr uint32_t kLayers = 2;
constexpr uint32_t kPages = 4;

// The receiver's memory; its edges are the sanitizer's.
struct Granted {
  std::vector<std::unique_ptr<std::byte[]>> blocks;
  GrantRange Range(BlockKind kind) {
    return MakeGrantRange(kind, kLayers, 0, kPages, kBlockBytes, [&](uint32_t, uint32_t) {
      return blocks.emplace_back(std::make_unique<std::byte[]>(kBlockBytes)).get();
    });
  }
};

template <size_t N>
std::array<std::byte, N> Take(std::span<const std::byte>* in) {
  std::array<std::byte, N> out{};
  size_t n = std::min(N, in->size());
  std::copy_n(in->begin(), n, out.begin());
  *in = in->subspan(n);
  return out;
}

void Land(Landing* landing, std::span<const std::byte>* in) {
  while (landing->remaining() > 0 && !in->empty()) {
    iovec iov[3];
    size_t count = landing->Prepare(iov);
    size_t written = 0;
    for (size_t i = 0; i < count; ++i) {
      size_t n = std::min(iov[i].iov_len, in->size());
      std::memcpy(iov[i].iov_base, in->data(), n);
      *in = in->subspan(n);
      written += n;
      if (n < iov[i].iov_len) break;
    }
    landing->Commit(written);
  }
  if (landing->remaining() == 0) landing->Finish();
}

// With `repair` a header's checksum and magic number are set right, so that what is behind them is
// reached.
void RunFrames(std::span<const std::byte> in, bool repair) {
  Granted memory;
  Receiver receiver;
  std::vector<GrantRange> ranges;
  for (BlockKind kind : {BlockKind::kAnchorPage, BlockKind::kResidualPage, BlockKind::kTailPage}) {
    ranges.push_back(memory.Range(kind));
  }
  TransferKey key{};
  LYNX_CHECK(receiver.Grant(key, kSession, std::move(ranges)).ok());
  while (!in.empty()) {
    auto bytes = Take<kFrameHeaderBytes>(&in);
    if (repair) {
      WireFrameHeader w;
      std::memcpy(&w, bytes.data(), sizeof(w));
      FrameHeader h{.stream = static_cast<Stream>(w.stream % 3),
                    .kind = static_cast<BlockKind>(w.kind % 8),
                    .transfer = {.id = {}, .epoch = w.epoch % 2},
                    .layer = w.layer % 4,
                    .first_page = w.first_page % 8,
                    .page_count = w.page_count % 8,
                    .payload_bytes = w.payload_bytes % 512,
                    .payload_checksum = 0};
      size_t n = std::min<size_t>(h.payload_bytes, in.size());
      if (w.payload_checksum % 2 == 0) h.payload_checksum = PayloadChecksum(in.first(n));
      bytes = EncodeFrameHeader(h);
    }
    absl::StatusOr<FrameHeader> header = ParseFrameHeader(bytes);
    if (!header.ok()) {
      receiver.OnBadHeader(kSession);
      break;
    }
    LYNX_CHECK(ParseFrameHeader(EncodeFrameHeader(*header)).value() == *header);
    std::unique_ptr<Landing> landing = receiver.Begin(kSession, *header);
    Land(landing.get(), &in);
  }
  size_t published = 0;
  for (const Completion& c : receiver.PollCompleted()) published += c.pages;
  LYNX_CHECK(published + receiver.Missing(key)->size() == size_t{3} * kLayers * kPages);
  LYNX_CHECK(*receiver.Revoke(key));
}

}  // namespace
}  // namespace lynx

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const std::byte> in(reinterpret_cast<const std::byte*>(data), size);
  if (in.empty()) return 0;
  int mode = std::to_integer<int>(in[0]) % 4;
  in = in.subspan(1);
  if (mode < 2) {
    lynx::RunFrames(in, mode == 1);
  } else if (mode == 2) {
    absl::StatusOr<lynx::Hello> hello = lynx::ParseHello(lynx::Take<lynx::kHelloBytes>(&in));
    if (hello.ok()) LYNX_CHECK(lynx::ParseHello(lynx::EncodeHello(*hello)).value() == *hello);
  } else {
    (void)lynx::ParseHelloReply(lynx::Take<lynx::kReplyBytes>(&in));
  }
  return 0;
}
