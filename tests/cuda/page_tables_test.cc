// Page tables on the device say what their sequences say: after changes, when sequences come and
// go, and when memory is in pieces.
#include "model/cuda/page_tables.h"

#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "runtime/cuda/cuda_handles.h"

namespace lynx::cuda {
namespace {

constexpr int kLayers = 3;

KvGeometry Geometry(KvTarget target) {
  return {.layers = kLayers, .shape = {1, 32}, .split = {5, 4}, .target = target};
}

template <typename T>
std::vector<T> Read(const T* device, size_t count) {
  std::vector<T> host(count);
  REQUIRE(cudaMemcpy(host.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost) ==
          cudaSuccess);
  return host;
}

class TablesBed {
 public:
  explicit TablesBed(int64_t pages_max) {
    auto stream = NewStream();
    auto tables = PageTables::Create(kLayers, pages_max);
    REQUIRE(stream.ok());
    REQUIRE(tables.ok());
    stream_ = *std::move(stream);
    tables_ = *std::move(tables);
  }
  ~TablesBed() { cudaStreamSynchronize(stream_.get()); }

  std::unique_ptr<KvSequence> NewSequence(KvTarget target, int64_t code_pages, int64_t pages) {
    return KvSequence::Create(Geometry(target), code_pages, pages * kPageTokens, {&pool_});
  }

  void Update(const std::vector<const KvSequence*>& sequences) {
    tables_->Update(sequences, stream_.get());
    REQUIRE(cudaStreamSynchronize(stream_.get()) == cudaSuccess);
  }

  // Pages and sinks whose entries differ.
  int64_t Wrong(const KvSequence& sequence) const {
    const PageTables::Table table = tables_->Of(sequence);
    const auto pages = static_cast<size_t>(sequence.pages());
    int64_t wrong = 0;
    for (int layer = 0; layer < kLayers; ++layer) {
      for (KvView view : {KvView::kDraft, KvView::kTarget}) {
        const std::vector<PageRef> got = Read(table.Of(view) + layer * table.layer_stride, pages);
        const std::span<const KvPageRef> want = sequence.Pages(layer, view);
        for (size_t page = 0; page < pages; ++page) {
          wrong += got[page].data != want[page].data || got[page].residual != want[page].residual ||
                   got[page].kind != KindOf(want[page].kind);
        }
      }
      wrong += Read(table.sinks + layer, 1)[0] != sequence.Sinks(layer);
    }
    return wrong;
  }

  PageTables& tables() { return *tables_; }

 private:
  KvPool pool_{size_t{1} << 30};
  UniqueStream stream_;
  std::unique_ptr<PageTables> tables_;
};

}  // namespace

TEST_CASE("a table follows pages that become BF16") {
  TablesBed bed(kLayers * 40);
  const auto restored = bed.NewSequence(KvTarget::kBf16, 9, 11);
  const auto raw = bed.NewSequence(KvTarget::kInt8, 5, 7);
  bed.Update({restored.get(), raw.get()});
  CHECK(bed.Wrong(*restored) == 0);
  CHECK(bed.Wrong(*raw) == 0);
  for (int layer = 0; layer < kLayers; ++layer) {
    for (int64_t page = 0; page < 9; page += 1 + layer) restored->MarkRestored(layer, page);
    if (layer != 1) REQUIRE(raw->MakeRaw(layer, 2 * layer));
    CHECK(bed.Wrong(*restored) > 0);
    bed.Update({raw.get(), restored.get(), restored.get()});
    CHECK(bed.Wrong(*restored) == 0);
    CHECK(bed.Wrong(*raw) == 0);
  }
  // Changes wait for the next pass that has the sequence.
  REQUIRE(raw->MakeRaw(1, 4));
  bed.Update({restored.get()});
  bed.Update({raw.get()});
  CHECK(bed.Wrong(*raw) == 0);
}

TEST_CASE("a sequence where an ended one was has a table of its own") {
  TablesBed bed(kLayers * 10);
  std::set<const KvSequence*> places;
  for (int i = 0; i < 50; ++i) {
    const auto kv = bed.NewSequence(i % 2 == 0 ? KvTarget::kInt8 : KvTarget::kBf16, 2, 3 + i % 3);
    places.insert(kv.get());
    bed.Update({kv.get()});
    CHECK(bed.Wrong(*kv) == 0);
    CHECK(bed.tables().held() == 1);
  }
  CHECK(places.size() < 50);  // else this tests nothing
}

TEST_CASE("tables fit whatever order sequences come and go in") {
  constexpr int64_t kPages = 64;  // of a layer, all sequences together
  TablesBed bed(kLayers * kPages);
  std::mt19937 rng(11);
  std::vector<std::unique_ptr<KvSequence>> live;
  int64_t used = 0, fullest = 0;
  for (int step = 0; step < 300; ++step) {
    const int64_t pages = 1 + static_cast<int64_t>(rng() % 24);
    while (used + pages > kPages) {
      const size_t victim = rng() % live.size();
      used -= live[victim]->pages();
      live.erase(live.begin() + static_cast<int64_t>(victim));
    }
    live.push_back(bed.NewSequence(KvTarget::kInt8, pages / 2, pages));
    used += pages;
    fullest = std::max(fullest, used);
    std::vector<const KvSequence*> pass = {live.back().get()};
    for (const auto& kv : live) {
      if (rng() % 2 == 0) pass.push_back(kv.get());
    }
    bed.Update(pass);
    for (const KvSequence* kv : pass) REQUIRE(bed.Wrong(*kv) == 0);
  }
  CHECK(fullest == kPages);
}

}  // namespace lynx::cuda
