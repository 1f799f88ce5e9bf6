// gpu_kernel_bench [--tiny] [--only KERNEL] [--json FILE]: the rows of `lynx bench kernels --gpu`,
// in a program that needs none of the servers' libraries.
#include <cstdio>
#include <fstream>
#include <string>

#include "bench/cuda/gpu_kernel_bench.h"

namespace lynx::bench {
namespace {

struct Arguments {
  GpuBenchOptions options;
  std::string json_file;
};

absl::StatusOr<Arguments> Parse(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "--tiny") {
      arguments.options.tiny = true;
    } else if ((name == "--only" || name == "--json") && i + 1 < argc) {
      (name == "--only" ? arguments.options.only : arguments.json_file) = argv[++i];
    } else {
      return absl::InvalidArgumentError(
          "usage: gpu_kernel_bench [--tiny] [--only KERNEL] [--json FILE]");
    }
  }
  return arguments;
}

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments, Parse(argc, argv));
  ASSIGN_OR_RETURN(const GpuKernelReport report, RunGpuKernelBench(arguments.options));
  std::fputs(FormatGpuKernelReport(report).c_str(), stdout);
  if (arguments.json_file.empty()) return absl::OkStatus();
  std::ofstream file(arguments.json_file);
  file << GpuKernelReportJson(report).dump(2) << '\n';
  file.close();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(arguments.json_file, " cannot be written"));
}

}  // namespace
}  // namespace lynx::bench

int main(int argc, char** argv) {
  const absl::Status status = lynx::bench::Run(argc, argv);
  if (status.ok()) return 0;
  std::fprintf(stderr, "gpu_kernel_bench: %s\n", std::string(status.message()).c_str());
  return 1;
}
