#include "gateway/balancer.h"

#include <xxhash.h>

#include <algorithm>
#include <array>

namespace lynx {
namespace {

constexpr size_t kPageTokens = 64;
// Enough to tell conversations apart that begin with the same few words; more would split those
// that share a system prompt later than they can be told apart.
constexpr size_t kPrefixPages = 4;

uint64_t Mix(uint64_t x) {  // SplitMix64's finalizer
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t PrefixHash(absl::Span<const int32_t> prompt) {
  const size_t pages = std::min(prompt.size() / kPageTokens, kPrefixPages);
  if (pages == 0) return 0;
  return std::max<uint64_t>(XXH64(prompt.data(), pages * kPageTokens * sizeof(int32_t), 0), 1);
}

// The best servers among those seen: the least loaded ones, and the one that the prefix names.
class Balancer::Ranking {
 public:
  Ranking(const std::vector<Server>& servers, double others_ratio, int64_t tokens,
          const RouteRequest& request)
      : servers_(servers), others_ratio_(others_ratio), tokens_(tokens), request_(request) {}

  void See(Slot slot) {
    const Server& server = servers_[slot];
    own_ += server.own;
    others_ += server.others;
    const Entry entry = {slot, !server.HasRoom(tokens_), server.load(others_ratio_)};
    if (request_.prefix != 0) SeeOwner(entry, Mix(server.seed ^ request_.prefix));
    size_t at = count_;
    while (at > 0 && entry.Before(best_[at - 1])) --at;
    if (at == best_.size()) return;
    count_ = std::min(count_ + 1, best_.size());
    std::copy_backward(best_.begin() + at, best_.begin() + count_ - 1, best_.begin() + count_);
    best_[at] = entry;
  }

  double others_ratio() const {
    return own_ > 0 ? static_cast<double>(others_) / static_cast<double>(own_) : 0.0;
  }

  // Best first.
  std::vector<Slot> Slots() const {
    std::vector<Slot> slots;
    if (OwnerIsGoodEnough()) slots.push_back(owner_.slot);
    for (size_t i = 0; i < count_ && slots.size() < best_.size(); ++i) {
      if (slots.empty() || best_[i].slot != slots.front()) slots.push_back(best_[i].slot);
    }
    return slots;
  }

 private:
  struct Entry {
    Slot slot = 0;
    bool full = false;
    int64_t load = 0;
    bool Before(const Entry& other) const {
      return full != other.full ? other.full : load < other.load;
    }
  };

  void SeeOwner(const Entry& entry, uint64_t weight) {
    if (has_owner_ && weight <= owner_weight_) return;
    has_owner_ = true;
    owner_weight_ = weight;
    owner_ = entry;
  }
  bool OwnerIsGoodEnough() const {
    return has_owner_ && owner_.full <= best_[0].full &&
           owner_.load - best_[0].load <= request_.prompt_tokens;
  }

  const std::vector<Server>& servers_;
  const double others_ratio_;
  const int64_t tokens_;
  const RouteRequest& request_;
  std::array<Entry, kPrefillChoices> best_;  // the first count_
  size_t count_ = 0;
  int64_t own_ = 0, others_ = 0;  // of all that were seen
  bool has_owner_ = false;
  uint64_t owner_weight_ = 0;
  Entry owner_;
};

ServerId Balancer::MakeId(Slot slot, uint32_t generation) {
  return ServerId{(uint64_t{generation} << 32) | slot};
}

std::optional<Balancer::Slot> Balancer::SlotOf(ServerId id) const {
  const auto slot = static_cast<Slot>(static_cast<uint64_t>(id));
  if (slot >= slots_.size() || MakeId(slot, slots_[slot].generation) != id) return std::nullopt;
  return slot;
}

ServerId Balancer::Add(ServerRole role, std::string_view name) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<Slot>(slots_.size()));
    slots_.emplace_back();
  }
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  Server& server = slots_[slot];
  const uint32_t generation = server.generation + 1;  // the first is 1: no id is 0
  server = Server();
  server.generation = generation;
  server.role = role;
  server.seed = XXH64(name.data(), name.size(), static_cast<uint64_t>(role));
  return MakeId(slot, generation);
}

void Balancer::Remove(ServerId id) {
  const std::optional<Slot> slot = SlotOf(id);
  if (!slot) return;
  Leave(slots_[*slot]);
  ++slots_[*slot].generation;
  free_slots_.push_back(*slot);
}

void Balancer::Update(ServerId id, const ServerReport& report) {
  const std::optional<Slot> slot = SlotOf(id);
  if (!slot) return;
  Server& server = slots_[*slot];
  if (server.group == nullptr || server.group->identity != report.identity) {
    Leave(server);
    Join(*slot, report.identity);
  }
  server.others = std::max<int64_t>(0, report.tokens_outstanding - server.own);
  server.free = report.tokens_free;
  server.own_reported = server.own;
}

void Balancer::Suspend(ServerId id) {
  if (const std::optional<Slot> slot = SlotOf(id)) Leave(slots_[*slot]);
}

void Balancer::Join(Slot slot, const std::string& identity) {
  Server& server = slots_[slot];
  Group& group = groups_[identity];
  group.identity = identity;
  std::vector<Slot>& members = group.members[static_cast<int>(server.role)];
  server.group = &group;
  server.place = members.size();
  members.push_back(slot);
}

void Balancer::Leave(Server& server) {
  Group* const group = server.group;
  if (group == nullptr) return;
  server.group = nullptr;
  std::vector<Slot>& members = group->members[static_cast<int>(server.role)];
  slots_[members.back()].place = server.place;
  members[server.place] = members.back();
  members.pop_back();
  if (group->members[0].empty() && group->members[1].empty()) {
    groups_.erase(groups_.find(group->identity));
  }
}

bool Balancer::Paired(ServerId id) const {
  const std::optional<Slot> slot = SlotOf(id);
  if (!slot || slots_[*slot].group == nullptr) return false;
  const Server& server = slots_[*slot];
  return !server.group->members[1 - static_cast<int>(server.role)].empty();
}

int64_t Balancer::OutstandingTokens(ServerId id) const {
  const std::optional<Slot> slot = SlotOf(id);
  return slot ? slots_[*slot].load(0.0) : 0;
}

Balancer::Ranking Balancer::MakeRanking(ServerRole role, int64_t tokens,
                                        const RouteRequest& request) const {
  return {slots_, others_ratio_[static_cast<int>(role)], tokens, request};
}

void Balancer::Rank(const Group& group, ServerRole role, std::optional<ServerId> exclude,
                    Ranking* ranking) const {
  const std::vector<Slot>& members = group.members[static_cast<int>(role)];
  const size_t first = turn_ % members.size();
  for (size_t i = 0; i < members.size(); ++i) {
    const size_t at = first + i < members.size() ? first + i : first + i - members.size();
    const Slot slot = members[at];
    if (exclude && MakeId(slot, slots_[slot].generation) == *exclude) continue;
    ranking->See(slot);
  }
}

std::optional<Route> Balancer::Choose(const RouteRequest& request, const std::string* identity,
                                      std::optional<ServerId> exclude) {
  if (!exclude) ++turn_;  // a retry is the same turn
  Ranking decodes = MakeRanking(ServerRole::kDecode, DecodeTokens(request), request);
  for (const auto& [key, group] : groups_) {
    if (identity != nullptr && key != *identity) continue;
    if (group.members[0].empty() || group.members[1].empty()) continue;
    Rank(group, ServerRole::kDecode, exclude, &decodes);
  }
  const std::vector<Slot> best = decodes.Slots();
  if (best.empty()) return std::nullopt;
  Server& decode = slots_[best.front()];
  Ranking prefills = MakeRanking(ServerRole::kPrefill, PrefillTokens(request), request);
  Rank(*decode.group, ServerRole::kPrefill, std::nullopt, &prefills);
  Route route;
  route.decode = MakeId(best.front(), decode.generation);
  const std::vector<Slot> ranked = prefills.Slots();
  for (const Slot slot : ranked) route.prefill.push_back(MakeId(slot, slots_[slot].generation));
  others_ratio_[static_cast<int>(ServerRole::kDecode)] = decodes.others_ratio();
  others_ratio_[static_cast<int>(ServerRole::kPrefill)] = prefills.others_ratio();
  decode.own += DecodeTokens(request);
  slots_[ranked.front()].own += PrefillTokens(request);
  return route;
}

void Balancer::Release(ServerId id, int64_t tokens) {
  if (const std::optional<Slot> slot = SlotOf(id)) slots_[*slot].own -= tokens;
}

}  // namespace lynx
