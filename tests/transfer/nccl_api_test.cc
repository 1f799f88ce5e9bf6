#include "transfer/nccl_api.h"

#include <catch2/catch.hpp>

#include "transfer/open_data_plane.h"

namespace lynx {
namespace {

std::string ErrorOf(const std::string& library) {
  const absl::StatusOr<NcclApi> api = OpenNccl(library);
  CHECK(absl::IsFailedPrecondition(api.status()));
  return std::string(api.status().message());
}

TEST_CASE("a library that cannot be NCCL is refused, and the words say what to do", "[nccl]") {
  CHECK_THAT(ErrorOf("/nowhere/libnccl.so.2"), Catch::Contains("/nowhere/libnccl.so.2") &&
                                                   Catch::Contains("LD_LIBRARY_PATH") &&
                                                   Catch::Contains("transfer.channel=tcp"));
  CHECK_THAT(ErrorOf("libm.so.6"), Catch::Contains("lacks functions"));
  CHECK_THAT(ErrorOf(NCCL_STUB_OLD), Catch::Contains("NCCL 2.20.5 was found") &&
                                         Catch::Contains(NcclVersionName(NCCL_VERSION_CODE)));
  CHECK_THAT(ErrorOf(NCCL_STUB_LACKING), Catch::Contains("lacks ncclCommRevoke"));
}

TEST_CASE("a newer library is taken", "[nccl]") {
  const absl::StatusOr<NcclApi> api = OpenNccl(NCCL_STUB_NEW);
  INFO(api.status());
  REQUIRE(api.ok());
  CHECK(api->version == 99999);
  CHECK(api->CommRevoke != nullptr);
}

TEST_CASE("the process' own is loaded once", "[nccl]") {
  REQUIRE(CheckNccl().ok());
  CHECK(*LoadNccl() == *LoadNccl());
  CHECK(Nccl().version == NCCL_VERSION_CODE);
}

}  // namespace
}  // namespace lynx
