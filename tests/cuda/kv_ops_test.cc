// What is queued through KvOps sees what passes and jobs before it wrote, and marks stand for both.
#include "tests/cuda/kv_ops_world.h"

namespace lynx::testing {

TEST_CASE("a mark stands for what passes have written") {
  World w;
  w.WritePages();
  w.ops.WaitFor(w.ops.Now());
  for (int i = 0; i < kPages; ++i) CHECK(w.Read(w.pages.at(i), w.pages.bytes) == w.numbers[i]);
}

TEST_CASE("pages are coded behind the passes that write them, and restored where their Tails lie") {
  World w;
  w.WritePages();
  std::vector<CodeJob> code = w.CodeJobs();
  const PackJob pack{
      .page = w.pages.at(0), .begin = 0, .end = kSinkTokens, .packed = w.sinks.at(0)};
  w.ops.Pack(kShape, std::span(&pack, 1));
  w.ops.Code(kShape, w.split, code);
  w.ops.WaitFor(w.ops.Now());
  std::vector<RestoreJob> restore;
  for (int i = 0; i < kPages; ++i) {
    CHECK(code[i].result == SplitResult::kCode);
    CHECK(code[i].tail_bytes > 0);
    CHECK(code[i].tail_bytes < w.pages.bytes / 2);
    restore.push_back({.first_token = World::FirstToken(i),
                       .anchor = w.anchors.at(i),
                       .residual = w.residuals.at(i),
                       .tail = {w.restored.at(i), code[i].tail_bytes},
                       .sinks = i == 0 ? w.sinks.at(0) : nullptr,
                       .page = w.restored.at(i)});
  }
  // Their lengths are known, so that a second time all of it can be queued at once.
  for (const Blocks* blocks : {&w.pages, &w.anchors, &w.residuals, &w.restored, &w.sinks}) {
    w.Write(blocks->at(0), Bytes(kPages * blocks->bytes, std::byte{0xff}));
  }
  w.WritePages();
  w.ops.Pack(kShape, std::span(&pack, 1));
  w.ops.Code(kShape, w.split, code);
  w.ops.Restore(kShape, w.split, restore);
  w.FinishPasses();
  w.ops.WaitFor(w.ops.Now());
  for (int i = 0; i < kPages; ++i) {
    CHECK(restore[i].fits);
    CHECK(w.Read(w.restored.at(i), w.restored.bytes) == w.numbers[i]);
  }
  SECTION("a Tail that does not belong to the code is found, in whatever part it goes") {
    w.ops.Code(kShape, w.split, code);
    w.ops.WaitFor(w.ops.Now());
    w.Write(w.restored.at(4) + code[4].tail_bytes - 1, {std::byte{0xff}, std::byte{0xff}});
    restore[4].tail = {w.restored.at(4), code[4].tail_bytes + 1};
    w.ops.Restore(kShape, w.split, restore);
    w.ops.WaitFor(w.ops.Now());
    for (int i = 0; i < kPages; ++i) CHECK(restore[i].fits == (i != 4));
  }
}

TEST_CASE("packed tokens are unpacked where they lie, behind their packing, before later passes") {
  World w;
  constexpr int kTokens = 63;  // two pages of them have no room aside
  w.WritePages();
  std::vector<PackJob> pack;
  std::vector<UnpackJob> unpack;
  for (int i = 0; i < kPages; ++i) {
    pack.push_back({w.pages.at(i), 0, kTokens, w.restored.at(i)});
    unpack.push_back({w.restored.at(i), 0, kTokens, w.restored.at(i)});
  }
  w.ops.Pack(kShape, pack);
  w.ops.Unpack(kShape, unpack);
  // A pass that reads them.
  Blocks read(w.pages.bytes);
  REQUIRE(cudaMemcpyAsync(read.at(0), w.restored.at(0), kPages * read.bytes, cudaMemcpyDefault,
                          w.passes.get()) == cudaSuccess);
  w.FinishPasses();
  w.ops.WaitFor(w.ops.Now());
  for (int i = 0; i < kPages; ++i) {
    const Bytes got = w.Read(read.at(i), read.bytes);
    const size_t row = kShape.head_dim * sizeof(bf16);  // [K, V][64 tokens][head_dim]
    for (size_t side : {size_t{0}, w.pages.bytes / 2}) {
      CHECK(std::memcmp(got.data() + side, w.numbers[i].data() + side, kTokens * row) == 0);
    }
  }
}

TEST_CASE("a copy has what was coded before it, and a pass what was copied") {
  World w;
  w.WritePages();
  std::vector<CodeJob> code = w.CodeJobs();
  w.ops.Code(kShape, w.split, code);
  Blocks copies(w.anchors.bytes), read(w.anchors.bytes);
  w.ops.Copy(copies.at(0), w.anchors.at(0), kPages * copies.bytes);
  REQUIRE(cudaMemcpyAsync(read.at(0), copies.at(0), kPages * read.bytes, cudaMemcpyDefault,
                          w.passes.get()) == cudaSuccess);
  w.FinishPasses();
  w.ops.WaitFor(w.ops.Now());
  for (const CodeJob& job : code) CHECK(job.result == SplitResult::kCode);
  const Bytes want = w.Read(w.anchors.at(0), kPages * w.anchors.bytes);
  CHECK(w.Read(read.at(0), kPages * read.bytes) == want);
  CHECK(w.Read(copies.at(0), kPages * copies.bytes) == want);
}

}  // namespace lynx::testing
