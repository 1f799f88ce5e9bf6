#include "model/safetensors.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/model/gguf_builder.h"
#include "tests/model/temp_folder.h"

namespace lynx {
namespace {

const std::string kLlama = LYNX_TEST_DATA "/models/tiny-llama";

std::string File(const std::string& header, size_t data_bytes) {
  return GgufBuilder::Text(header) + std::string(data_bytes, 'x');
}

std::string Tensor(const char* dtype, const char* shape, const char* offsets) {
  return absl::StrCat(R"({"t":{"dtype":")", dtype, R"(","shape":)", shape, R"(,"data_offsets":)",
                      offsets, "}}");
}

void CheckError(const std::string& bytes, const char* wanted) {
  auto tensors = ParseSafetensors(AsBytes(bytes));
  REQUIRE_FALSE(tensors.ok());
  CHECK_THAT(std::string(tensors.status().message()), Catch::Contains(wanted));
}

TEST_CASE("safetensors: what is there is found") {
  const std::string bytes = File(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
      R"("f":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
      R"("h":{"dtype":"F16","shape":[0],"data_offsets":[16,16]}})",
      16);
  auto tensors = ParseSafetensors(AsBytes(bytes));
  REQUIRE(tensors.ok());
  REQUIRE(tensors->size() == 3);
  const ModelTensor& b = tensors->at("b");
  CHECK(b.name == "b");
  CHECK(b.type == GgmlType::kBF16);
  CHECK(b.shape == std::vector<int64_t>{2, 3});
  CHECK(b.data.data() == AsBytes(bytes).data() + bytes.size() - 12);
  CHECK(tensors->at("f").shape == std::vector<int64_t>{1});
  CHECK(tensors->at("h").data.empty());
}

TEST_CASE("safetensors: what is refused") {
  CheckError("", "ends too early");
  CheckError(GgufBuilder::Raw(std::numeric_limits<uint64_t>::max()), "not a safetensors file");
  CheckError(GgufBuilder::Raw(uint64_t{10}) + "{}", "ends too early");
  CheckError(File("{", 0), "malformed JSON");
  CheckError(File("[]", 0), "not a JSON object");
  CheckError(File(std::string(100000, '[') + std::string(100000, ']'), 0), "nested too deeply");
  CheckError(File(R"({"t":1})", 0), "not a JSON object");
  CheckError(File(R"({"t":{},"t":{}})", 0), "'t' is there twice");
  CheckError(File(Tensor("I64", "[1]", "[0,8]"), 8), "dtype 'I64' is not supported");
  CheckError(File(Tensor("F32", "[1]", "[0,8]"), 8), "needs 4 bytes");
  CheckError(File(Tensor("F32", "[2]", "[0,8]"), 7), "beyond the file's 7 bytes");
  CheckError(File(Tensor("F32", "[2]", "[8,0]"), 8), "no range");
  CheckError(File(Tensor("F32", "[2]", "[0]"), 8), "no range");
  CheckError(File(Tensor("F32", "[2]", "[-8,0]"), 8), "negative");
  CheckError(File(Tensor("F32", "[-2]", "[0,8]"), 8), "negative");
  CheckError(File(Tensor("F32", "[2.0]", "[0,8]"), 8), "not an integer");
  CheckError(File(Tensor("F32", "[18446744073709551615]", "[0,8]"), 8), "too large");
  CheckError(File(Tensor("F32", "[4294967296,4294967296]", "[0,8]"), 8), "too large");
  CheckError(File(Tensor("F32", "2", "[0,8]"), 8), "'shape'");
  CheckError(File(R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"F16","shape":[1],"data_offsets":[2,4]}})",
                  4),
             "tensors 'a' and 'b' overlap");
}

TEST_CASE("safetensors: a file that ends anywhere is an error") {
  const std::string bytes = File(Tensor("F32", "[2]", "[0,8]"), 8);
  REQUIRE(ParseSafetensors(AsBytes(bytes)).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    CHECK_FALSE(ParseSafetensors(AsBytes({part.data(), part.size()})).ok());
  }
}

TEST_CASE("safetensors: one file needs no index") {
  TempFolder folder;
  folder.Write("model.safetensors", File(Tensor("F32", "[2]", "[0,8]"), 8));
  auto opened = SafetensorsFolder::Open(folder.path());
  REQUIRE(opened.ok());
  CHECK(opened->tensors().size() == 1);
}

void CheckFolderError(const TempFolder& folder, const char* wanted) {
  auto opened = SafetensorsFolder::Open(folder.path());
  REQUIRE_FALSE(opened.ok());
  CHECK_THAT(std::string(opened.status().message()), Catch::Contains(wanted));
}

TEST_CASE("safetensors: index and shards must agree") {
  const std::string first = "model-00001-of-00002.safetensors";
  const std::string second = "model-00002-of-00002.safetensors";
  const std::string index_name = "model.safetensors.index.json";
  TempFolder folder;
  CheckFolderError(folder, "model.safetensors");
  folder.CopyFrom(kLlama);
  auto opened = SafetensorsFolder::Open(folder.path());
  REQUIRE(opened.ok());
  CHECK(opened->tensors().size() == 20);

  const std::string index = folder.Read(index_name);
  const std::string entry = "\"model.norm.weight\": \"" + second + "\"";
  SECTION("a tensor that is in another shard") {
    folder.Write(index_name, Replaced(index, entry, "\"model.norm.weight\": \"" + first + "\""));
    CheckFolderError(folder, "'model.norm.weight' is not there, but in the index");
  }
  SECTION("a tensor that is nowhere") {
    folder.Write(index_name, Replaced(index, entry, "\"other\": \"" + second + "\", " + entry));
    CheckFolderError(folder, "'other' is not there, but in the index");
  }
  SECTION("a tensor that the index does not know") {
    folder.Write(index_name,
                 Replaced(index, "\"model.layers.0.mlp.up_proj.weight\": \"" + first + "\",", ""));
    CheckFolderError(folder, "holds tensors that the index does not put there");
  }
  SECTION("a shard that is not there") {
    std::filesystem::remove(folder.File(second));
    CheckFolderError(folder, second.c_str());
  }
  SECTION("a shard outside the folder") {
    folder.Write(index_name, Replaced(index, entry, "\"model.norm.weight\": \"../x.safetensors\""));
    CheckFolderError(folder, "no '*.safetensors' file of this folder");
  }
  SECTION("a tensor in both shards") {
    std::filesystem::copy_file(folder.File(first), folder.File(second),
                               std::filesystem::copy_options::overwrite_existing);
    CheckFolderError(folder, "in another shard, too");
  }
}

}  // namespace
}  // namespace lynx
