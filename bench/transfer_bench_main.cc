// transfer_bench: see bench/transfer_bench.h, and bench/transfer_bench.sh for a shaped link.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/transfer_bench.h"

int main(int argc, char** argv) {
  lynx::bench::TransferBenchOptions options;
  CLI::App app("The data plane against one bare TCP stream, between two processes");
  app.add_option("--bytes", options.bytes, "bytes of each measurement");
  app.add_option("--block-bytes", options.block_bytes, "bytes of a block");
  app.add_option("--rate-limit", options.rate_limit_bytes_per_s, "our own limit, bytes a second");
  app.add_option("--anchors", options.anchors, "latency samples");
  double frame_time_ms = static_cast<double>(options.frame_time.count()) * 1e-6;
  app.add_option("--frame-time-ms", frame_time_ms, "as transfer.frame_time_ms")
      ->check(CLI::Range(0.01, 1000.0));
  app.add_option("--host", options.host, "address that the sender listens on");
  app.add_option("--receiver-netns", options.receiver_netns, "the receiver's network namespace");
  CLI11_PARSE(app, argc, argv);
  options.frame_time = lynx::Nanos(static_cast<int64_t>(frame_time_ms * 1e6));
  auto result = lynx::bench::RunTransferBench(options);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", std::string(result.status().message()).c_str());
    return 1;
  }
  auto ms = [](lynx::Nanos t) { return static_cast<double>(t.count()) * 1e-6; };
  std::printf(
      "bare_mb_per_s=%.2f lynx_mb_per_s=%.2f efficiency=%.4f anchor_start_p50_ms=%.2f "
      "anchor_start_max_ms=%.2f anchor_complete_p50_ms=%.2f anchor_complete_max_ms=%.2f\n",
      result->bare_bytes_per_s * 1e-6, result->lynx_bytes_per_s * 1e-6,
      result->lynx_bytes_per_s / result->bare_bytes_per_s, ms(result->anchor_start_p50),
      ms(result->anchor_start_max), ms(result->anchor_complete_p50),
      ms(result->anchor_complete_max));
  return 0;
}
