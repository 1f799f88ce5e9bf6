// The control connection of one NCCL session: whole messages over a non-blocking socket. Belongs to
// the issuing thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/status.h"
#include "runtime/unique_fd.h"
#include "transfer/nccl_message.h"

namespace lynx {

class NcclLink {
 public:
  explicit NcclLink(UniqueFd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_.get(); }
  uint32_t wanted_events() const;  // of epoll

  // Sends what the socket takes, keeps the rest. RESOURCE_EXHAUSTED: the peer reads nothing.
  absl::Status Send(const NcclMessage& message);
  absl::Status Flush();
  // Takes in what has come. UNAVAILABLE when the peer is gone; what came before can still be taken.
  absl::Status Receive();
  // The oldest message that is in whole; nullopt: none.
  absl::StatusOr<std::optional<NcclMessage>> Next();

 private:
  UniqueFd fd_;
  std::vector<std::byte> out_;
  std::vector<std::byte> in_;
};

}  // namespace lynx
