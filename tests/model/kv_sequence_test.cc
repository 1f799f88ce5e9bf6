#include "model/kv_sequence.h"

#include <catch2/catch.hpp>

namespace lynx {
namespace {

constexpr KvGeometry kBf16{
    .layers = 3, .shape = {2, 32}, .split = {5, 4}, .target = KvTarget::kBf16};
constexpr int64_t kCodePages = 4, kTotalTokens = 6 * kPageTokens;

// Of a page's Anchor and Residual.
size_t PlaneBytes() {
  return KvPool::RoundUp(AnchorBlockBytes(kBf16.shape, kBf16.split)) +
         KvPool::RoundUp(ResidualBlockBytes(kBf16.shape, kBf16.split));
}

}  // namespace

TEST_CASE("a restored page gives its planes back, and both views read its BF16 form") {
  const size_t bytes = KvSequence::BytesNeeded(kBf16, kCodePages, kTotalTokens);
  KvPool pool(bytes);
  std::unique_ptr<KvSequence> kv = KvSequence::Create(kBf16, kCodePages, kTotalTokens, {&pool});
  REQUIRE(kv != nullptr);
  CHECK(pool.used_bytes() == bytes);
  size_t restored = 0;
  for (int layer = 0; layer < kBf16.layers; ++layer) {
    for (int64_t page = 0; page < kCodePages; ++page) {
      CHECK(kv->Pages(layer, KvView::kDraft)[page].kind == KvPageKind::kAnchor);
      kv->MarkRestored(layer, page);
      ++restored;
      CHECK(pool.used_bytes() == bytes - restored * PlaneBytes());
      for (KvView view : {KvView::kDraft, KvView::kTarget}) {
        const KvPageRef ref = kv->Pages(layer, view)[page];
        CHECK(ref.kind == KvPageKind::kBf16);
        CHECK(ref.data == kv->Bf16Page(layer, page));
      }
    }
  }
  // What is left: BF16 pages of all tokens, and the sinks.
  const size_t page = KvPool::RoundUp(Bf16PageBytes(kBf16.shape));
  const size_t sinks = KvPool::RoundUp(kSinkTokens * PackedTokenBytes(kBf16.shape));
  CHECK(pool.used_bytes() == kBf16.layers * (6 * page + sinks));

  const size_t freed = bytes - pool.used_bytes();
  CHECK(pool.HasRoom(freed));
  std::byte* other = pool.TryAllocate(freed);
  CHECK(other != nullptr);
  kv.reset();
  CHECK(pool.used_bytes() == KvPool::RoundUp(freed));
  pool.Free(other, freed);
  CHECK(pool.used_bytes() == 0);
}

TEST_CASE("changes of the views are listed once each, and a life ends with its sequence") {
  constexpr KvGeometry kInt8{
      .layers = 2, .shape = {2, 32}, .split = {5, 4}, .target = KvTarget::kInt8};
  KvPool pool(size_t{1} << 30);
  auto kv = KvSequence::Create(kInt8, kCodePages, kTotalTokens, {&pool});
  CHECK(kv->changes().empty());
  for (int64_t page : {2, 0, 2}) REQUIRE(kv->MakeRaw(1, page));
  REQUIRE(kv->changes().size() == 2);
  CHECK(kv->changes()[0].layer == 1);
  CHECK(kv->changes()[0].page == 2);
  CHECK(kv->changes()[1].page == 0);
  auto other = KvSequence::Create(kInt8, kCodePages, kTotalTokens, {&pool});
  const std::weak_ptr<const void> life = kv->life(), again = kv->life();
  const std::weak_ptr<const void> others = other->life();
  CHECK(life.lock() == again.lock());
  CHECK(life.lock() != others.lock());
  kv.reset();
  CHECK(life.expired());
  CHECK_FALSE(others.expired());
}

}  // namespace lynx
