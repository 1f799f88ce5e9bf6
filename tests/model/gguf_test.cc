#include "model/gguf.h"

#include <catch2/catch.hpp>
#include <limits>

#include "tests/model/gguf_builder.h"

namespace lynx {
namespace {

using Type = GgufValueType;
using B = GgufBuilder;

std::string ErrorOf(const std::string& bytes) {
  auto file = GgufFile::Parse(AsBytes(bytes));
  return file.ok() ? "" : std::string(file.status().message());
}

void CheckError(const std::string& bytes, const char* wanted) {
  CHECK_THAT(ErrorOf(bytes), Catch::Contains(wanted));
}

GgufBuilder AllTypes() {
  GgufBuilder b;
  b.Add("u8", Type::kUint8, B::Raw<uint8_t>(200))
      .Add("i8", Type::kInt8, B::Raw<int8_t>(-100))
      .Add("u16", Type::kUint16, B::Raw<uint16_t>(60000))
      .Add("i16", Type::kInt16, B::Raw<int16_t>(-30000))
      .Add("u32", Type::kUint32, B::Raw<uint32_t>(4000000000u))
      .Add("i32", Type::kInt32, B::Raw<int32_t>(-2000000000))
      .Add("u64", Type::kUint64, B::Raw<uint64_t>(std::numeric_limits<uint64_t>::max()))
      .Add("i64", Type::kInt64, B::Raw<int64_t>(std::numeric_limits<int64_t>::min()))
      .Add("f32", Type::kFloat32, B::Raw<float>(0.5f))
      .Add("f64", Type::kFloat64, B::Raw<double>(0.1))
      .Add("bool", Type::kBool, B::Raw<uint8_t>(1))
      .Add("string", Type::kString, B::Text("text"))
      .Add("floats", Type::kArray,
           B::ArrayOf(Type::kFloat32, 2, B::Raw<float>(1.5f) + B::Raw<float>(-2)))
      .Add("shorts", Type::kArray,
           B::ArrayOf(Type::kInt16, 2, B::Raw<int16_t>(7) + B::Raw<int16_t>(-7)))
      .Add("strings", Type::kArray, B::ArrayOf(Type::kString, 2, B::Text("a") + B::Text("")))
      .Add("nested", Type::kArray,
           B::ArrayOf(Type::kArray, 1, B::ArrayOf(Type::kBool, 2, std::string("\0\1", 2))))
      .Add("empty", Type::kArray, B::ArrayOf(Type::kUint8, 0, ""));
  return b;
}

TEST_CASE("GGUF: metadata of every type") {
  for (uint32_t version : {2u, 3u}) {
    GgufBuilder b = AllTypes();
    b.version = version;
    const std::string bytes = b.Build(0);
    auto file = GgufFile::Parse(AsBytes(bytes));
    REQUIRE(file.ok());
    CHECK(file->version() == version);
    CHECK(*file->Int("u8") == 200);
    CHECK(*file->Int("i8") == -100);
    CHECK(*file->Int("u16") == 60000);
    CHECK(*file->Int("i16") == -30000);
    CHECK(*file->Int("u32") == 4000000000);
    CHECK(*file->Int("i32") == -2000000000);
    CHECK(absl::IsInvalidArgument(file->Int("u64").status()));
    CHECK(*file->Float("u64") == 0x1p64);
    CHECK(*file->Int("i64") == std::numeric_limits<int64_t>::min());
    CHECK(*file->Float("f32") == 0.5);
    CHECK(*file->Float("f64") == 0.1);
    CHECK(*file->Bool("bool") == true);
    CHECK(*file->String("string") == "text");
    const GgufArray& floats = **file->Array("floats");
    CHECK((floats.size() == 2 && *floats.Float(0) == 1.5 && *floats.Float(1) == -2));
    CHECK(absl::IsInvalidArgument(floats.Int(0).status()));
    const GgufArray& shorts = **file->Array("shorts");
    CHECK((*shorts.Int(0) == 7 && *shorts.Int(1) == -7 && *shorts.Float(1) == -7));
    const GgufArray& strings = **file->Array("strings");
    REQUIRE(strings.strings().size() == 2);
    CHECK((strings.strings()[0] == "a" && strings.strings()[1].empty()));
    const GgufArray& nested = **file->Array("nested");
    REQUIRE(nested.arrays().size() == 1);
    CHECK((*nested.arrays()[0].Int(0) == 0 && *nested.arrays()[0].Int(1) == 1));
    CHECK((*file->Array("empty"))->size() == 0);
  }
}

TEST_CASE("GGUF: wrong and absent keys are named") {
  const std::string bytes = AllTypes().Build(0);
  auto file = GgufFile::Parse(AsBytes(bytes));
  REQUIRE(file.ok());
  CHECK(absl::IsNotFound(file->Int("absent").status()));
  CHECK_THAT(std::string(file->Int("absent").status().message()), Catch::Contains("'absent'"));
  CHECK(absl::IsInvalidArgument(file->Int("f32").status()));
  CHECK(absl::IsInvalidArgument(file->Float("string").status()));
  CHECK(absl::IsInvalidArgument(file->String("u8").status()));
  CHECK(absl::IsInvalidArgument(file->Bool("u8").status()));
  CHECK(absl::IsInvalidArgument(file->Array("u8").status()));
}

TEST_CASE("GGUF: tensors") {
  GgufBuilder b;
  b.Tensor("w", {64, 3}, 2, 0).Tensor("v", {5}, 0, 128);
  const std::string bytes = b.Build(128 + 20);
  auto file = GgufFile::Parse(AsBytes(bytes));
  REQUIRE(file.ok());
  const ModelTensor* w = file->FindTensor("w");
  REQUIRE(w != nullptr);
  CHECK(w->type == GgmlType::kQ4_0);
  CHECK(w->shape == std::vector<int64_t>{3, 64});
  CHECK(w->data.size() == 3 * 2 * 18);
  const ModelTensor* v = file->FindTensor("v");
  REQUIRE(v != nullptr);
  CHECK(v->data.size() == 20);
  CHECK(static_cast<uint8_t>(v->data[0]) == static_cast<uint8_t>(128 * 7));
  CHECK(file->FindTensor("x") == nullptr);
  CHECK(file->tensors().size() == 2);
}

TEST_CASE("GGUF: alignment from the metadata") {
  GgufBuilder b;
  b.alignment = 128;
  b.Add("general.alignment", Type::kUint32, B::Raw<uint32_t>(128)).Tensor("v", {1}, 0, 128);
  CHECK(ErrorOf(b.Build(132)) == "");
  CheckError(b.Build(131), "beyond the file's end");
  for (uint32_t wrong : {0u, 3u, 1u << 31}) {
    GgufBuilder c;
    c.Add("general.alignment", Type::kUint32, B::Raw(wrong));
    CheckError(c.Build(0), "general.alignment");
  }
}

TEST_CASE("GGUF: headers that are refused") {
  CheckError("", "ends too early");
  CheckError("GGML....", "not a GGUF file");
  GgufBuilder b;
  b.version = 1;
  CheckError(b.Build(0), "GGUF version 1 is not supported");
  b.version = 4;
  CheckError(b.Build(0), "GGUF version 4 is not supported");
  b.version = 0x03000000;
  CheckError(b.Build(0), "big-endian");
  b.version = 3;
  b.extra_metadata = uint64_t{1} << 60;
  CheckError(b.Build(0), "more than the file can hold");
  b.extra_metadata = 0;
  b.extra_tensors = std::numeric_limits<uint64_t>::max();
  CheckError(b.Build(0), "more than the file can hold");
}

TEST_CASE("GGUF: metadata that is refused") {
  auto with = [](Type type, std::string_view value) {
    return GgufBuilder().Add("key", type, value).Build(0);
  };
  constexpr uint64_t kHuge = uint64_t{1} << 62;
  CheckError(with(Type::kBool, B::Raw<uint8_t>(2)), "neither 0 nor 1");
  CheckError(with(static_cast<Type>(13), ""), "value type 13 is unknown");
  CheckError(with(Type::kString, B::Raw(std::numeric_limits<uint64_t>::max())), "ends too early");
  CheckError(with(Type::kArray, B::ArrayOf(Type::kUint64, kHuge, "")), "beyond the file's end");
  CheckError(with(Type::kArray, B::ArrayOf(Type::kString, kHuge, "")), "beyond the file's end");
  CheckError(with(Type::kArray, B::ArrayOf(Type::kArray, kHuge, "")), "beyond the file's end");
  CheckError(with(Type::kArray, B::ArrayOf(static_cast<Type>(99), 1, "x")), "type 99 is unknown");
  std::string deep = B::ArrayOf(Type::kUint8, 0, "");
  for (int i = 0; i < 5; ++i) deep = B::ArrayOf(Type::kArray, 1, deep);
  CheckError(with(Type::kArray, deep), "nested too deeply");
  GgufBuilder twice;
  twice.Add("key", Type::kUint8, "a").Add("key", Type::kUint8, "b");
  CheckError(twice.Build(0), "metadata 'key' is there twice");
}

TEST_CASE("GGUF: tensors that are refused") {
  auto with = [](std::vector<uint64_t> extents, uint32_t type, uint64_t offset) {
    return GgufBuilder().Tensor("t", std::move(extents), type, offset).Build(256);
  };
  CheckError(with({}, 0, 0), "0 dimensions");
  CheckError(with({1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  CheckError(with({0}, 0, 0), "zero or too large");
  CheckError(with({uint64_t{1} << 63}, 0, 0), "zero or too large");
  CheckError(with({uint64_t{1} << 32, uint64_t{1} << 32}, 0, 0), "zero or too large");
  CheckError(with({uint64_t{1} << 62}, 28, 0), "more than the file can hold");
  CheckError(with({65}, 0, 0), "beyond the file's end");
  CheckError(with({64}, 0, 32), "beyond the file's end");
  CheckError(with({1}, 0, std::numeric_limits<uint64_t>::max() - 31), "beyond the file's end");
  CheckError(with({1}, 0, 4), "not aligned");
  CheckError(with({33}, 2, 0), "no whole number of blocks");
  CheckError(with({32}, 4, 0), "type 4 is not supported");
  GgufBuilder b;
  b.Tensor("a", {16}, 0, 0).Tensor("b", {1}, 0, 32);
  CheckError(b.Build(256), "tensors 'a' and 'b' overlap");
  GgufBuilder c;
  c.Tensor("a", {1}, 0, 0).Tensor("a", {1}, 0, 32);
  CheckError(c.Build(256), "tensor 'a' is there twice");
}

TEST_CASE("GGUF: a file that ends anywhere is an error") {
  GgufBuilder b = AllTypes();
  b.Tensor("w", {64, 3}, 2, 0).Tensor("v", {5}, 0, 128);
  const std::string bytes = b.Build(128 + 20);
  REQUIRE(ErrorOf(bytes) == "");
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of its own, so that a read beyond its end is seen by AddressSanitizer.
    std::vector<char> part(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(size));
    CHECK_FALSE(GgufFile::Parse(AsBytes({part.data(), part.size()})).ok());
  }
}

}  // namespace
}  // namespace lynx
