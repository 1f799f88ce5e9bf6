#include "cli/port_reservation.h"

#include <catch2/catch.hpp>

#include "transfer/tcp_socket.h"

namespace lynx {

TEST_CASE("a reserved port can be listened on by name, again and again, but not twice at once") {
  const auto reserved = PortReservation::Reserve("127.0.0.1", 0);
  REQUIRE(reserved.ok());
  const auto port = static_cast<uint16_t>(reserved->port());
  REQUIRE(port != 0);
  for (int i = 0; i < 2; ++i) {
    const auto listener = ListenTcp("127.0.0.1", port);
    INFO(listener.status());
    CHECK(listener.ok());
    CHECK_FALSE(ListenTcp("127.0.0.1", port).ok());
    CHECK(PortReservation::Reserve("127.0.0.1", port).status().code() ==
          absl::StatusCode::kUnavailable);
  }
}

TEST_CASE("reservations of any free port differ") {
  const auto one = PortReservation::Reserve("127.0.0.1", 0);
  const auto two = PortReservation::Reserve("127.0.0.1", 0);
  REQUIRE(one.ok());
  REQUIRE(two.ok());
  CHECK(one->port() != two->port());
}

TEST_CASE("what is no address is refused") {
  CHECK(PortReservation::Reserve("localhost", 0).status().code() ==
        absl::StatusCode::kInvalidArgument);
}

}  // namespace lynx
