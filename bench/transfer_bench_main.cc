// transfer_bench [--bytes N] [--block-bytes N] [--rate-limit BYTES_PER_S] [--anchors N]
#include <CLI/CLI.hpp>
#include <cstdio>

#include "bench/transfer_bench.h"

int main(int argc, char** argv) {
  lynx::TransferBenchOptions options;
  CLI::App app("The data plane against one bare TCP stream, over loopback");
  app.add_option("--bytes", options.bytes, "bytes of each measurement");
  app.add_option("--block-bytes", options.block_bytes, "bytes of a block");
  app.add_option("--rate-limit", options.rate_limit_bytes_per_s, "our own limit, bytes a second");
  app.add_option("--anchors", options.anchors, "latency samples");
  CLI11_PARSE(app, argc, argv);
  auto result = lynx::RunTransferBench(options);
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", std::string(result.status().message()).c_str());
    return 1;
  }
  auto ms = [](lynx::Nanos t) { return static_cast<double>(t.count()) * 1e-6; };
  std::printf(
      "bare_mb_per_s=%.2f lynx_mb_per_s=%.2f efficiency=%.4f anchor_p50_ms=%.2f "
      "anchor_max_ms=%.2f\n",
      result->bare_bytes_per_s * 1e-6, result->lynx_bytes_per_s * 1e-6,
      result->lynx_bytes_per_s / result->bare_bytes_per_s, ms(result->anchor_latency_p50),
      ms(result->anchor_latency_max));
  return 0;
}
