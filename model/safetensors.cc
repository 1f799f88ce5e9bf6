#include "model/safetensors.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "model/byte_reader.h"
#include "model/json_file.h"
#include "model/quoted.h"

namespace lynx {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxDimensions = 8;

absl::StatusOr<GgmlType> ReadType(const JsonFields& fields) {
  ASSIGN_OR_RETURN(std::string dtype, fields.String("dtype"));
  if (dtype == "F32") return GgmlType::kF32;
  if (dtype == "F16") return GgmlType::kF16;
  if (dtype == "BF16") return GgmlType::kBF16;
  return absl::UnimplementedError(
      absl::StrCat("dtype ", Quoted(dtype), " is not supported (F32, F16 and BF16 are)"));
}

absl::StatusOr<std::vector<int64_t>> ReadIntegers(const JsonFields& fields, const char* key) {
  const json* array = fields.Find(key);
  if (array == nullptr || !array->is_array() || array->size() > kMaxDimensions)
    return absl::InvalidArgumentError(absl::StrCat("'", key, "' is no short array"));
  std::vector<int64_t> out;
  for (const json& element : *array) {
    ASSIGN_OR_RETURN(int64_t value, JsonInt(element));
    if (value < 0) return absl::InvalidArgumentError(absl::StrCat("'", key, "' is negative"));
    out.push_back(value);
  }
  return out;
}

absl::StatusOr<ModelTensor> ReadTensor(const json& entry, std::span<const std::byte> data) {
  if (!entry.is_object()) return absl::InvalidArgumentError("not a JSON object");
  JsonFields fields(entry);
  ModelTensor tensor;
  ASSIGN_OR_RETURN(tensor.type, ReadType(fields));
  ASSIGN_OR_RETURN(tensor.shape, ReadIntegers(fields, "shape"));
  ASSIGN_OR_RETURN(std::vector<int64_t> range, ReadIntegers(fields, "data_offsets"));
  if (range.size() != 2 || range[0] > range[1])
    return absl::InvalidArgumentError("'data_offsets' is no range");
  if (static_cast<uint64_t>(range[1]) > data.size()) {
    return absl::DataLossError(absl::StrCat("data_offsets ", ShapeString(range),
                                            " go beyond the file's ", data.size(),
                                            " bytes of data"));
  }
  int64_t bytes = FindGgmlType(tensor.type)->block_bytes;
  for (int64_t extent : tensor.shape) {
    if (__builtin_mul_overflow(bytes, extent, &bytes))
      return absl::InvalidArgumentError("the shape is too large");
  }
  if (bytes != range[1] - range[0]) {
    return absl::InvalidArgumentError(
        absl::StrCat("shape ", ShapeString(tensor.shape), " needs ", bytes, " bytes, data_offsets ",
                     ShapeString(range), " hold ", range[1] - range[0]));
  }
  if (tensor.shape.empty()) tensor.shape.push_back(1);  // a scalar
  tensor.data = data.subspan(static_cast<size_t>(range[0]), static_cast<size_t>(bytes));
  return tensor;
}

absl::Status CheckOverlaps(const SafetensorsMap& tensors) {
  std::vector<const ModelTensor*> order;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.data.empty()) order.push_back(&tensor);
  }
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

// Tensor names to file names, as the index has them.
absl::StatusOr<std::map<std::string, std::string>> ReadIndex(const std::string& path) {
  ASSIGN_OR_RETURN(json index, ReadJsonFile(path, kMaxSafetensorsHeaderBytes));
  const json* weights = JsonFields(index).Find("weight_map");
  if (weights == nullptr || !weights->is_object())
    return absl::InvalidArgumentError(absl::StrCat(path, ": 'weight_map' is no object"));
  std::map<std::string, std::string> out;
  for (const auto& [name, file] : weights->items()) {
    // Only files of the folder itself: an index is no way to read others.
    if (!file.is_string() ||
        fs::path(file.get_ref<const std::string&>()).filename() != file.get<std::string>() ||
        !file.get_ref<const std::string&>().ends_with(".safetensors")) {
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": tensor ", Quoted(name), " is in no '*.safetensors' file of this folder"));
    }
    out.emplace(name, file.get<std::string>());
  }
  return out;
}

}  // namespace

absl::StatusOr<SafetensorsMap> ParseSafetensors(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  ASSIGN_OR_RETURN(uint64_t header_bytes, reader.Read<uint64_t>());
  if (header_bytes > kMaxSafetensorsHeaderBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a safetensors file: its header would have ", header_bytes, " bytes"));
  }
  ASSIGN_OR_RETURN(std::span<const std::byte> text, reader.ReadBytes(header_bytes));
  ASSIGN_OR_RETURN(std::span<const std::byte> data, reader.ReadBytes(reader.remaining()));
  auto header = ParseJsonObject({reinterpret_cast<const char*>(text.data()), text.size()});
  if (!header.ok()) return Annotate(header.status(), "header");
  SafetensorsMap tensors;
  for (const auto& [name, entry] : header->items()) {
    if (name == "__metadata__") continue;
    auto tensor = ReadTensor(entry, data);
    if (!tensor.ok()) return Annotate(tensor.status(), "tensor " + Quoted(name));
    auto it = tensors.emplace(name, *std::move(tensor)).first;
    it->second.name = it->first;
  }
  RETURN_IF_ERROR(CheckOverlaps(tensors));
  return tensors;
}

absl::StatusOr<SafetensorsFolder> SafetensorsFolder::Open(const std::string& folder) {
  SafetensorsFolder out;
  const std::string index_path = (fs::path(folder) / "model.safetensors.index.json").string();
  const std::string single_path = (fs::path(folder) / "model.safetensors").string();
  std::error_code error;
  if (!fs::exists(index_path, error)) {
    RETURN_IF_ERROR(out.AddShard(single_path));
    return out;
  }
  ASSIGN_OR_RETURN(auto index, ReadIndex(index_path));
  std::map<std::string, size_t> shards;  // and how many tensors the index puts into each
  for (const auto& [name, file] : index) ++shards[file];
  for (const auto& [shard, count] : shards) {
    const std::string path = (fs::path(folder) / shard).string();
    const size_t before = out.tensors_.size();
    RETURN_IF_ERROR(out.AddShard(path));
    for (const auto& [name, file] : index) {
      if (file == shard && !out.tensors_.contains(name)) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": tensor ", Quoted(name), " is not there, but in the index"));
      }
    }
    if (out.tensors_.size() - before != count) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": holds tensors that the index does not put there"));
    }
  }
  return out;
}

absl::Status SafetensorsFolder::AddShard(const std::string& path) {
  ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  auto tensors = ParseSafetensors(file.bytes());
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  files_.push_back(std::move(file));
  tensors_.merge(*tensors);  // moves nodes: names stay where they are
  if (tensors->empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path, ": tensor ", Quoted(tensors->begin()->first),
                                                 " is in another shard, too"));
}

}  // namespace lynx
