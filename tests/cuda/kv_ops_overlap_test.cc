// What does not wait for what. Streams of the emulator run only when somebody waits for them, so
// that work beside a wait is seen not to have run; on a GPU it may have.
#include "tests/cuda/kv_ops_world.h"

namespace lynx::testing {

TEST_CASE("a pass does not wait for the coding before it") {
  World w;
  w.WritePages();
  const Bytes before = w.Read(w.anchors.at(0), w.anchors.bytes);
  std::vector<CodeJob> code = w.CodeJobs();
  w.ops.Code(kShape, w.split, code);
  const Bytes later(w.sinks.bytes, std::byte{1});
  w.Write(w.sinks.at(0), later);
  w.FinishPasses();
  CHECK(w.Read(w.sinks.at(0), w.sinks.bytes) == later);
  CHECK(w.Read(w.anchors.at(0), w.anchors.bytes) == before);
  w.ops.WaitFor(w.ops.Now());
  CHECK(w.Read(w.anchors.at(0), w.anchors.bytes) != before);
}

TEST_CASE("coding does not wait for the passes behind it") {
  World w;
  w.WritePages();
  const Bytes before = w.Read(w.sinks.at(0), w.sinks.bytes);
  std::vector<CodeJob> code = w.CodeJobs();
  w.ops.Code(kShape, w.split, code);
  const KvOps::Mark coded = w.ops.Now();
  w.Write(w.sinks.at(0), Bytes(w.sinks.bytes, std::byte{1}));
  w.ops.WaitFor(coded);
  for (const CodeJob& job : code) CHECK(job.tail_bytes > 0);
  CHECK(w.Read(w.sinks.at(0), w.sinks.bytes) == before);
  w.FinishPasses();
}

}  // namespace lynx::testing
