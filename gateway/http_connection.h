// One client connection: reads requests one after the other and has each answered.
#pragma once

#include <atomic>
#include <boost/asio/strand.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <memory>

#include "gateway/http_types.h"
#include "gateway/options.h"

namespace lynx {

// Everything but Drain and Abort runs on the socket's executor, a strand.
class HttpConnection : public std::enable_shared_from_this<HttpConnection>, private HttpExchange {
 public:
  // `options` and `handler` outlive this.
  HttpConnection(boost::asio::ip::tcp::socket socket, const HttpOptions& options,
                 const HttpHandler& handler);

  boost::asio::any_io_executor strand() const { return executor_; }
  // Serves until the client or Drain ends it.
  boost::asio::awaitable<void> Serve();
  // Answers 503 without looking at the request.
  boost::asio::awaitable<void> RefuseBusy(int retry_after_s);

  // Any thread. Closes once the request that is being answered is done; at once if there is none.
  void Drain();
  // Any thread. Closes now.
  void Abort();

 private:
  using Strand = boost::asio::any_io_executor;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  // HttpExchange
  const HttpRequest& request() const override { return request_; }
  boost::asio::any_io_executor executor() const override { return executor_; }
  void AddHeader(std::string name, std::string value) override;
  boost::asio::awaitable<void> Reply(HttpResponse response) override;
  boost::asio::awaitable<bool> StartEvents() override;
  boost::asio::awaitable<bool> SendEvent(std::string_view data) override;
  boost::asio::awaitable<bool> EndEvents() override;
  void WatchDisconnect(std::function<void()> on_gone) override;
  int status() const override { return status_; }

  // False: the connection is over.
  boost::asio::awaitable<bool> ReadRequest(bool first);
  boost::asio::awaitable<bool> ReadBody(Parser& parser);
  boost::asio::awaitable<void> RefuseMalformed(boost::system::error_code error);
  boost::asio::awaitable<void> LingeringClose();
  boost::asio::awaitable<bool> WriteRaw(std::string data);
  template <typename Message>
  void SetHeaders(Message* message) const;
  void TakeRequest(Parser& parser);
  void StopWatching();
  void CloseSocket();

  boost::beast::tcp_stream stream_;
  const Strand executor_;
  const HttpOptions& options_;
  const HttpHandler& handler_;
  boost::beast::flat_buffer buffer_;

  HttpRequest request_;
  HttpHeaders headers_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_ = false;     // a HEAD request: no body goes out
  bool chunked_ = false;  // the event stream's framing; HTTP/1.0 has none
  int status_ = 0;
  bool gone_ = false;
  std::function<void()> on_gone_;
  bool reading_ = false;  // waits for a request
  std::atomic<bool> draining_{false};
};

}  // namespace lynx
