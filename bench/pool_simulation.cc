#include "bench/pool_simulation.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <map>
#include <queue>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gateway/balancer.h"

namespace lynx::bench {
namespace {

constexpr double kDay = 86'400.0;  // virtual seconds
constexpr double kChurnBegins = 0.5 * kDay, kChurnEnds = 0.875 * kDay;
constexpr int64_t kRoomTokens = 4'000'000;

enum class What { kArrival, kFirstToken, kEnd, kReports, kChurn };

struct Event {
  double time = 0.0;
  What what = What::kArrival;
  int64_t request = 0;
  bool operator>(const Event& other) const { return time > other.time; }
};

struct SimulatedServer {
  ServerRole role = ServerRole::kDecode;
  std::string identity;
  int64_t outstanding = 0;  // what is really there
  bool there = true;
  double hangs_until = -1.0;
  std::vector<ServerId> ids;  // [gateway]
};

struct SimulatedRequest {
  RouteRequest tokens;
  int gateway = 0;
  size_t decode = 0, prefill = 0;  // servers
  Route route;
};

class Simulation {
 public:
  explicit Simulation(const PoolSimulationOptions& options)
      : options_(options), random_(options.seed) {
    for (int g = 0; g < options_.gateways; ++g) balancers_.emplace_back(random_());
    known_.resize(balancers_.size());
    suspended_.resize(balancers_.size());
    for (int i = 0; i < options_.decodes; ++i) AddServer(ServerRole::kDecode);
    for (int i = 0; i < options_.prefills; ++i) AddServer(ServerRole::kPrefill);
    Report();
  }

  PoolSimulationResult Run() {
    const double decode_count = options_.decodes;
    mean_duration_ = static_cast<double>(options_.held_per_decode) * decode_count * kDay /
                     static_cast<double>(options_.requests);
    report_interval_ = 0.5 * decode_count * kDay / static_cast<double>(options_.requests);
    events_.push({0.0, What::kArrival});
    events_.push({report_interval_, What::kReports});
    events_.push({kChurnBegins, What::kChurn});
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.time;
      Handle(event);
    }
    Finish();
    return result_;
  }

 private:
  void Handle(const Event& event) {
    switch (event.what) {
      case What::kArrival:
        Arrive();
        if (now_ < kDay) {
          events_.push({now_ + std::exponential_distribution<>(Rate())(random_), What::kArrival});
        }
        return;
      case What::kFirstToken:
        return FirstToken(requests_.at(event.request));
      case What::kEnd:
        return End(event.request);
      case What::kReports:
        Report();
        Measure();
        if (now_ < kDay) events_.push({now_ + report_interval_, What::kReports});
        return;
      case What::kChurn:
        Churn();
        if (now_ < kChurnEnds) events_.push({now_ + report_interval_ / 2, What::kChurn});
        return;
    }
  }

  // Requests a second. They swing by a third in either direction while servers come and go.
  double Rate() const {
    const double mean = static_cast<double>(options_.requests) / kDay;
    if (now_ < kChurnBegins || now_ > kChurnEnds) return mean;
    return mean *
           (1.0 + 0.33 * std::sin(6.2832 * (now_ - kChurnBegins) / (kChurnEnds - kChurnBegins)));
  }

  size_t AddServer(ServerRole role) {
    SimulatedServer server;
    server.role = role;
    server.identity = now_ < kChurnBegins ? "old" : "new";  // who joins late is of a new version
    for (size_t g = 0; g < balancers_.size(); ++g) {
      const ServerId id = balancers_[g].Add(role, "server-" + std::to_string(servers_.size()));
      known_[g][id] = servers_.size();
      server.ids.push_back(id);
    }
    servers_.push_back(std::move(server));
    return servers_.size() - 1;
  }

  // Every server tells every gateway how it is, or fails to.
  void Report() {
    for (size_t s = 0; s < servers_.size(); ++s) ReportOf(servers_[s]);
  }
  void ReportOf(const SimulatedServer& server) {
    if (!server.there) return;
    for (size_t g = 0; g < balancers_.size(); ++g) {
      const bool hangs = server.hangs_until > now_;
      suspended_[g][server.ids[g]] = hangs;
      if (hangs) {
        balancers_[g].Suspend(server.ids[g]);
      } else {
        balancers_[g].Update(server.ids[g], {.identity = server.identity,
                                             .tokens_outstanding = server.outstanding,
                                             .tokens_free = kRoomTokens - server.outstanding});
      }
    }
  }

  void Arrive() {
    SimulatedRequest request;
    request.gateway = static_cast<int>(random_() % balancers_.size());
    request.tokens.prompt_tokens = std::uniform_int_distribution<>(20, 2000)(random_);
    request.tokens.max_tokens = std::uniform_int_distribution<>(16, 2000)(random_);
    // Half of the prompts share one of a few thousand beginnings, as conversations do.
    if (random_() % 2 == 0) request.tokens.prefix = 1 + random_() % 4000;
    Balancer& balancer = balancers_[request.gateway];
    const std::clock_t begin = std::clock();
    std::optional<Route> route = balancer.Choose(request.tokens, nullptr, std::nullopt);
    clocks_ += std::clock() - begin;
    ++result_.decisions;
    if (!route) {
      ++result_.none;
      return;
    }
    request.route = *std::move(route);
    if (!IsRight(request)) {
      ++result_.wrong;
      return;
    }
    Place(std::move(request));
  }

  bool IsRight(SimulatedRequest& request) {
    const auto& known = known_[request.gateway];
    std::vector<ServerId> all = request.route.prefill;
    all.push_back(request.route.decode);
    for (const ServerId id : all) {
      const auto it = known.find(id);
      if (it == known.end() || suspended_[request.gateway].at(id)) return false;
      if (servers_[it->second].identity != servers_[known.at(request.route.decode)].identity) {
        return false;
      }
    }
    request.decode = known.at(request.route.decode);
    request.prefill = known.at(request.route.prefill.front());
    return true;
  }

  void Place(SimulatedRequest request) {
    servers_[request.decode].outstanding += Balancer::DecodeTokens(request.tokens);
    servers_[request.prefill].outstanding += Balancer::PrefillTokens(request.tokens);
    const double duration = mean_duration_ *
                            static_cast<double>(Balancer::DecodeTokens(request.tokens)) / 2018.0 *
                            std::uniform_real_distribution<>(0.5, 1.5)(random_);
    const int64_t number = result_.decisions;
    events_.push({now_ + 0.2 * duration, What::kFirstToken, number});
    events_.push({now_ + duration, What::kEnd, number});
    requests_.emplace(number, std::move(request));
  }

  void FirstToken(const SimulatedRequest& request) {
    const int64_t tokens = Balancer::PrefillTokens(request.tokens);
    balancers_[request.gateway].Release(request.route.prefill.front(), tokens);
    servers_[request.prefill].outstanding -= tokens;
  }

  void End(int64_t number) {
    const auto it = requests_.find(number);
    const SimulatedRequest& request = it->second;
    const int64_t tokens = Balancer::DecodeTokens(request.tokens);
    balancers_[request.gateway].Release(request.route.decode, tokens);
    servers_[request.decode].outstanding -= tokens;
    requests_.erase(it);
  }

  // One server hangs for a while, one leaves, and one joins in its place.
  void Churn() {
    SimulatedServer& hanging = servers_[random_() % servers_.size()];
    if (hanging.there) {
      hanging.hangs_until = now_ + 10 * report_interval_;
      ++result_.hung;
    }
    const size_t leaving = random_() % servers_.size();
    if (!servers_[leaving].there) return;
    Leave(leaving);
    AddServer(servers_[leaving].role);
    ++result_.left;
    ++result_.joined;
  }
  void Leave(size_t leaving) {
    servers_[leaving].there = false;
    for (size_t g = 0; g < balancers_.size(); ++g) {
      balancers_[g].Remove(servers_[leaving].ids[g]);
      known_[g].erase(servers_[leaving].ids[g]);
      suspended_[g].erase(servers_[leaving].ids[g]);
    }
  }

  void Measure() {
    const bool steady = now_ > kDay / 4 && now_ < kChurnBegins;
    if (!steady && (now_ < kDay - 2 * report_interval_ || now_ > kDay)) return;
    double sum = 0.0, low = 1e18, high = 0.0;
    int count = 0;
    for (const SimulatedServer& server : servers_) {
      if (!server.there || server.role != ServerRole::kDecode) continue;
      const auto tokens = static_cast<double>(server.outstanding);
      sum += tokens;
      low = std::min(low, tokens);
      high = std::max(high, tokens);
      ++count;
    }
    const double mean = sum / count;
    double& worst = steady ? result_.steady_imbalance : result_.settled_imbalance;
    worst = std::max(worst, std::max(high - mean, mean - low) / mean);
  }

  void Finish() {
    Report();
    for (size_t s = 0; s < servers_.size(); ++s) {
      if (!servers_[s].there) continue;
      for (size_t g = 0; g < balancers_.size(); ++g) {
        result_.tokens_left += balancers_[g].OutstandingTokens(servers_[s].ids[g]);
      }
      Leave(s);
    }
    for (const Balancer& balancer : balancers_) {
      result_.servers_left += static_cast<int64_t>(balancer.servers() + balancer.identities());
    }
    result_.us_per_decision = 1e6 * static_cast<double>(clocks_) / CLOCKS_PER_SEC /
                              static_cast<double>(result_.decisions);
  }

  const PoolSimulationOptions options_;
  std::mt19937_64 random_;
  double now_ = 0.0, mean_duration_ = 0.0, report_interval_ = 0.0;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<SimulatedServer> servers_;             // those that left, too
  std::vector<Balancer> balancers_;                  // [gateway]
  std::vector<std::map<ServerId, size_t>> known_;    // [gateway]: servers by id
  std::vector<std::map<ServerId, bool>> suspended_;  // [gateway]: did not report
  std::map<int64_t, SimulatedRequest> requests_;
  std::clock_t clocks_ = 0;
  PoolSimulationResult result_;
};

}  // namespace

PoolSimulationResult SimulatePool(const PoolSimulationOptions& options) {
  return Simulation(options).Run();
}

}  // namespace lynx::bench
