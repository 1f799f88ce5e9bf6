#include "model/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "model/quoted.h"

namespace lynx {

namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr int kMaxArrayDepth = 4;
constexpr uint64_t kMaxDimensions = 4;
constexpr uint64_t kMaxAlignment = uint64_t{1} << 30;
// The smallest entries: what a count may claim is bounded by what could be there.
constexpr uint64_t kMinMetadataBytes = 8 + 4 + 1;
constexpr uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;

// Bytes of one element in the file; for strings and arrays the smallest possible.
absl::StatusOr<uint64_t> MinElementBytes(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
    case GgufValueType::kInt8:
    case GgufValueType::kBool:
      return 1;
    case GgufValueType::kUint16:
    case GgufValueType::kInt16:
      return 2;
    case GgufValueType::kUint32:
    case GgufValueType::kInt32:
    case GgufValueType::kFloat32:
      return 4;
    case GgufValueType::kString:
    case GgufValueType::kUint64:
    case GgufValueType::kInt64:
    case GgufValueType::kFloat64:
      return 8;
    case GgufValueType::kArray:
      return 4 + 8;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("value type ", static_cast<uint32_t>(type), " is unknown"));
}

absl::Status CheckBool(std::byte value) {
  if (value <= std::byte{1}) return absl::OkStatus();
  return absl::InvalidArgumentError("a boolean is neither 0 nor 1");
}

absl::StatusOr<bool> ReadBool(ByteReader& reader) {
  ASSIGN_OR_RETURN(std::byte value, reader.Read<std::byte>());
  RETURN_IF_ERROR(CheckBool(value));
  return value == std::byte{1};
}

template <typename T, typename Wide>
absl::StatusOr<GgufValue> ReadNumber(ByteReader& reader) {
  ASSIGN_OR_RETURN(T value, reader.Read<T>());
  return GgufValue(static_cast<Wide>(value));
}

}  // namespace

absl::StatusOr<GgufFile> GgufParser::Parse() {
  RETURN_IF_ERROR(ParseHeader());
  RETURN_IF_ERROR(ParseMetadata());
  RETURN_IF_ERROR(ParseAlignment());
  RETURN_IF_ERROR(ParseTensors());
  RETURN_IF_ERROR(CheckOverlaps());
  return std::move(file_);
}

absl::Status GgufParser::ParseHeader() {
  ASSIGN_OR_RETURN(uint32_t magic, reader_.Read<uint32_t>());
  if (magic != kMagic) return absl::InvalidArgumentError("not a GGUF file");
  ASSIGN_OR_RETURN(file_.version_, reader_.Read<uint32_t>());
  if (file_.version_ != 2 && file_.version_ != 3) {
    bool swapped = (file_.version_ & 0xffff) == 0 && file_.version_ != 0;
    return absl::UnimplementedError(
        swapped ? std::string("big-endian GGUF files are not supported")
                : absl::StrCat("GGUF version ", file_.version_, " is not supported (2 and 3 are)"));
  }
  ASSIGN_OR_RETURN(tensor_count_, reader_.Read<uint64_t>());
  ASSIGN_OR_RETURN(metadata_count_, reader_.Read<uint64_t>());
  if (metadata_count_ > reader_.remaining() / kMinMetadataBytes ||
      tensor_count_ > reader_.remaining() / kMinTensorBytes) {
    return absl::DataLossError(absl::StrCat("the header counts ", metadata_count_,
                                            " metadata entries and ", tensor_count_,
                                            " tensors, more than the file can hold"));
  }
  return absl::OkStatus();
}

absl::Status GgufParser::ParseMetadata() {
  for (uint64_t i = 0; i < metadata_count_; ++i) {
    auto key = reader_.ReadString();
    if (!key.ok()) return Annotate(key.status(), absl::StrCat("metadata entry ", i));
    auto value = [&]() -> absl::StatusOr<GgufValue> {
      ASSIGN_OR_RETURN(uint32_t type, reader_.Read<uint32_t>());
      return ReadValue(static_cast<GgufValueType>(type));
    }();
    if (!value.ok()) return Annotate(value.status(), "metadata " + Quoted(*key));
    if (!file_.metadata_.emplace(*key, *std::move(value)).second)
      return absl::InvalidArgumentError("metadata " + Quoted(*key) + " is there twice");
  }
  return absl::OkStatus();
}

absl::StatusOr<GgufValue> GgufParser::ReadValue(GgufValueType type) {
  switch (type) {
    case GgufValueType::kUint8:
      return ReadNumber<uint8_t, uint64_t>(reader_);
    case GgufValueType::kInt8:
      return ReadNumber<int8_t, int64_t>(reader_);
    case GgufValueType::kUint16:
      return ReadNumber<uint16_t, uint64_t>(reader_);
    case GgufValueType::kInt16:
      return ReadNumber<int16_t, int64_t>(reader_);
    case GgufValueType::kUint32:
      return ReadNumber<uint32_t, uint64_t>(reader_);
    case GgufValueType::kInt32:
      return ReadNumber<int32_t, int64_t>(reader_);
    case GgufValueType::kUint64:
      return ReadNumber<uint64_t, uint64_t>(reader_);
    case GgufValueType::kInt64:
      return ReadNumber<int64_t, int64_t>(reader_);
    case GgufValueType::kFloat32:
      return ReadNumber<float, double>(reader_);
    case GgufValueType::kFloat64:
      return ReadNumber<double, double>(reader_);
    case GgufValueType::kBool: {
      ASSIGN_OR_RETURN(bool value, ReadBool(reader_));
      return GgufValue(value);
    }
    case GgufValueType::kString: {
      ASSIGN_OR_RETURN(std::string_view value, reader_.ReadString());
      return GgufValue(value);
    }
    case GgufValueType::kArray: {
      ASSIGN_OR_RETURN(GgufArray value, ReadArray(1));
      return GgufValue(std::move(value));
    }
  }
  return MinElementBytes(type).status();
}

absl::StatusOr<GgufArray> GgufParser::ReadArray(int depth) {
  if (depth > kMaxArrayDepth) return absl::InvalidArgumentError("arrays are nested too deeply");
  GgufArray array;
  ASSIGN_OR_RETURN(uint32_t type, reader_.Read<uint32_t>());
  array.element_type_ = static_cast<GgufValueType>(type);
  ASSIGN_OR_RETURN(array.size_, reader_.Read<uint64_t>());
  ASSIGN_OR_RETURN(uint64_t element_bytes, MinElementBytes(array.element_type_));
  if (array.size_ > reader_.remaining() / element_bytes) {
    return absl::DataLossError(
        absl::StrCat("an array of ", array.size_, " elements goes beyond the file's end"));
  }
  if (array.element_type_ == GgufValueType::kString) {
    array.strings_.reserve(array.size_);
    for (uint64_t i = 0; i < array.size_; ++i) {
      ASSIGN_OR_RETURN(std::string_view value, reader_.ReadString());
      array.strings_.push_back(value);
    }
  } else if (array.element_type_ == GgufValueType::kArray) {
    for (uint64_t i = 0; i < array.size_; ++i) {
      ASSIGN_OR_RETURN(GgufArray inner, ReadArray(depth + 1));
      array.arrays_.push_back(std::move(inner));
    }
  } else {
    ASSIGN_OR_RETURN(array.raw_, reader_.ReadBytes(array.size_ * element_bytes));
    if (array.element_type_ == GgufValueType::kBool) {
      for (std::byte value : array.raw_) RETURN_IF_ERROR(CheckBool(value));
    }
  }
  return array;
}

absl::Status GgufParser::ParseAlignment() {
  constexpr std::string_view kKey = "general.alignment";
  if (!file_.Has(kKey)) return absl::OkStatus();
  ASSIGN_OR_RETURN(int64_t value, file_.Int(kKey));
  if (value <= 0 || static_cast<uint64_t>(value) > kMaxAlignment ||
      !std::has_single_bit(static_cast<uint64_t>(value))) {
    return absl::InvalidArgumentError(
        absl::StrCat("general.alignment is ", value, ", not a power of two up to ", kMaxAlignment));
  }
  alignment_ = static_cast<uint64_t>(value);
  return absl::OkStatus();
}

absl::Status GgufParser::ParseTensors() {
  std::vector<uint64_t> offsets(tensor_count_);
  std::vector<uint64_t> sizes(tensor_count_);
  file_.tensors_.reserve(tensor_count_);
  for (uint64_t i = 0; i < tensor_count_; ++i) {
    auto name = reader_.ReadString();
    if (!name.ok()) return Annotate(name.status(), absl::StrCat("tensor ", i));
    auto tensor = ReadTensor(&offsets[i], &sizes[i]);
    if (!tensor.ok()) return Annotate(tensor.status(), "tensor " + Quoted(*name));
    tensor->name = *name;
    if (!file_.tensor_index_.emplace(*name, i).second)
      return absl::InvalidArgumentError("tensor " + Quoted(*name) + " is there twice");
    file_.tensors_.push_back(*std::move(tensor));
  }
  return PlaceTensors(offsets, sizes);
}

absl::StatusOr<ModelTensor> GgufParser::ReadTensor(uint64_t* offset, uint64_t* size_bytes) {
  ModelTensor tensor;
  uint64_t values = 0;
  ASSIGN_OR_RETURN(tensor.shape, ReadShape(&values));
  ASSIGN_OR_RETURN(uint32_t type, reader_.Read<uint32_t>());
  tensor.type = static_cast<GgmlType>(type);
  ASSIGN_OR_RETURN(*offset, reader_.Read<uint64_t>());
  const GgmlTypeInfo* info = FindGgmlType(tensor.type);
  if (info == nullptr)
    return absl::UnimplementedError(absl::StrCat("type ", type, " is not supported"));
  if (tensor.shape.back() % info->block_values != 0) {
    return absl::InvalidArgumentError(absl::StrCat("a row of ", tensor.shape.back(),
                                                   " values is no whole number of blocks of ",
                                                   info->block_values));
  }
  if (*offset % alignment_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("offset ", *offset, " is not aligned to ", alignment_, " bytes"));
  }
  // No overflow: `values` is below 2^63 and no type has more than 8 bytes a value.
  uint64_t blocks = values / info->block_values;
  if (blocks > bytes_.size() / info->block_bytes)
    return absl::DataLossError(absl::StrCat(values, " values are more than the file can hold"));
  *size_bytes = blocks * info->block_bytes;
  return tensor;
}

// Extents outermost first; their product is below 2^63.
absl::StatusOr<std::vector<int64_t>> GgufParser::ReadShape(uint64_t* values) {
  ASSIGN_OR_RETURN(uint32_t dimensions, reader_.Read<uint32_t>());
  if (dimensions == 0 || dimensions > kMaxDimensions) {
    return absl::InvalidArgumentError(
        absl::StrCat(dimensions, " dimensions, not 1 to ", kMaxDimensions));
  }
  std::vector<int64_t> shape(dimensions);
  int64_t product = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    ASSIGN_OR_RETURN(int64_t extent, reader_.Read<int64_t>());
    if (extent <= 0 || __builtin_mul_overflow(product, extent, &product))
      return absl::InvalidArgumentError("an extent is zero or too large");
    shape[dimensions - 1 - i] = extent;
  }
  *values = static_cast<uint64_t>(product);
  return shape;
}

absl::Status GgufParser::PlaceTensors(std::span<const uint64_t> offsets,
                                      std::span<const uint64_t> sizes) {
  if (offsets.empty()) return absl::OkStatus();
  uint64_t begin = (reader_.position() + alignment_ - 1) / alignment_ * alignment_;
  uint64_t available = begin <= bytes_.size() ? bytes_.size() - begin : 0;
  for (size_t i = 0; i < offsets.size(); ++i) {
    ModelTensor& tensor = file_.tensors_[i];
    if (offsets[i] > available || sizes[i] > available - offsets[i]) {
      return absl::DataLossError(absl::StrCat("tensor ", Quoted(tensor.name), ": ", sizes[i],
                                              " bytes at offset ", offsets[i],
                                              " go beyond the file's end"));
    }
    tensor.data = bytes_.subspan(begin + offsets[i], sizes[i]);
  }
  return absl::OkStatus();
}

absl::Status GgufParser::CheckOverlaps() const {
  std::vector<const ModelTensor*> order;
  for (const ModelTensor& tensor : file_.tensors_) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const ModelTensor* a, const ModelTensor* b) {
    return a->data.data() < b->data.data();
  });
  for (size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->data.data() + order[i - 1]->data.size() > order[i]->data.data()) {
      return absl::InvalidArgumentError(absl::StrCat("tensors ", Quoted(order[i - 1]->name),
                                                     " and ", Quoted(order[i]->name), " overlap"));
    }
  }
  return absl::OkStatus();
}

}  // namespace lynx
