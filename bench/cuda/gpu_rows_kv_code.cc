// The KV code, the Tail and packed tokens, a batch of one layer's pages at once.
#include "bench/cuda/gpu_pages.h"
#include "kernels/cuda/checksum.h"
#include "kernels/cuda/kv_pack.h"
#include "kernels/cuda/kv_tail.h"

namespace lynx::bench {
namespace {

using cuda::DeviceBuffer;
using cuda::ToStatus;

// Operations a value of the scalar specification, a division counting one: a number's code, and the
// ends of its interval with two checks each.
constexpr double kQuantizeOperations = 4;
constexpr double kIntervalOperations = 2 * (2 * kQuantizeOperations + 2);

double Values(const GpuPages& pages) {
  return static_cast<double>(pages.count()) * pages.PageBytes(KvPageKind::kBf16) / 2;
}
double CodeBytes(const GpuPages& pages) {
  return static_cast<double>(pages.count()) * pages.PageBytes(KvPageKind::kFull);
}
std::string ShapeOf(const GpuPages& pages) {
  return absl::StrCat("K", pages.split().k_bits, "V", pages.split().v_bits,
                      " pages=", pages.count());
}

absl::Status AddSplit(GpuBench& bench, const GpuPages& pages) {
  return bench.Add(
      "kv_split", ShapeOf(pages), 2 * Values(pages) + CodeBytes(pages),
      Values(pages) * kQuantizeOperations,
      [&] { return ToStatus(cuda::SplitPages(pages.split_params(), bench.stream()), "kv_split"); });
}

// Tails of all pages, each with room for the largest.
class Tails {
 public:
  static absl::StatusOr<Tails> Create(const GpuPages& pages, cudaStream_t stream) {
    Tails tails;
    const auto count = static_cast<size_t>(pages.count());
    tails.room_ = Bf16PageBytes(pages.shape());
    ASSIGN_OR_RETURN(tails.memory_, DeviceBuffer<std::byte>::Create(count * tails.room_));
    ASSIGN_OR_RETURN(tails.restored_, DeviceBuffer<std::byte>::Create(count * tails.room_));
    ASSIGN_OR_RETURN(tails.bytes_, DeviceBuffer<uint32_t>::Create(count));
    ASSIGN_OR_RETURN(tails.bad_, DeviceBuffer<int32_t>::Create(count));
    std::vector<cuda::TailEncodeJob> jobs;
    for (int64_t page = 0; page < pages.count(); ++page) {
      jobs.push_back({.page = pages.bf16_page(page),
                      .anchor = pages.anchor(page),
                      .tail = tails.tail(page),
                      .first_token = page == 0 ? kSinkTokens : 0});
    }
    ASSIGN_OR_RETURN(tails.encode_jobs_, OnDevice(jobs, stream));
    return tails;
  }
  absl::Status Encode(const GpuPages& pages, cudaStream_t stream) const {
    return ToStatus(cuda::TailEncode({.shape = pages.shape(),
                                      .split = pages.split(),
                                      .jobs = encode_jobs_.data(),
                                      .count = pages.count(),
                                      .bytes = bytes_.data()},
                                     stream),
                    "kv_tail_encode");
  }
  // After Encode: the jobs of Decode. Returns the bytes of all Tails.
  absl::StatusOr<double> PrepareDecode(const GpuPages& pages, cudaStream_t stream) {
    std::vector<uint32_t> sizes(bytes_.size());
    RETURN_IF_ERROR(ToStatus(cudaMemcpyAsync(sizes.data(), bytes_.data(), bytes_.bytes(),
                                             cudaMemcpyDeviceToHost, stream),
                             "a copy to the host"));
    RETURN_IF_ERROR(ToStatus(cudaStreamSynchronize(stream), "kv_tail_encode"));
    double total = 0;
    std::vector<cuda::TailDecodeJob> jobs;
    for (int64_t page = 0; page < pages.count(); ++page) {
      const uint32_t bytes = sizes[static_cast<size_t>(page)];
      total += bytes;
      jobs.push_back({.anchor = pages.anchor(page),
                      .residual = pages.residual(page),
                      .tail = tail(page),
                      .page = restored_.data() + static_cast<size_t>(page) * room_,
                      .tail_bytes = bytes,
                      .first_token = page == 0 ? kSinkTokens : 0});
    }
    ASSIGN_OR_RETURN(decode_jobs_, OnDevice(jobs, stream));
    return total;
  }
  absl::Status Decode(const GpuPages& pages, cudaStream_t stream) const {
    return ToStatus(cuda::TailDecode({.shape = pages.shape(),
                                      .split = pages.split(),
                                      .jobs = decode_jobs_.data(),
                                      .count = pages.count(),
                                      .bad = bad_.data()},
                                     stream),
                    "kv_tail_decode");
  }

 private:
  std::byte* tail(int64_t page) const { return memory_.data() + static_cast<size_t>(page) * room_; }
  size_t room_ = 0;
  DeviceBuffer<std::byte> memory_, restored_;
  DeviceBuffer<uint32_t> bytes_;
  DeviceBuffer<int32_t> bad_;
  DeviceBuffer<cuda::TailEncodeJob> encode_jobs_;
  DeviceBuffer<cuda::TailDecodeJob> decode_jobs_;
};

absl::Status AddTails(GpuBench& bench, const GpuPages& pages) {
  if (!bench.Wants("kv_tail_encode") && !bench.Wants("kv_tail_decode")) return absl::OkStatus();
  ASSIGN_OR_RETURN(Tails tails, Tails::Create(pages, bench.stream()));
  RETURN_IF_ERROR(tails.Encode(pages, bench.stream()));
  ASSIGN_OR_RETURN(const double tail_bytes, tails.PrepareDecode(pages, bench.stream()));
  const double page_bytes = 2 * Values(pages);
  RETURN_IF_ERROR(bench.Add("kv_tail_encode", ShapeOf(pages), page_bytes + tail_bytes,
                            Values(pages) * (kQuantizeOperations + kIntervalOperations),
                            [&] { return tails.Encode(pages, bench.stream()); }));
  return bench.Add("kv_tail_decode", ShapeOf(pages), page_bytes + CodeBytes(pages) + tail_bytes,
                   Values(pages) * kIntervalOperations,
                   [&] { return tails.Decode(pages, bench.stream()); });
}

// All 64 tokens of every page.
absl::Status AddPacks(GpuBench& bench, const GpuPages& pages) {
  if (!bench.Wants("kv_pack") && !bench.Wants("kv_unpack")) return absl::OkStatus();
  const size_t room = PackedTokenBytes(pages.shape()) * kPageTokens;
  ASSIGN_OR_RETURN(const auto packed,
                   DeviceBuffer<std::byte>::Create(static_cast<size_t>(pages.count()) * room));
  std::vector<cuda::PackJob> jobs;
  for (int64_t page = 0; page < pages.count(); ++page) {
    jobs.push_back({.page = pages.bf16_page(page),
                    .packed = packed.data() + static_cast<size_t>(page) * room,
                    .begin = 0,
                    .end = kPageTokens});
  }
  ASSIGN_OR_RETURN(const auto device_jobs, OnDevice(jobs, bench.stream()));
  const cuda::PackParams params = {
      .shape = pages.shape(), .jobs = device_jobs.data(), .count = pages.count()};
  const double bytes = 4 * Values(pages);
  RETURN_IF_ERROR(bench.Add("kv_pack", ShapeOf(pages), bytes, 0, [&] {
    return ToStatus(cuda::PackTokens(params, bench.stream()), "kv_pack");
  }));
  return bench.Add("kv_unpack", ShapeOf(pages), bytes, 0, [&] {
    return ToStatus(cuda::UnpackTokens(params, bench.stream()), "kv_unpack");
  });
}

// Of pages that lie together, as a frame's payload.
absl::Status AddChecksums(GpuBench& bench, const GpuPages& pages) {
  if (!bench.Wants("checksum")) return absl::OkStatus();
  ASSIGN_OR_RETURN(const auto sum, cuda::DeviceBuffer<uint64_t>::Create(1));
  const auto bytes = static_cast<uint64_t>(2 * Values(pages));
  ASSIGN_OR_RETURN(const auto payload, cuda::DeviceBuffer<std::byte>::Create(bytes));
  RETURN_IF_ERROR(
      cuda::ToStatus(cudaMemsetAsync(sum.data(), 0, sum.bytes(), bench.stream()), "a memset"));
  RETURN_IF_ERROR(cuda::ToStatus(
      cudaMemsetAsync(payload.data(), 0x5a, payload.bytes(), bench.stream()), "a memset"));
  cuda::ChecksumParams params{.count = 1, .sum = sum.data()};
  params.pieces[0] = {payload.data(), bytes};
  // Of 8 bytes: two products of 64 bits, and a dozen of smaller operations.
  constexpr double kOperationsOfByte = 2;
  return bench.Add("checksum", ShapeOf(pages), static_cast<double>(bytes),
                   static_cast<double>(bytes) * kOperationsOfByte,
                   [&] { return ToStatus(cuda::AddChecksum(params, bench.stream()), "checksum"); });
}

}  // namespace

absl::Status AddKvCodeRows(GpuBench& bench) {
  bool wanted = false;
  for (const char* kernel :
       {"kv_split", "kv_tail_encode", "kv_tail_decode", "kv_pack", "kv_unpack", "checksum"}) {
    wanted |= bench.Wants(kernel);
  }
  if (!wanted) return absl::OkStatus();
  const KvShape shape = bench.tiny() ? KvShape{1, 64} : KvShape{8, 128};
  const std::vector<int64_t> counts =
      bench.tiny() ? std::vector<int64_t>{2} : std::vector<int64_t>{8, 64, 1024};
  for (const int64_t count : counts) {
    ASSIGN_OR_RETURN(const GpuPages pages,
                     GpuPages::Create(shape, {}, count, /*code=*/true, bench.stream()));
    RETURN_IF_ERROR(AddSplit(bench, pages));
    RETURN_IF_ERROR(AddTails(bench, pages));
    RETURN_IF_ERROR(AddPacks(bench, pages));
    RETURN_IF_ERROR(AddChecksums(bench, pages));
  }
  return absl::OkStatus();
}

}  // namespace lynx::bench
