// What the step loop asks of the runtime, counted by the emulated one.
#include <map>
#include <string>

#include "fake_cuda.h"
#include "tests/cuda/step_bed.h"

namespace lynx {
namespace {

using testing::LoadTinyModel;
using testing::StepBed;

using Counts = std::map<std::string, uint64_t>;

Counts Since(const Counts& before) {
  Counts counts = simt::CallCounts();
  for (const auto& [name, count] : before) counts[name] -= count;
  std::erase_if(counts, [](const auto& call) { return call.second == 0; });
  return counts;
}

uint64_t Total(const Counts& counts) {
  uint64_t total = 0;
  for (const auto& [name, count] : counts) total += count;
  return total;
}

// They wait for the device, or may.
void CheckNothingWaits(Counts calls) {
  for (const char* name :
       {"cudaMalloc", "cudaFree", "cudaMallocHost", "cudaHostAlloc", "cudaFreeHost",
        "cudaHostRegister", "cudaHostUnregister", "cudaDeviceSynchronize", "cudaMemcpy",
        "cudaMemset", "cudaStreamCreate", "cudaStreamCreateWithFlags",
        "cudaStreamCreateWithPriority", "cudaEventCreate", "cudaEventCreateWithFlags"}) {
    INFO(name);
    CHECK(calls[name] == 0);
  }
}

}  // namespace

TEST_CASE("steps allocate nothing and never wait for the whole device") {
  const LoadedModel model = LoadTinyModel("tiny-llama-d64.gguf");
  StepBed bed(model, 4);
  bed.Step({{.tokens = std::span<const int32_t>(bed.Tokens(1, 1)),
             .kv = bed.Prefill(bed.Tokens(3, 1)).get()}});  // the first logits on the host
  const Counts before = simt::CallCounts();
  auto plain = bed.Prefill(bed.Tokens(600, 2));
  auto kv = bed.Coded(*plain, 40);
  int64_t position = 600;
  for (int64_t rows : {1, 1, 16, 1, 16, 2, 1, 1}) {  // short ones and the largest so far
    const std::vector<int32_t> tokens = bed.Tokens(rows, 3);
    bed.Step({{.tokens = tokens, .first_position = position, .kv = kv.get()}});
    position += rows;
  }
  CheckNothingWaits(Since(before));
  CHECK(bed.transformer().graph_stats().replayed > 0);
}

TEST_CASE("a replayed step is a copy, a graph and the logits, whatever the number of layers") {
  const LoadedModel model = LoadTinyModel("tiny-llama-d64.gguf");
  StepBed bed(model, 4);
  auto plain = bed.Prefill(bed.Tokens(200, 2));
  auto kv = bed.Coded(*plain, 40);
  const std::vector<int32_t> token = {1};
  const auto step = [&](int64_t position) {
    const PassRows rows{.tokens = token, .first_position = position, .kv = kv.get()};
    const Counts before = simt::CallCounts();
    bed.transformer().Forward(PassKind::kDecode, std::span(&rows, 1));
    return Since(before);
  };
  const Counts eager = step(200);
  CHECK(eager.at("QueueLaunch") > 8u * static_cast<uint64_t>(model.config.layers));
  step(201);
  Counts replayed = step(202);
  CHECK(Total(replayed) == 4);
  CHECK(replayed["cudaEventSynchronize"] == 1);  // of the last step's copy, long done
  CHECK(replayed["cudaMemcpyAsync"] == 1);
  CHECK(replayed["cudaEventRecord"] == 1);
  CHECK(replayed["cudaGraphLaunch"] == 1);
  // A page that has changed is one copy more.
  REQUIRE(kv->MakeRaw(0, 1));
  REQUIRE(kv->MakeRaw(1, 1));
  replayed = step(203);
  CHECK(Total(replayed) == 5);
  CHECK(replayed["cudaMemcpyAsync"] == 2);
}

}  // namespace lynx
