// pool_bench: what a routing decision among a thousand servers takes, and how even the load is over
// a simulated day.
#include <cstdio>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "bench/pool_simulation.h"
#include "gateway/balancer.h"

namespace lynx::bench {
namespace {

double CpuSeconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// us a decision, with its end and, for each two decisions, one server's report.
double MeasureDecision(int servers, bool prefixes) {
  constexpr int kDecisions = 50'000;
  std::mt19937_64 random(1);
  Balancer balancer;
  std::vector<ServerId> ids;
  for (int i = 0; i < servers; ++i) {
    const ServerRole role = i % 2 == 0 ? ServerRole::kDecode : ServerRole::kPrefill;
    ids.push_back(balancer.Add(role, "server-" + std::to_string(i)));
    balancer.Update(ids.back(), {.identity = "identity", .tokens_free = 1'000'000});
  }
  const double begin = CpuSeconds();
  for (int i = 0; i < kDecisions; ++i) {
    const RouteRequest request = {.prompt_tokens = static_cast<int64_t>(random() % 2000),
                                  .max_tokens = static_cast<int64_t>(random() % 2000),
                                  .prefix = prefixes ? random() : 0};
    const auto route = balancer.Choose(request, nullptr, std::nullopt);
    if (!route) return 0.0;
    if (i % 2 == 0) {
      balancer.Release(route->decode, Balancer::DecodeTokens(request));
      const ServerId id = ids[random() % ids.size()];
      balancer.Update(id, {.identity = "identity", .tokens_free = 1'000'000});
    }
    balancer.Release(route->prefill.front(), Balancer::PrefillTokens(request));
  }
  return (CpuSeconds() - begin) / kDecisions * 1e6;
}

void Print() {
  for (const int servers : {10, 100, 1000}) {
    std::printf("decision servers=%d us=%.2f us_with_prefix=%.2f\n", servers,
                MeasureDecision(servers, false), MeasureDecision(servers, true));
  }
  for (const int gateways : {1, 2, 4}) {
    PoolSimulationOptions options;
    options.gateways = gateways;
    const PoolSimulationResult r = SimulatePool(options);
    std::printf(
        "day servers=%d gateways=%d requests=%lld joined=%lld hung=%lld imbalance_steady=%.3f "
        "imbalance_settled=%.3f\n",
        options.decodes + options.prefills, gateways, static_cast<long long>(r.decisions),
        static_cast<long long>(r.joined), static_cast<long long>(r.hung), r.steady_imbalance,
        r.settled_imbalance);
  }
}

}  // namespace
}  // namespace lynx::bench

int main() { lynx::bench::Print(); }
