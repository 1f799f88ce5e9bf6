#include "runtime/metrics_server.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <list>
#include <thread>
#include <utility>

#include "runtime/log.h"

namespace lynx {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr uint32_t kHeaderBytesMax = 8 << 10;
// Connections that wait to be taken: a flood must not make a scrape wait for its second SYN.
constexpr int kBacklog = 4096;
constexpr std::chrono::milliseconds kAcceptPause{50};

// One request and its answer. Lives as long as an operation of it is going on.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, const MetricsServerOptions& options,
             const std::function<std::string()>& text)
      : options_(options), text_(text), stream_(std::move(socket)) {
    parser_.header_limit(kHeaderBytesMax);
  }

  // `ended` is called once, when nothing more will happen.
  void Start(std::function<void()> ended) {
    ended_ = std::move(ended);
    stream_.expires_after(options_.request_timeout);
    http::async_read_header(
        stream_, buffer_, parser_,
        [self = shared_from_this()](error_code error, size_t) { self->OnRequest(error); });
  }

  void Cut() { stream_.close(); }

 private:
  void OnRequest(error_code error) {
    if (error) return ended_();
    const http::request<http::empty_body>& request = parser_.get();
    const beast::string_view path = request.target().substr(0, request.target().find('?'));
    answer_.version(request.version());
    answer_.keep_alive(false);
    if (request.method() == http::verb::get && path == "/metrics") {
      answer_.set(http::field::content_type, "text/plain; version=0.0.4; charset=utf-8");
      answer_.body() = text_();
    } else {
      answer_.result(http::status::not_found);
      answer_.set(http::field::content_type, "text/plain; charset=utf-8");
      answer_.body() = "There is GET /metrics, and nothing else.\n";
    }
    answer_.prepare_payload();
    stream_.expires_after(options_.answer_timeout);
    http::async_write(stream_, answer_, [self = shared_from_this()](error_code, size_t) {
      error_code ignored;
      self->stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
      self->ended_();
    });
  }

  const MetricsServerOptions& options_;
  const std::function<std::string()>& text_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_{kHeaderBytesMax};
  http::request_parser<http::empty_body> parser_;
  http::response<http::string_body> answer_;
  std::function<void()> ended_;
};

class MetricsServerImpl final : public MetricsServer {
 public:
  MetricsServerImpl(const MetricsServerOptions& options, std::function<std::string()> text)
      : options_(options), text_(std::move(text)), acceptor_(io_), pause_(io_) {}

  ~MetricsServerImpl() override {
    if (!thread_.joinable()) return;
    asio::post(io_, [this] { CutAll(); });
    thread_.join();
  }

  absl::Status Listen() {
    error_code error;
    const auto address = asio::ip::make_address(options_.listen_address, error);
    if (error) {
      return absl::InvalidArgumentError(
          absl::StrCat("metrics: \"", options_.listen_address, "\" is no IP address"));
    }
    const tcp::endpoint endpoint(address, static_cast<uint16_t>(options_.port));
    acceptor_.open(endpoint.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(endpoint, error);
    if (!error) acceptor_.listen(kBacklog, error);
    if (error) {
      return absl::UnavailableError(absl::StrCat("cannot listen for metrics on ",
                                                 options_.listen_address, ":", options_.port, ": ",
                                                 error.message()));
    }
    port_ = acceptor_.local_endpoint().port();
    Accept();
    thread_ = std::thread([this] { io_.run(); });  // ends when nothing is open any more
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  void Accept() {
    acceptor_.async_accept([this](error_code error, tcp::socket socket) {
      if (!acceptor_.is_open()) return;
      if (error) return AcceptLater(error);
      Take(std::move(socket));
      Accept();
    });
  }

  // Out of file descriptors, say: not in a busy loop.
  void AcceptLater(error_code error) {
    spdlog::warn("metrics_accept_failed reason={}", LogValue(error.message()));
    pause_.expires_after(kAcceptPause);
    pause_.async_wait([this](error_code cancelled) {
      if (!cancelled && acceptor_.is_open()) Accept();
    });
  }

  void Take(tcp::socket socket) {
    if (open_.size() >= options_.connections_max) {
      open_.front()->Cut();
      open_.pop_front();
    }
    open_.push_back(std::make_shared<Connection>(std::move(socket), options_, text_));
    const Connection* connection = open_.back().get();
    open_.back()->Start([this, connection] {
      open_.remove_if([&](const auto& open) { return open.get() == connection; });
    });
  }

  void CutAll() {
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& connection : open_) connection->Cut();
  }

  const MetricsServerOptions options_;
  const std::function<std::string()> text_;
  int port_ = 0;

  // The thread's from here on.
  asio::io_context io_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::list<std::shared_ptr<Connection>> open_;  // oldest first

  std::thread thread_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(
    const MetricsServerOptions& options, std::function<std::string()> text) {
  auto server = std::make_unique<MetricsServerImpl>(options, std::move(text));
  RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace lynx
