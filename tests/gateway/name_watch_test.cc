#include "gateway/name_watch.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"

namespace lynx {
namespace {

using Hosts = absl::StatusOr<std::vector<std::string>>;

// A name server that a test changes, and what the watch told last. Outlives every look-up.
struct Names {
  void Set(const std::string& host, Hosts hosts) {
    absl::MutexLock lock(&mu);
    names[host] = std::move(hosts);
  }
  NameWatch::Lookup Lookup() {
    return [this](const std::string& host) -> Hosts {
      absl::MutexLock lock(&mu);
      return names.at(host);
    };
  }
  NameWatch::OnChange Changed() {
    return [this](const std::vector<std::string>& a, const std::string& p) {
      absl::MutexLock lock(&mu);
      addresses = a;
      problem = p;
    };
  }
  // Within 30 s.
  bool Become(const std::vector<std::string>& wanted, const std::string& wanted_problem) {
    absl::MutexLock lock(&mu);
    const auto there = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      return addresses == wanted && problem == wanted_problem;
    };
    return mu.AwaitWithTimeout(absl::Condition(&there), absl::Seconds(30));
  }

  absl::Mutex mu;
  std::map<std::string, Hosts> names ABSL_GUARDED_BY(mu);
  std::vector<std::string> addresses ABSL_GUARDED_BY(mu);
  std::string problem ABSL_GUARDED_BY(mu);
};

constexpr absl::Duration kOften = absl::Milliseconds(1);

}  // namespace

TEST_CASE("numeric addresses need no name server and are there at once") {
  std::vector<std::string> told;
  const NameWatch watch({"10.0.0.2:81", "[::1]:80", "10.0.0.2:81", "10.0.0.1:8"}, kOften, nullptr,
                        [&](const std::vector<std::string>& addresses, const std::string& problem) {
                          told = addresses;
                          CHECK(problem.empty());
                        });
  CHECK(told == std::vector<std::string>{"10.0.0.1:8", "10.0.0.2:81", "[::1]:80"});
}

TEST_CASE("a name is all of its addresses, as they come and go") {
  static Names& names = *new Names;  // a look-up may end after the test
  names.Set("pods", std::vector<std::string>{"10.0.0.7", "fd00::7"});
  names.Set("other", absl::NotFoundError("the name does not resolve"));
  const auto watch =
      std::make_unique<NameWatch>(std::vector<std::string>{"pods:1", "10.0.0.1:2", "other:3"},
                                  kOften, names.Lookup(), names.Changed());
  const std::string other = "other:3: the name does not resolve";
  CHECK(names.Become({"10.0.0.1:2", "10.0.0.7:1", "[fd00::7]:1"}, other));
  names.Set("pods", std::vector<std::string>{"10.0.0.8"});
  names.Set("other", std::vector<std::string>{"10.0.0.8"});
  CHECK(names.Become({"10.0.0.1:2", "10.0.0.8:1", "10.0.0.8:3"}, ""));
  // A name server that does not answer takes no server away; one that knows none does.
  names.Set("pods", absl::UnavailableError("no name server"));
  CHECK(names.Become({"10.0.0.1:2", "10.0.0.8:1", "10.0.0.8:3"}, "pods:1: no name server"));
  names.Set("pods", absl::NotFoundError("gone"));
  CHECK(names.Become({"10.0.0.1:2", "10.0.0.8:3"}, "pods:1: gone"));
}

TEST_CASE("a look-up that hangs holds up neither other names nor the end") {
  struct Hang {
    absl::Notification begun, go_on, ended;
  };
  const auto hang = std::make_shared<Hang>();
  Names names;
  {
    const NameWatch watch(
        {"hangs:1", "quick:2"}, absl::InfiniteDuration(),
        [hang](const std::string& host) -> Hosts {
          if (host == "quick") return std::vector<std::string>{"10.0.0.2"};
          hang->begun.Notify();
          hang->go_on.WaitForNotification();
          hang->ended.Notify();
          return std::vector<std::string>{"10.0.0.1"};
        },
        names.Changed());
    hang->begun.WaitForNotification();
    CHECK(names.Become({"10.0.0.2:2"}, "hangs:1: the name has not been looked up yet"));
  }
  hang->go_on.Notify();
  hang->ended.WaitForNotification();
}

TEST_CASE("the system's resolver knows this machine") {
  const Hosts hosts = LookUpHost("localhost");
  REQUIRE(hosts.ok());
  CHECK(std::any_of(hosts->begin(), hosts->end(),
                    [](const std::string& host) { return host == "127.0.0.1" || host == "::1"; }));
}

}  // namespace lynx
