#include "transfer/nccl_message.h"

#include <algorithm>
#include <cstring>

namespace lynx {
namespace {

uint64_t ChecksumOf(const WireNcclHeader& header, std::span<const std::byte> body) {
  PayloadHasher hasher;
  hasher.Update(std::as_bytes(std::span(&header, 1)).first(offsetof(WireNcclHeader, checksum)));
  hasher.Update(body);
  return hasher.Digest();
}

template <typename Body>
NcclMessage MakeFixed(NcclMessageType type, const Body& body) {
  const auto bytes = std::as_bytes(std::span(&body, 1));
  return {.type = type, .body = {bytes.begin(), bytes.end()}};
}

template <typename Body>
absl::StatusOr<Body> ParseFixed(NcclMessageType type, const NcclMessage& message) {
  if (message.type != type || message.body.size() != sizeof(Body)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a control message of type ", static_cast<int>(message.type), " and ", message.body.size(),
        " bytes came where one of type ", static_cast<int>(type), " belongs"));
  }
  Body body;
  std::memcpy(&body, message.body.data(), sizeof(body));
  return body;
}

size_t JoinBytes(size_t blocks) { return (blocks + 7) / 8; }

void AppendJoins(const NcclJoins& joins, std::vector<std::byte>* body) {
  const size_t begin = body->size();
  body->resize(begin + JoinBytes(joins.size()));
  for (size_t i = 0; i < joins.size(); ++i) {
    if (joins[i]) (*body)[begin + i / 8] |= std::byte{1} << (i % 8);
  }
}

NcclJoins ReadJoins(std::span<const std::byte> bytes, size_t blocks) {
  NcclJoins joins(blocks);
  for (size_t i = 0; i + 1 < blocks; ++i) {
    joins[i] = (bytes[i / 8] & (std::byte{1} << (i % 8))) != std::byte{0};
  }
  return joins;
}

}  // namespace

std::vector<std::byte> EncodeNcclMessage(const NcclMessage& message) {
  LYNX_CHECK(message.body.size() <= kNcclMaxBodyBytes);
  WireNcclHeader header{.magic = kNcclMagic,
                        .version = kNcclWireVersion,
                        .type = static_cast<uint16_t>(message.type),
                        .body_bytes = static_cast<uint32_t>(message.body.size()),
                        .argument = message.argument,
                        .sequence = message.sequence,
                        .checksum = 0};
  header.checksum = ChecksumOf(header, message.body);
  std::vector<std::byte> out(kNcclHeaderBytes + message.body.size());
  std::memcpy(out.data(), &header, kNcclHeaderBytes);
  std::copy(message.body.begin(), message.body.end(), out.begin() + kNcclHeaderBytes);
  return out;
}

absl::StatusOr<size_t> NcclMessageBytes(std::span<const std::byte, kNcclHeaderBytes> bytes) {
  WireNcclHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (header.magic != kNcclMagic) {
    return absl::DataLossError("not a message of the NCCL channel: wrong magic number");
  }
  if (header.version != kNcclWireVersion) {
    return absl::UnimplementedError(absl::StrCat("the peer's NCCL channel has version ",
                                                 header.version, ", this program's ",
                                                 kNcclWireVersion));
  }
  if (header.body_bytes > kNcclMaxBodyBytes) {
    return absl::DataLossError(absl::StrCat("a control message of ", header.body_bytes, " bytes"));
  }
  return kNcclHeaderBytes + header.body_bytes;
}

absl::StatusOr<NcclMessage> ParseNcclMessage(std::span<const std::byte> bytes) {
  WireNcclHeader header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  const std::span<const std::byte> body = bytes.subspan(kNcclHeaderBytes);
  if (header.body_bytes != body.size() || header.checksum != ChecksumOf(header, body)) {
    return absl::DataLossError("a control message is damaged: wrong checksum");
  }
  return NcclMessage{.type = static_cast<NcclMessageType>(header.type),
                     .argument = header.argument,
                     .sequence = header.sequence,
                     .body = {body.begin(), body.end()}};
}

NcclMessage MakeNcclHello(const NcclHello& hello) {
  return MakeFixed(NcclMessageType::kHello, hello);
}

absl::StatusOr<NcclHello> ParseNcclHello(const NcclMessage& message) {
  ASSIGN_OR_RETURN(NcclHello hello, ParseFixed<NcclHello>(NcclMessageType::kHello, message));
  if (hello.operations_in_flight == 0 || hello.max_operation_bytes == 0) {
    return absl::InvalidArgumentError("the receiver takes no operations");
  }
  if (hello.wants_checksums > 1) {
    return absl::UnimplementedError("the receiver wants checksums that this program does not know");
  }
  return hello;
}

NcclMessage MakeNcclOpen(const NcclOpen& open) { return MakeFixed(NcclMessageType::kOpen, open); }

absl::StatusOr<NcclOpen> ParseNcclOpen(const NcclMessage& message) {
  return ParseFixed<NcclOpen>(NcclMessageType::kOpen, message);
}

NcclMessage MakeNcclFail(const absl::Status& status) {
  NcclMessage message{.type = NcclMessageType::kFail,
                      .argument = static_cast<uint32_t>(status.code())};
  const absl::string_view text = status.message().substr(0, kNcclMaxBodyBytes);
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  message.body.assign(bytes.begin(), bytes.end());
  return message;
}

absl::Status ParseNcclFail(const NcclMessage& message) {
  auto code = static_cast<absl::StatusCode>(message.argument);
  // As text of a stranger: printable, or it is not shown.
  std::string text;
  for (std::byte b : message.body) {
    const char c = static_cast<char>(b);
    text.push_back(c >= ' ' && c <= '~' ? c : '?');
  }
  if (message.argument == 0 || message.argument > 16) code = absl::StatusCode::kUnavailable;
  return absl::Status(code, absl::StrCat("the peer ended the session: ", text));
}

NcclMessage MakeNcclAnnounce(uint64_t sequence, const NcclAnnounce& announce) {
  NcclMessage message{.type = NcclMessageType::kAnnounce,
                      .argument = static_cast<uint32_t>(announce.header.stream),
                      .sequence = sequence};
  const FrameHeaderBytes header = EncodeFrameHeader(announce.header);
  message.body.assign(header.begin(), header.end());
  AppendJoins(announce.joins, &message.body);
  return message;
}

absl::StatusOr<NcclAnnounce> ParseNcclAnnounce(const NcclMessage& message) {
  if (message.body.size() < kFrameHeaderBytes) {
    return absl::InvalidArgumentError("an announcement without a frame header");
  }
  const std::span<const std::byte> body(message.body);
  ASSIGN_OR_RETURN(FrameHeader header, ParseFrameHeader(body.first<kFrameHeaderBytes>()));
  const std::span<const std::byte> joins = body.subspan(kFrameHeaderBytes);
  if (joins.size() != JoinBytes(header.page_count) ||
      message.argument != static_cast<uint32_t>(header.stream)) {
    return absl::InvalidArgumentError("an announcement does not fit its frame header");
  }
  return NcclAnnounce{.header = header, .joins = ReadJoins(joins, header.page_count)};
}

NcclMessage MakeNcclCredit(uint64_t sequence, const NcclJoins& joins) {
  NcclMessage message{.type = NcclMessageType::kCredit, .sequence = sequence};
  AppendJoins(joins, &message.body);
  return message;
}

absl::StatusOr<NcclJoins> ParseNcclCredit(const NcclMessage& message, size_t blocks) {
  if (message.body.size() != JoinBytes(blocks)) {
    return absl::InvalidArgumentError("a credit does not fit its announcement");
  }
  return ReadJoins(message.body, blocks);
}

}  // namespace lynx
