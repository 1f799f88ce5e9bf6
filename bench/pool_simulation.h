// A day of traffic over a pool of servers and several gateways, in virtual time and from a seed:
// what the balancers' choices come to while servers join, leave, hang and are upgraded.
//
// Scaled: fewer and longer requests than a real day has, and reports in the same proportion, so
// that a server gets about half a request between two reports of it.
#pragma once

#include <cstdint>

namespace lynx::bench {

struct PoolSimulationOptions {
  uint64_t seed = 1;
  int decodes = 700;
  int prefills = 300;
  int gateways = 2;
  int64_t requests = 200'000;
  int64_t held_per_decode = 40;  // requests at a time, on average
};

struct PoolSimulationResult {
  int64_t decisions = 0;
  int64_t wrong = 0;  // a server that left or was known to hang, or a pair of two identities
  int64_t none = 0;   // no server was found
  int64_t joined = 0, left = 0, hung = 0;
  // How far the outstanding tokens of any decode server were from the mean of all, of the mean, at
  // worst: before servers come and go, and at the day's end, an eighth of a day after that.
  double steady_imbalance = 0.0, settled_imbalance = 0.0;
  // When every request has ended: tokens that are still counted, and, when every server has left,
  // servers and identities that are still known.
  int64_t tokens_left = 0, servers_left = 0;
  double us_per_decision = 0.0;  // of processor time
};

PoolSimulationResult SimulatePool(const PoolSimulationOptions& options);

}  // namespace lynx::bench
