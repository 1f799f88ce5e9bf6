#include "proto/role_options.h"

#include <catch2/catch.hpp>

#include "transfer/open_data_plane.h"

namespace lynx {
namespace {

TransferConfig WithChannel(const std::string& channel) {
  TransferConfig config;
  config.channel = channel;
  return config;
}

}  // namespace

TEST_CASE("on the CPU KV moves over TCP, and nccl is refused") {
  CHECK(*ChooseChannel(WithChannel("auto"), "cpu") == ChannelKind::kTcp);
  CHECK(*ChooseChannel(WithChannel("tcp"), "cpu") == ChannelKind::kTcp);
  const auto refused = ChooseChannel(WithChannel("nccl"), "cpu");
  CHECK(absl::IsFailedPrecondition(refused.status()));
  CHECK_THAT(std::string(refused.status().message()),
             Catch::Contains("transfer.channel") && Catch::Contains("cpu"));
}

TEST_CASE("on a GPU KV moves over NCCL where there is one") {
  const bool has_nccl = CheckNccl().ok();
  CHECK(*ChooseChannel(WithChannel("tcp"), "emulated") == ChannelKind::kTcp);
  CHECK(*ChooseChannel(WithChannel("auto"), "emulated") ==
        (has_nccl ? ChannelKind::kNccl : ChannelKind::kTcp));
  const auto wanted = ChooseChannel(WithChannel("nccl"), "emulated");
  CHECK(wanted.ok() == has_nccl);
  if (!has_nccl) {
    CHECK(absl::IsFailedPrecondition(wanted.status()));
    CHECK_THAT(std::string(wanted.status().message()), Catch::Contains("transfer.channel=tcp"));
  }
}

TEST_CASE("what NCCL is told follows from the configuration") {
  const TransferConfig defaults;
  const NcclOptions options = MakeNcclOptions(defaults, 3);
  CHECK(options.device == 3);
  CHECK(options.Validate().ok());
  const NcclOptions own;
  CHECK(options.max_operation_bytes == own.max_operation_bytes);
  CHECK(options.max_pairs == own.max_pairs);
  CHECK(options.operation_timeout == own.operation_timeout);
  TransferConfig config;
  config.nccl.anchor_traffic_class = 5;
  config.nccl.max_operation_mib = 1;
  CHECK(MakeNcclOptions(config, 0).anchor_traffic_class == 5);
  CHECK(MakeNcclOptions(config, 0).max_operation_bytes == 1 << 20);
  CHECK(WireBytes(ChannelKind::kNccl, 64) == 0);
  CHECK(WireBytes(ChannelKind::kTcp, 64) == size_t{64} << 20);
  config.nccl.max_pairs = 3;
  const NcclOptions three = MakeNcclOptions(config, 0);
  CHECK(ChannelBytes(ChannelKind::kNccl, ChannelEnd::kSender, three) == 300'000'000);
  CHECK(ChannelBytes(ChannelKind::kNccl, ChannelEnd::kReceiver, three) ==
        300'000'000 + (size_t{1} << 20));
  CHECK(ChannelBytes(ChannelKind::kTcp, ChannelEnd::kReceiver, three) == 0);
}

}  // namespace lynx
