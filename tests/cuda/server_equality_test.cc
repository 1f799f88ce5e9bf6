// Whole requests through prefill and decode processes whose KV moves over the fake NCCL, from one
// GPU to another: the text is the reference's, bit for bit.
#include "tests/cuda/server_processes.h"

namespace lynx {
namespace {

// Slow enough that some requests draft, on most machines; their text does not depend on it.
const char kLink[] = "--transfer.link_rate_mbit=1";

// Requests of several lengths, samplings and emissions against one pair of processes.
void CheckRequests(PairFixture& fixture, ServerProcess& decode, ServerProcess& prefill,
                   const Case& c, int first_variant) {
  int variant = first_variant;
  for (int64_t length : {1, 64, 150}) {
    ++variant;
    v1::GenerateRequest request = fixture.Request(fixture.Prompt(length, variant), 10);
    VarySampling(variant, &request);
    CAPTURE(KvTargetName(c.target), c.split.k_bits, c.split.v_bits, length, variant);
    ProcessCall call(decode, request, {&prefill});
    call.End();
    INFO(prefill.Log() << decode.Log());
    RequireEqual(call.got, fixture.Reference(request, c));
  }
}

void CheckTarget(KvTarget target, const std::vector<KvSplit>& splits) {
  PairFixture fixture(kServedModel, NewReferenceBackend, 256);
  const std::string target_flag = absl::StrCat("--kv.target=", ToAbsl(KvTargetName(target)));
  ServerProcess prefill(
      "prefill", {"--transfer.channel=nccl", kLink, target_flag, "--prefill.chunk_tokens=64"});
  int variant = static_cast<int>(target) * 7;
  for (const KvSplit& split : splits) {
    // "auto" is NCCL here.
    ServerProcess decode("decode", {target_flag, absl::StrCat("--kv.anchor_bits.k=", split.k_bits),
                                    absl::StrCat("--kv.anchor_bits.v=", split.v_bits)});
    Case c;
    c.target = target;
    c.split = split;
    CheckRequests(fixture, decode, prefill, c, variant += 3);
    CHECK(decode.Logged("channel=nccl"));
    CHECK(decode.AwaitIdle());
    CHECK(prefill.AwaitIdle());
    decode.Stop();
  }
  prefill.Stop();
}

}  // namespace

TEST_CASE("over NCCL between processes: int8", "[int8]") {
  CheckTarget(KvTarget::kInt8, {{5, 4}, {3, 7}, {6, 5}});
}

TEST_CASE("over NCCL between processes: bf16", "[bf16]") {
  CheckTarget(KvTarget::kBf16, {{5, 4}, {4, 4}});
}

TEST_CASE("over NCCL between processes: the baselines", "[whole]") {
  for (KvTarget target : {KvTarget::kInt8Whole, KvTarget::kInt4Whole, KvTarget::kBf16Whole}) {
    CheckTarget(target, {{5, 4}});
  }
}

}  // namespace lynx
