// Listens, and keeps the connections.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <memory>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "gateway/http_types.h"
#include "gateway/options.h"

namespace lynx {

class HttpConnection;

// `io` is run by the owner's threads; this must outlive their running. Methods: any thread.
class HttpServer {
 public:
  HttpServer(boost::asio::io_context* io, const HttpOptions& options, int retry_after_s,
             HttpHandler handler);
  ~HttpServer();

  // UNAVAILABLE: the address cannot be listened on.
  absl::Status Listen();
  uint16_t port() const { return port_; }

  // Accepts no more; connections close as soon as they are not answering.
  void Drain();
  void AbortAll();
  // False on timeout.
  bool WaitUntilEmpty(absl::Duration timeout);
  int64_t connections() const;

 private:
  boost::asio::awaitable<void> Accept();
  boost::asio::awaitable<void> Run(std::shared_ptr<HttpConnection> connection, bool refuse);
  bool EmptyLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return connections_.empty(); }

  boost::asio::io_context* const io_;
  const HttpOptions options_;
  const int retry_after_s_;
  const HttpHandler handler_;
  boost::asio::ip::tcp::acceptor acceptor_;
  uint16_t port_ = 0;

  mutable absl::Mutex mu_;
  absl::flat_hash_set<std::shared_ptr<HttpConnection>> connections_ ABSL_GUARDED_BY(mu_);
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace lynx
