#include "cli/units.h"

#include <catch2/catch.hpp>

namespace lynx {

TEST_CASE("link rates are read in decimal units") {
  CHECK(*ParseBitRate("100mbit") == 100e6);
  CHECK(*ParseBitRate("1.5Gbit") == 1.5e9);
  CHECK(*ParseBitRate("64kbit") == 64e3);
  CHECK(*ParseBitRate(".5mbit") == 5e5);
  CHECK(*ParseBitRate("0") == 0);
  CHECK(*ParseBitRate("none") == 0);
}

TEST_CASE("what is no link rate is refused") {
  for (const char* text : {"", "100", "mbit", "100 mbit", "-1mbit", "100mbits", "nanmbit",
                           "infmbit", "1e30gbit", "0.001kbit", "0x10mbit"}) {
    CAPTURE(text);
    CHECK(ParseBitRate(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

TEST_CASE("Anchor bits are a pair or a name") {
  CHECK(*ParseAnchorBits("5,4") == KvSplit{5, 4});
  CHECK(*ParseAnchorBits("K6V5") == KvSplit{6, 5});
  CHECK(*ParseAnchorBits("k3v7") == KvSplit{3, 7});
  for (const char* text : {"", "5", "5,", "2,4", "5,8", "5,4,", "K5", "V4K5", "K54V", "55,4"}) {
    CAPTURE(text);
    CHECK(ParseAnchorBits(text).status().code() == absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace lynx
