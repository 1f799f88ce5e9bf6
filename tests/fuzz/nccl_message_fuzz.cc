// fuzz-links: lynx_transfer
// Bytes of an NCCL channel's control connection as a stranger could send them, and bodies of every
// type with a checksum that is right.
#include <cstdint>
#include <span>

#include "transfer/nccl_message.h"

namespace lynx {
namespace {

// One connection's messages, until one is not whole or not one.
void RunConnection(std::span<const std::byte> in) {
  while (in.size() >= kNcclHeaderBytes) {
    const absl::StatusOr<size_t> length = NcclMessageBytes(in.first<kNcclHeaderBytes>());
    if (!length.ok() || *length > in.size()) return;
    const absl::StatusOr<NcclMessage> message = ParseNcclMessage(in.first(*length));
    if (!message.ok()) return;
    in = in.subspan(*length);
  }
}

// What is understood says the same when it is said again.
void ParseBody(const NcclMessage& message, size_t blocks) {
  const auto same = [&](const NcclMessage& again) {
    LYNX_CHECK(again.body.size() == message.body.size() && again.argument == message.argument);
  };
  if (const auto hello = ParseNcclHello(message); hello.ok()) {
    LYNX_CHECK(MakeNcclHello(*hello).body == message.body);
  }
  if (const auto open = ParseNcclOpen(message); open.ok()) {
    LYNX_CHECK(MakeNcclOpen(*open).body == message.body);
  }
  if (const auto announce = ParseNcclAnnounce(message); announce.ok()) {
    LYNX_CHECK(announce->joins.size() == announce->header.page_count);
    same(MakeNcclAnnounce(message.sequence, *announce));
  }
  if (const auto joins = ParseNcclCredit(message, blocks); joins.ok()) {
    LYNX_CHECK(joins->size() == blocks);
  }
  LYNX_CHECK(!ParseNcclFail(message).ok());
}

void RunBody(std::span<const std::byte> in) {
  if (in.size() < 3) return;
  NcclMessage message{.type = static_cast<NcclMessageType>(std::to_integer<int>(in[0]) % 9),
                      .argument = std::to_integer<uint32_t>(in[1]),
                      .sequence = 1};
  const size_t blocks = std::to_integer<size_t>(in[2]) * 16;
  in = in.subspan(3);
  if (in.size() > kNcclMaxBodyBytes) in = in.first(kNcclMaxBodyBytes);
  message.body.assign(in.begin(), in.end());
  const std::vector<std::byte> bytes = EncodeNcclMessage(message);
  const auto length = NcclMessageBytes(std::span(bytes).first<kNcclHeaderBytes>());
  LYNX_CHECK(length.ok() && *length == bytes.size());
  const absl::StatusOr<NcclMessage> parsed = ParseNcclMessage(bytes);
  LYNX_CHECK(parsed.ok() && parsed->body == message.body && parsed->type == message.type);
  ParseBody(*parsed, blocks);
}

}  // namespace
}  // namespace lynx

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const std::byte> in(reinterpret_cast<const std::byte*>(data), size);
  if (in.empty()) return 0;
  if (std::to_integer<int>(in[0]) % 2 == 0) {
    lynx::RunConnection(in.subspan(1));
  } else {
    lynx::RunBody(in.subspan(1));
  }
  return 0;
}
