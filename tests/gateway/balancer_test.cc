#include "gateway/balancer.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "bench/pool_simulation.h"
#include "proto/identity_fields.h"

namespace lynx {
namespace {

constexpr int64_t kPlenty = 1'000'000'000;

ServerReport Report(int64_t outstanding, int64_t free = kPlenty,
                    const std::string& identity = "i") {
  return {.identity = identity, .tokens_outstanding = outstanding, .tokens_free = free};
}

// One prefill server "p" and as many decode servers "d0", "d1", ... as reports.
struct Bed {
  explicit Bed(const std::vector<ServerReport>& reports) {
    prefill = balancer.Add(ServerRole::kPrefill, "p");
    balancer.Update(prefill, Report(0));
    for (size_t i = 0; i < reports.size(); ++i) {
      decodes.push_back(balancer.Add(ServerRole::kDecode, "d" + std::to_string(i)));
      balancer.Update(decodes.back(), reports[i]);
    }
  }
  // The index of the decode server; -1: none.
  int Choose(const RouteRequest& request, std::optional<ServerId> exclude = {}) {
    const auto route = balancer.Choose(request, nullptr, exclude);
    if (!route) return -1;
    return static_cast<int>(std::find(decodes.begin(), decodes.end(), route->decode) -
                            decodes.begin());
  }

  Balancer balancer;
  ServerId prefill{};
  std::vector<ServerId> decodes;
};

}  // namespace

TEST_CASE("tokens are balanced, not requests") {
  Bed bed({Report(0), Report(0)});
  const int big = bed.Choose({.prompt_tokens = 900, .max_tokens = 100});
  for (int i = 0; i < 10; ++i) {
    CHECK(bed.Choose({.prompt_tokens = 50, .max_tokens = 50}) == 1 - big);
  }
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[0]) == 1000);
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[1]) == 1000);
}

TEST_CASE("equals take turns") {
  Bed bed({Report(0), Report(0), Report(0)});
  std::map<int, int> taken;
  for (int i = 0; i < 30; ++i) ++taken[bed.Choose({})];  // requests of no tokens leave them equal
  CHECK(taken == std::map<int, int>{{0, 10}, {1, 10}, {2, 10}});
}

TEST_CASE("a report adds what others have and does not count ours twice") {
  Bed bed({Report(0), Report(300)});
  const RouteRequest request{.prompt_tokens = 100, .max_tokens = 100};
  CHECK(bed.Choose(request) == 0);
  bed.balancer.Update(bed.decodes[0], Report(200));  // that is ours
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[0]) == 200);
  CHECK(bed.Choose(request) == 0);
  CHECK(bed.Choose(request) == 1);  // 400 against 300
  bed.balancer.Update(bed.decodes[0], Report(1000));
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[0]) == 1000);
  bed.balancer.Release(bed.decodes[0], Balancer::DecodeTokens(request));
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[0]) == 800);
  // One that has not heard of our requests yet has no less than them.
  bed.balancer.Update(bed.decodes[0], Report(0));
  CHECK(bed.balancer.OutstandingTokens(bed.decodes[0]) == 200);
}

TEST_CASE("servers with room come first, and without any the least loaded is still taken") {
  Bed bed({Report(10, 100), Report(500, 300)});
  const RouteRequest request{.prompt_tokens = 100, .max_tokens = 50};
  CHECK(bed.Choose(request) == 1);
  CHECK(bed.Choose(request) == 1);  // 150 are left: just enough
  CHECK(bed.Choose(request) == 0);
  bed.balancer.Release(bed.decodes[1], 150);
  CHECK(bed.Choose(request) == 1);
}

TEST_CASE("the balancer pairs servers of one identity") {
  Bed bed({Report(5), Report(0, kPlenty, "new"), Report(0, kPlenty, "newest")});
  CHECK(bed.Choose({}) == 0);  // the others have no prefill server
  CHECK(bed.Choose({}, bed.decodes[0]) == -1);
  CHECK((bed.balancer.Paired(bed.decodes[0]) && !bed.balancer.Paired(bed.decodes[1])));
  const ServerId prefill = bed.balancer.Add(ServerRole::kPrefill, "p2");
  bed.balancer.Update(prefill, Report(0, kPlenty, "new"));
  const auto route = bed.balancer.Choose({}, nullptr, {});
  CHECK((route && route->decode == bed.decodes[1]));
  CHECK((route && route->prefill == std::vector<ServerId>{prefill}));
  for (const std::string identity : {"i", "new", "newest", "unheard of"}) {
    const bool there = identity == "i" || identity == "new";
    CHECK(bed.balancer.Choose({}, &identity, {}).has_value() == there);
  }
  // A server that came back as another version.
  bed.balancer.Update(bed.decodes[1], Report(0));
  CHECK_FALSE(bed.balancer.Paired(prefill));
  CHECK(bed.balancer.identities() == 3);
  bed.balancer.Remove(prefill);
  CHECK(bed.balancer.identities() == 2);
}

TEST_CASE("prefill servers are named by prompt tokens outstanding, the few best alone") {
  Bed bed({Report(0)});
  std::vector<ServerId> more;
  for (int i = 1; i <= 5; ++i) {
    more.push_back(bed.balancer.Add(ServerRole::kPrefill, "p" + std::to_string(i)));
    bed.balancer.Update(more.back(), Report(100 * i));
  }
  const RouteRequest request{.prompt_tokens = 150, .max_tokens = 9};
  CHECK(bed.balancer.Choose(request, nullptr, {})->prefill ==
        std::vector<ServerId>{bed.prefill, more[0], more[1]});
  // Only the first of them is thought to have the prompt.
  CHECK(bed.balancer.Choose(request, nullptr, {})->prefill ==
        std::vector<ServerId>{more[0], bed.prefill, more[1]});
  bed.balancer.Release(bed.prefill, Balancer::PrefillTokens(request));
  CHECK(bed.balancer.Choose(request, nullptr, {})->prefill.front() == bed.prefill);
}

TEST_CASE("a server out of rotation gets nothing, and one that is gone is forgotten") {
  Bed bed({Report(0), Report(0)});
  bed.balancer.Suspend(bed.decodes[0]);
  for (int i = 0; i < 4; ++i) CHECK(bed.Choose({.max_tokens = 10}) == 1);
  bed.balancer.Update(bed.decodes[0], Report(0));
  CHECK(bed.Choose({.max_tokens = 10}) == 0);
  bed.balancer.Remove(bed.decodes[0]);
  bed.balancer.Remove(bed.decodes[0]);
  bed.balancer.Update(bed.decodes[0], Report(0));
  bed.balancer.Release(bed.decodes[0], 10);
  CHECK(bed.Choose({}) == 1);
  const ServerId next = bed.balancer.Add(ServerRole::kDecode, "d0");  // takes its place, not its id
  CHECK(next != bed.decodes[0]);
  CHECK(bed.balancer.OutstandingTokens(next) == 0);
  CHECK(bed.Choose({}) == 1);  // it has not reported yet
  bed.balancer.Suspend(bed.prefill);
  CHECK(bed.Choose({}) == -1);
  CHECK(bed.balancer.servers() == 3);
}

TEST_CASE("a prompt's first pages name the same server everywhere, until it is too far ahead") {
  std::vector<int32_t> prompt(300, 7);
  const uint64_t prefix = PrefixHash(prompt);
  prompt.back() = 8;  // behind the first pages
  CHECK(PrefixHash(prompt) == prefix);
  prompt.front() = 8;
  CHECK(PrefixHash(prompt) != prefix);
  CHECK(PrefixHash(absl::MakeSpan(prompt).subspan(0, 63)) == 0);

  const std::vector<ServerReport> idle(20, Report(0));
  Bed a(idle), b(idle);
  const RouteRequest request{.prompt_tokens = 300, .max_tokens = 100, .prefix = prefix};
  b.Choose({});  // other turns
  const int owner = a.Choose(request);
  CHECK(b.Choose(request) == owner);
  CHECK(a.Choose(request) != owner);  // 400 ahead of idle ones: more than the prompt
  a.balancer.Release(a.decodes[owner], 400);
  CHECK(a.Choose(request) == owner);
  CHECK(b.Choose({.prompt_tokens = 300, .prefix = prefix}, b.decodes[owner]) != owner);

  // Prefixes are spread, and only those of a server that leaves move.
  Bed c(idle);
  std::map<uint64_t, int> owners;
  std::set<int> used;
  for (uint64_t p = 1; p <= 200; ++p) {
    owners[p] = c.Choose({.prompt_tokens = 0, .prefix = p});
    used.insert(owners[p]);
  }
  CHECK(used.size() > 15);
  const int leaves = owners[1];
  c.balancer.Remove(c.decodes[leaves]);
  for (const auto& [p, before] : owners) {
    const int now = c.Choose({.prompt_tokens = 0, .prefix = p});
    CHECK((before == leaves ? now != leaves : now == before));
  }
}

TEST_CASE("a day over a thousand servers that join, leave, hang and are upgraded") {
  const bench::PoolSimulationResult day = bench::SimulatePool({});
  CHECK(day.decisions > 190'000);
  CHECK((day.wrong == 0 && day.none == 0));
  CHECK((day.joined > 300 && day.left == day.joined && day.hung > 300));
  CHECK(day.steady_imbalance < 0.1);
  CHECK(day.settled_imbalance < 0.1);
  CHECK((day.tokens_left == 0 && day.servers_left == 0));
}

// Field by field as the message describes itself: one that is added later is not forgotten.
TEST_CASE("identities are equal if every field is") {
  const v1::Identity base;
  const auto* type = v1::Identity::descriptor();
  std::set<std::string> keys = {IdentityKey(base)};
  for (int i = 0; i < type->field_count(); ++i) {
    v1::Identity other;
    other.GetReflection()->SetString(&other, type->field(i), "x");
    keys.insert(IdentityKey(other));
  }
  CHECK(keys.size() == static_cast<size_t>(type->field_count()) + 1);
  v1::Identity left, right;  // the same bytes, divided otherwise
  left.set_weights_hash("ab");
  right.set_weights_hash("a");
  right.set_code_version("b");
  CHECK(IdentityKey(left) != IdentityKey(right));
  CHECK(IdentityKey(left) == IdentityKey(v1::Identity(left)));
}

}  // namespace lynx
