// Bringing two ranks together.
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "fake_nccl_world.h"

namespace fake_nccl {
namespace {

socklen_t FillAddress(const std::string& name, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  const size_t n = std::min(name.size(), sizeof(address->sun_path) - 1);
  std::copy_n(name.data(), n, address->sun_path + 1);
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + n);
}

int OpenSocket() { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

int Accept(ncclComm* c) { return ::accept4(c->listener, nullptr, nullptr, SOCK_NONBLOCK); }

int Connect(ncclComm* c) {
  sockaddr_un address;
  const socklen_t length = FillAddress(c->address, &address);
  const int fd = OpenSocket();
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0) return fd;
  ::close(fd);
  return -1;
}

void SendHello(ncclComm* c, int fd, bool is_notes) {
  const Hello hello{c->issuer, c->traffic_class, is_notes};
  if (::send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) {
    c->Break(ncclRemoteError, "the peer left during initialisation");
  }
}

// True when the peer's hello is in.
bool ReadHello(ncclComm* c, int fd, bool is_notes) {
  Hello hello;
  const ssize_t n = ::recv(fd, &hello, sizeof(hello), MSG_DONTWAIT);
  if (n < 0 && errno == EAGAIN) return false;
  if (n != sizeof(hello) || hello.is_notes != is_notes) {
    c->Break(ncclRemoteError, "the peer left during initialisation");
    return false;
  }
  if (hello.traffic_class != c->traffic_class) {
    Count(&Violations::config, "the two ranks differ in trafficClass");
    c->Break(ncclInvalidArgument, "the two ranks differ in trafficClass");
  }
  c->peer_issuer = hello.issuer;
  return true;
}

}  // namespace

bool Listen(ncclComm* c) {
  sockaddr_un address;
  const socklen_t length = FillAddress(c->address, &address);
  c->listener = OpenSocket();
  return ::bind(c->listener, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
         ::listen(c->listener, 4) == 0;
}

// `data`, then `notes`: each is opened, then greeted.
void StepInit(ncclComm* c) {
  if (c->hangs || Delayed(2)) return;
  for (int* fd : {&c->data, &c->notes}) {
    const bool is_notes = fd == &c->notes;
    if (*fd >= 0) continue;
    const int opened = c->rank == 0 ? Accept(c) : Connect(c);
    if (opened < 0) return;
    *fd = opened;
    SendHello(c, opened, is_notes);
  }
  // One hello on each connection; `up` says that both are in.
  if (c->peer_issuer == 0 && !ReadHello(c, c->data, false)) return;
  if (!ReadHello(c, c->notes, true)) return;
  if (c->listener >= 0) ::close(std::exchange(c->listener, -1));
  c->up = true;
  if (c->state == ncclInProgress) c->state = ncclSuccess;
}

}  // namespace fake_nccl
