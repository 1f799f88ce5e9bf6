// Which servers a request goes to. Bookkeeping alone: no I/O, no clock, no lock.
//
// Load is counted in outstanding tokens, not in requests: on a decode server the prompt and the
// tokens that may be generated, which is what memory is reserved for until the request ends; on a
// prefill server the prompt, until its first token is there. A server's load is what this gateway
// has under way there, which is always up to date, and what others have: what the server's last
// report holds beyond our own, and, since then, in proportion to what we sent there. Without that
// guess each gateway would fill up a server that joins by itself, and all together overload it.
//
// A request goes to the least loaded server that has room for it. A prompt's first pages name one
// server of each role that probably still holds them (rendezvous hashing: all gateways agree, and a
// server that joins or leaves moves only its own share). That one is taken if it is ahead of the
// least loaded one by no more than the prompt: waiting longer costs more than it can save.
//
// Cost: a pass over the servers of one identity, a few ns each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"

namespace lynx {

enum class ServerRole { kPrefill, kDecode };

// Never given to a second server.
enum class ServerId : uint64_t {};

// What a server said of itself.
struct ServerReport {
  std::string identity;            // only servers of equal identity work together
  int64_t tokens_outstanding = 0;  // of all gateways
  int64_t tokens_free = 0;         // that its free memory holds
};

struct RouteRequest {
  int64_t prompt_tokens = 0;
  int64_t max_tokens = 0;  // to be generated
  uint64_t prefix = 0;     // of the prompt's first pages (PrefixHash); 0: they name no server
};

struct Route {
  ServerId decode{};
  std::vector<ServerId> prefill;  // at least one, best first
};

// Of the first pages of a prompt; 0 if it has no full page.
uint64_t PrefixHash(absl::Span<const int32_t> prompt);

// Threads: one at a time.
class Balancer {
 public:
  // Prefill servers of a route: the first is meant, the others are for when it is gone or full.
  static constexpr size_t kPrefillChoices = 3;

  // `first_turn`: equals take turns, beginning here; different in every gateway.
  explicit Balancer(uint64_t first_turn = 0) : turn_(first_turn) {}

  // `name`: equal in all gateways. The server is in rotation once it has reported.
  ServerId Add(ServerRole role, std::string_view name);
  void Remove(ServerId id);

  // In rotation, as reported.
  void Update(ServerId id, const ServerReport& report);
  // Out of rotation until it reports again; what is under way there stays counted.
  void Suspend(ServerId id);

  // A decode server, not `exclude`, and prefill servers of the same identity, of `identity` if
  // given. Counted as outstanding on the decode server and on prefill[0] until they are released.
  // Nothing: there are none.
  std::optional<Route> Choose(const RouteRequest& request, const std::string* identity,
                              std::optional<ServerId> exclude);
  // Ends what Choose counted: DecodeTokens or PrefillTokens of its request. The server may be gone.
  void Release(ServerId id, int64_t tokens);
  static int64_t DecodeTokens(const RouteRequest& r) { return r.prompt_tokens + r.max_tokens; }
  static int64_t PrefillTokens(const RouteRequest& r) { return r.prompt_tokens; }

  // In rotation, beside a server of the other role and the same identity.
  bool Paired(ServerId id) const;
  int64_t OutstandingTokens(ServerId id) const;  // own and others', as reported
  size_t servers() const { return slots_.size() - free_slots_.size(); }
  size_t identities() const { return groups_.size(); }  // in rotation

 private:
  using Slot = uint32_t;

  // Servers in rotation that work together.
  struct Group {
    std::string identity;
    std::vector<Slot> members[2];  // [role]
  };
  struct Server {
    uint32_t generation = 0;  // of the slot's use
    ServerRole role = ServerRole::kPrefill;
    uint64_t seed = 0;         // of its name
    Group* group = nullptr;    // null: out of rotation
    size_t place = 0;          // in the group's members
    int64_t own = 0;           // tokens under way
    int64_t others = 0;        // of other gateways, as last reported
    int64_t free = 0;          // tokens, as last reported
    int64_t own_reported = 0;  // `own` at that time

    // `ratio`: of others' tokens to ours.
    int64_t load(double ratio) const {
      constexpr double kGuessMax = 1e15;  // what is beyond says nothing, and must fit the sum
      const auto sent = static_cast<double>(std::max<int64_t>(0, own - own_reported));
      return own + others + static_cast<int64_t>(std::min(ratio * sent, kGuessMax));
    }
    bool HasRoom(int64_t tokens) const { return free - (own - own_reported) >= tokens; }
  };
  class Ranking;

  static ServerId MakeId(Slot slot, uint32_t generation);
  std::optional<Slot> SlotOf(ServerId id) const;  // nothing: it is gone
  void Join(Slot slot, const std::string& identity);
  void Leave(Server& server);
  Ranking MakeRanking(ServerRole role, int64_t tokens, const RouteRequest& request) const;
  void Rank(const Group& group, ServerRole role, std::optional<ServerId> exclude,
            Ranking* ranking) const;

  std::vector<Server> slots_;
  std::vector<Slot> free_slots_;
  std::map<std::string, Group> groups_;  // by identity; none is empty
  uint64_t turn_;
  double others_ratio_[2] = {0.0, 0.0};  // [role]: others' tokens for each of ours, just now
};

}  // namespace lynx
