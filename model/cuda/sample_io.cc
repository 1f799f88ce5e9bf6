#include "model/cuda/sample_io.h"

namespace lynx::cuda {
namespace {

constexpr size_t kRowBytes = sizeof(int32_t) + sizeof(SampleRow) + sizeof(LogprobRow);
constexpr size_t kResultBytes = 2 * sizeof(double) + 2 * sizeof(int32_t) + sizeof(uint8_t);

absl::Status Allocate(size_t bytes, PinnedBuffer<std::byte>* host,
                      DeviceBuffer<std::byte>* device) {
  ASSIGN_OR_RETURN(*host, PinnedBuffer<std::byte>::Create(bytes));
  ASSIGN_OR_RETURN(*device, DeviceBuffer<std::byte>::Create(bytes));
  return absl::OkStatus();
}

}  // namespace

size_t SampleInputs::BytesNeeded(int64_t rows_max, size_t list_bytes) {
  return static_cast<size_t>(rows_max) * kRowBytes + 4 * kListAlign + list_bytes;
}

absl::StatusOr<SampleInputs> SampleInputs::Create(int64_t rows_max, size_t list_bytes) {
  SampleInputs inputs;
  RETURN_IF_ERROR(Allocate(BytesNeeded(rows_max, list_bytes), &inputs.host_, &inputs.device_));
  return inputs;
}

void SampleInputs::Begin(int64_t rows) {
  rows_ = 0;
  rows_end_ = rows;
  requests_begin_ = ListBytes<int32_t>(rows);
  logprobs_begin_ = requests_begin_ + ListBytes<SampleRow>(rows);
  lists_end_ = logprobs_begin_ + ListBytes<LogprobRow>(rows);
  LYNX_CHECK(lists_end_ <= host_.size());
}

void SampleInputs::AddRow(int32_t row, const SampleRow& request, const LogprobRow& logprobs) {
  LYNX_CHECK(HasRoomForRow());
  Host<int32_t>(0)[rows_] = row;
  Host<SampleRow>(requests_begin_)[rows_] = request;
  Host<LogprobRow>(logprobs_begin_)[rows_] = logprobs;
  ++rows_;
}

void SampleInputs::QueueCopy(cudaStream_t stream) const {
  Must(cudaMemcpyAsync(device_.data(), host_.data(), lists_end_, cudaMemcpyHostToDevice, stream),
       "cannot copy sampling's inputs to the device");
}

size_t SampleOutputs::BytesNeeded(int64_t rows_max, int64_t top_max) {
  return static_cast<size_t>(rows_max) * kResultBytes +
         static_cast<size_t>(top_max) * sizeof(TopLogprobEntry);
}

absl::StatusOr<SampleOutputs> SampleOutputs::Create(int64_t rows_max, int64_t top_max) {
  SampleOutputs outputs;
  RETURN_IF_ERROR(Allocate(BytesNeeded(rows_max, top_max), &outputs.host_, &outputs.device_));
  return outputs;
}

void SampleOutputs::Begin(int64_t rows, int64_t top) {
  rows_ = rows;
  top_ = top;
  LYNX_CHECK(BytesNeeded(rows, top) <= host_.size());
}

SampleOutputs::Arrays SampleOutputs::At(std::byte* base) const {
  Arrays arrays;
  // In descending order of alignment: no gaps.
  arrays.margins = reinterpret_cast<double*>(base);
  arrays.logprobs = arrays.margins + rows_;
  arrays.top = reinterpret_cast<TopLogprobEntry*>(arrays.logprobs + rows_);
  arrays.ids = reinterpret_cast<int32_t*>(arrays.top + top_);
  arrays.top_counts = arrays.ids + rows_;
  arrays.invalid = reinterpret_cast<uint8_t*>(arrays.top_counts + rows_);
  return arrays;
}

void SampleOutputs::QueueCopy(cudaStream_t stream) const {
  Must(cudaMemcpyAsync(host_.data(), device_.data(), BytesNeeded(rows_, top_),
                       cudaMemcpyDeviceToHost, stream),
       "cannot copy sampling's results to the host");
}

}  // namespace lynx::cuda
