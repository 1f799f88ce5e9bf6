#include "gateway/http_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "absl/strings/str_cat.h"
#include "gateway/http_connection.h"
#include "runtime/log.h"

namespace lynx {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

HttpServer::HttpServer(asio::io_context* io, const HttpOptions& options, int retry_after_s,
                       HttpHandler handler)
    : io_(io),
      options_(options),
      retry_after_s_(retry_after_s),
      handler_(std::move(handler)),
      acceptor_(asio::make_strand(*io)) {}

HttpServer::~HttpServer() = default;

absl::Status HttpServer::Listen() {
  error_code error;
  const auto address = asio::ip::make_address(options_.listen_address, error);
  if (error) {
    return absl::InvalidArgumentError(
        absl::StrCat("gateway: listen_address \"", options_.listen_address, "\" is no IP address"));
  }
  const tcp::endpoint endpoint(address, options_.port);
  acceptor_.open(endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(endpoint, error);
  if (!error) acceptor_.listen(4096, error);
  if (error) {
    return absl::UnavailableError(absl::StrCat("cannot listen on ", options_.listen_address, ":",
                                               options_.port, ": ", error.message()));
  }
  port_ = acceptor_.local_endpoint().port();
  asio::co_spawn(acceptor_.get_executor(), Accept(), asio::detached);
  return absl::OkStatus();
}

asio::awaitable<void> HttpServer::Accept() {
  while (acceptor_.is_open()) {
    error_code error;
    tcp::socket socket = co_await acceptor_.async_accept(
        asio::make_strand(*io_), asio::redirect_error(asio::use_awaitable, error));
    if (error == asio::error::operation_aborted) break;
    if (error) {
      // Out of file descriptors, say: existing connections must go on and free some.
      spdlog::warn("accept failed reason={}", LogValue(error.message()));
      asio::steady_timer pause(co_await asio::this_coro::executor, std::chrono::milliseconds(50));
      co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      continue;
    }
    auto connection = std::make_shared<HttpConnection>(std::move(socket), options_, handler_);
    bool refuse;
    {
      absl::MutexLock lock(&mu_);
      if (draining_) break;
      refuse = static_cast<int64_t>(connections_.size()) >= options_.max_connections;
      connections_.insert(connection);
    }
    asio::co_spawn(connection->strand(), Run(connection, refuse), asio::detached);
  }
}

asio::awaitable<void> HttpServer::Run(std::shared_ptr<HttpConnection> connection, bool refuse) {
  try {
    if (refuse) {
      co_await connection->RefuseBusy(retry_after_s_);
    } else {
      co_await connection->Serve();
    }
  } catch (const std::exception& e) {  // of the libraries: memory, an unusable socket
    spdlog::error("connection failed reason={}", LogValue(e.what()));
  }
  absl::MutexLock lock(&mu_);
  connections_.erase(connection);
}

void HttpServer::Drain() {
  asio::post(acceptor_.get_executor(), [this] {
    error_code ignored;
    acceptor_.close(ignored);
  });
  absl::MutexLock lock(&mu_);
  draining_ = true;
  for (const auto& connection : connections_) connection->Drain();
}

void HttpServer::AbortAll() {
  absl::MutexLock lock(&mu_);
  for (const auto& connection : connections_) connection->Abort();
}

bool HttpServer::WaitUntilEmpty(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  return mu_.AwaitWithTimeout(absl::Condition(this, &HttpServer::EmptyLocked), timeout);
}

int64_t HttpServer::connections() const {
  absl::MutexLock lock(&mu_);
  return static_cast<int64_t>(connections_.size());
}

}  // namespace lynx
