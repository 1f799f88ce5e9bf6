#include "gateway/name_watch.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <cstring>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace lynx {
namespace {

struct HostPort {
  std::string host;  // without the brackets of IPv6
  std::string port;
};

// "host:port" or "[::1]:port", as the configuration's check has seen to.
HostPort Split(const std::string& server) {
  const size_t colon = server.rfind(':');
  std::string host = server.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return {std::move(host), server.substr(colon + 1)};
}

std::string Join(const std::string& host, const std::string& port) {
  const bool v6 = host.find(':') != std::string::npos;
  return v6 ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

bool IsNumeric(const std::string& host) {
  in6_addr any{};
  return ::inet_pton(AF_INET, host.c_str(), &any) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

}  // namespace

struct NameWatch::State {
  struct Entry {
    std::vector<std::string> addresses;
    std::string problem;
    friend bool operator==(const Entry& a, const Entry& b) {
      return a.addresses == b.addresses && a.problem == b.problem;
    }
  };

  // False: the watch has ended.
  bool Learn(const std::string& server, absl::StatusOr<std::vector<std::string>> hosts);
  void Tell() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  void Watch(const std::string& server, absl::Duration interval, const Lookup& lookup);

  absl::Mutex mu;
  bool stop ABSL_GUARDED_BY(mu) = false;
  std::map<std::string, Entry> entries ABSL_GUARDED_BY(mu);  // by the configuration's words
  OnChange changed ABSL_GUARDED_BY(mu);
};

void NameWatch::State::Tell() {
  std::set<std::string> addresses;
  std::string problems;
  for (const auto& [server, entry] : entries) {
    addresses.insert(entry.addresses.begin(), entry.addresses.end());
    if (entry.problem.empty()) continue;
    absl::StrAppend(&problems, problems.empty() ? "" : ", ", entry.problem);
  }
  changed({addresses.begin(), addresses.end()}, problems);
}

bool NameWatch::State::Learn(const std::string& server,
                             absl::StatusOr<std::vector<std::string>> hosts) {
  absl::MutexLock lock(&mu);
  if (stop) return false;
  Entry& entry = entries[server];
  Entry next;
  if (hosts.ok()) {
    for (const std::string& host : *hosts) {
      next.addresses.push_back(Join(host, Split(server).port));
    }
  } else {
    if (!absl::IsNotFound(hosts.status())) next.addresses = entry.addresses;
    next.problem = absl::StrCat(server, ": ", hosts.status().message());
  }
  if (next == entry) return true;
  entry = std::move(next);
  Tell();
  return true;
}

void NameWatch::State::Watch(const std::string& server, absl::Duration interval,
                             const Lookup& lookup) {
  while (Learn(server, lookup(Split(server).host))) {
    absl::MutexLock lock(&mu);
    mu.AwaitWithTimeout(absl::Condition(&stop), interval);
  }
}

NameWatch::NameWatch(const std::vector<std::string>& servers, absl::Duration interval,
                     const Lookup& lookup, OnChange changed)
    : state_(std::make_shared<State>()) {
  std::set<std::string> names;
  {
    absl::MutexLock lock(&state_->mu);
    state_->changed = std::move(changed);
    for (const std::string& server : servers) {
      const auto [host, port] = Split(server);
      State::Entry& entry = state_->entries[server];
      if (IsNumeric(host)) {
        entry.addresses = {Join(host, port)};
      } else {
        entry.problem = absl::StrCat(server, ": the name has not been looked up yet");
        names.insert(server);
      }
    }
    state_->Tell();
  }
  for (const std::string& name : names) {
    std::thread([state = state_, name, interval, lookup] {
      state->Watch(name, interval, lookup);
    }).detach();
  }
}

NameWatch::~NameWatch() {
  absl::MutexLock lock(&state_->mu);
  state_->stop = true;
  state_->changed = nullptr;  // what it refers to may go
}

absl::StatusOr<std::vector<std::string>> LookUpHost(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error == EAI_NONAME || error == EAI_NODATA) {
    return absl::NotFoundError("the name does not resolve");
  }
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("the name cannot be looked up: ", ::gai_strerror(error)));
  }
  std::vector<std::string> hosts;
  for (const addrinfo* a = list; a != nullptr; a = a->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) ==
        0) {
      hosts.emplace_back(text);
    }
  }
  ::freeaddrinfo(list);
  return hosts;
}

}  // namespace lynx
