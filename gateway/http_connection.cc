#include "gateway/http_connection.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "absl/strings/str_cat.h"
#include "gateway/api_error.h"

namespace lynx {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;

namespace {

std::string ToString(beast::string_view s) { return {s.data(), s.size()}; }

std::chrono::milliseconds Millis(absl::Duration d) { return absl::ToChronoMilliseconds(d); }

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response;
  response.status = error.http_status;
  if (error.retry_after_s > 0) {
    response.headers.emplace_back("Retry-After", absl::StrCat(error.retry_after_s));
  }
  response.body = ToJson(error);
  return response;
}

}  // namespace

HttpConnection::HttpConnection(asio::ip::tcp::socket socket, const HttpOptions& options,
                               const HttpHandler& handler)
    : stream_(std::move(socket)),
      executor_(stream_.get_executor()),
      options_(options),
      handler_(handler) {
  error_code ignored;
  stream_.socket().set_option(asio::ip::tcp::no_delay(true), ignored);
}

asio::awaitable<void> HttpConnection::Serve() {
  for (bool first = true; co_await ReadRequest(first); first = false) {
    co_await handler_(*this);
    StopWatching();
    if (gone_ || !keep_alive_ || draining_) break;
  }
  co_await LingeringClose();
}

asio::awaitable<bool> HttpConnection::ReadRequest(bool first) {
  Parser parser;
  parser.header_limit(options_.max_header_bytes);
  parser.body_limit(options_.max_body_bytes);
  headers_.clear();
  keep_alive_ = false;  // for errors until the request is read
  head_ = false;
  status_ = 0;
  if (draining_) co_return false;
  error_code error;
  stream_.expires_after(Millis(first ? options_.header_timeout : options_.keep_alive_timeout));
  reading_ = true;
  co_await http::async_read_header(stream_, buffer_, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  reading_ = false;
  if (!error) {
    if (co_await ReadBody(parser)) co_return true;
    co_return false;
  }
  co_await RefuseMalformed(error);
  co_return false;
}

asio::awaitable<bool> HttpConnection::ReadBody(Parser& parser) {
  error_code error;
  stream_.expires_after(Millis(options_.body_timeout));
  if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    if (!co_await WriteRaw("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
    stream_.expires_after(Millis(options_.body_timeout));
  }
  co_await http::async_read(stream_, buffer_, parser,
                            asio::redirect_error(asio::use_awaitable, error));
  stream_.expires_never();
  if (error) {
    co_await RefuseMalformed(error);
    co_return false;
  }
  TakeRequest(parser);
  co_return true;
}

void HttpConnection::TakeRequest(Parser& parser) {
  auto message = parser.release();
  version_ = message.version();
  keep_alive_ = message.keep_alive();
  head_ = message.method() == http::verb::head;
  request_.method = ToString(message.method_string());
  request_.path = ToString(message.target().substr(0, message.target().find('?')));
  request_.authorization = ToString(message[http::field::authorization]);
  request_.request_id_header = ToString(message["X-Request-Id"]);
  request_.trace_parent = ToString(message["traceparent"]);
  request_.trace_state = ToString(message["tracestate"]);
  request_.body = std::move(message.body());
}

// Says what was wrong if there is someone to hear it.
asio::awaitable<void> HttpConnection::RefuseMalformed(error_code error) {
  ApiError out;
  out.type = "invalid_request_error";
  if (error == http::error::body_limit) {
    out.http_status = 413;
    out.message = absl::StrCat("The body is larger than ", options_.max_body_bytes, " bytes.");
  } else if (error == http::error::header_limit) {
    out.http_status = 431;
    out.message = absl::StrCat("The header is larger than ", options_.max_header_bytes, " bytes.");
  } else if (error == beast::error::timeout || error == http::error::end_of_stream ||
             error == http::error::partial_message ||
             error.category() != make_error_code(http::error::bad_method).category()) {
    co_return;  // closed, timed out or broken: nobody waits for an answer
  } else {
    out.http_status = 400;
    out.message = absl::StrCat("The request is not valid HTTP: ", error.message());
  }
  stream_.expires_after(Millis(options_.write_timeout));
  co_await Reply(ErrorResponse(out));
}

asio::awaitable<void> HttpConnection::RefuseBusy(int retry_after_s) {
  ApiError error;
  error.http_status = 503;
  error.type = "overloaded_error";
  error.message = "The server has too many connections.";
  error.retry_after_s = retry_after_s;
  co_await Reply(ErrorResponse(error));
  co_await LingeringClose();
}

// Closing with unread input resets the connection, and the client may lose an answer that is on its
// way: input is read and dropped until the client closes, for a bounded time and amount.
asio::awaitable<void> HttpConnection::LingeringClose() {
  error_code error;
  stream_.socket().shutdown(asio::ip::tcp::socket::shutdown_send, error);
  constexpr size_t kDropBytesMax = 64 * 1024 * 1024;
  char drop[16 * 1024];
  stream_.expires_after(std::chrono::seconds(2));
  for (size_t dropped = 0; !error && !gone_ && dropped < kDropBytesMax;) {
    dropped += co_await stream_.async_read_some(asio::buffer(drop),
                                                asio::redirect_error(asio::use_awaitable, error));
  }
  CloseSocket();
}

void HttpConnection::AddHeader(std::string name, std::string value) {
  headers_.emplace_back(std::move(name), std::move(value));
}

template <typename Message>
void HttpConnection::SetHeaders(Message* message) const {
  message->set(http::field::server, "lynx");
  for (const auto& [name, value] : headers_) message->set(name, value);
  message->keep_alive(keep_alive_ && !draining_);
}

asio::awaitable<void> HttpConnection::Reply(HttpResponse response) {
  StopWatching();
  status_ = response.status;
  http::response<http::string_body> message(static_cast<http::status>(response.status), version_);
  message.set(http::field::content_type, response.content_type);
  SetHeaders(&message);
  for (const auto& [name, value] : response.headers) message.set(name, value);
  message.body() = std::move(response.body);
  message.prepare_payload();
  error_code error;
  stream_.expires_after(Millis(options_.write_timeout));
  http::response_serializer<http::string_body> serializer(message);
  if (head_) {
    co_await http::async_write_header(stream_, serializer,
                                      asio::redirect_error(asio::use_awaitable, error));
  } else {
    co_await http::async_write(stream_, serializer,
                               asio::redirect_error(asio::use_awaitable, error));
  }
  stream_.expires_never();
  gone_ |= static_cast<bool>(error);
}

asio::awaitable<bool> HttpConnection::StartEvents() {
  status_ = 200;
  http::response<http::empty_body> message(http::status::ok, version_);
  message.set(http::field::content_type, "text/event-stream");
  message.set(http::field::cache_control, "no-cache");
  message.set("X-Accel-Buffering", "no");  // proxies would collect the events
  chunked_ = version_ >= 11;
  keep_alive_ = keep_alive_ && chunked_;
  SetHeaders(&message);
  message.chunked(chunked_);
  error_code error;
  stream_.expires_after(Millis(options_.write_timeout));
  http::response_serializer<http::empty_body> serializer(message);
  co_await http::async_write_header(stream_, serializer,
                                    asio::redirect_error(asio::use_awaitable, error));
  gone_ |= static_cast<bool>(error);
  co_return !gone_;
}

asio::awaitable<bool> HttpConnection::SendEvent(std::string_view data) {
  constexpr size_t kFrame = sizeof("data: \n\n") - 1;
  const absl::string_view payload(data.data(), data.size());
  if (!chunked_) co_return co_await WriteRaw(absl::StrCat("data: ", payload, "\n\n"));
  co_return co_await WriteRaw(
      absl::StrCat(absl::Hex(data.size() + kFrame), "\r\ndata: ", payload, "\n\n\r\n"));
}

asio::awaitable<bool> HttpConnection::EndEvents() {
  StopWatching();
  if (!co_await SendEvent("[DONE]")) co_return false;
  const bool ok = !chunked_ || co_await WriteRaw("0\r\n\r\n");
  stream_.expires_never();
  co_return ok;
}

asio::awaitable<bool> HttpConnection::WriteRaw(std::string data) {
  if (gone_) co_return false;
  error_code error;
  stream_.expires_after(Millis(options_.write_timeout));
  co_await asio::async_write(stream_, asio::buffer(data),
                             asio::redirect_error(asio::use_awaitable, error));
  gone_ |= static_cast<bool>(error);
  co_return !gone_;
}

// Readable with nothing to read means that the client closed. A client that sends its next request
// early is no longer watched: a write tells us.
void HttpConnection::WatchDisconnect(std::function<void()> on_gone) {
  on_gone_ = std::move(on_gone);
  if (buffer_.size() > 0) return;
  stream_.socket().async_wait(asio::ip::tcp::socket::wait_read,
                              [self = shared_from_this()](error_code error) {
                                if (error == asio::error::operation_aborted) return;
                                error_code ignored;
                                if (!error && self->stream_.socket().available(ignored) > 0) return;
                                if (!self->on_gone_) return;
                                self->gone_ = true;
                                std::exchange(self->on_gone_, nullptr)();
                              });
}

void HttpConnection::StopWatching() {
  if (!on_gone_) return;
  on_gone_ = nullptr;
  error_code ignored;
  if (stream_.socket().is_open()) stream_.socket().cancel(ignored);
}

void HttpConnection::Drain() {
  draining_ = true;
  asio::post(executor_, [self = shared_from_this()] {
    if (self->reading_) self->CloseSocket();
  });
}

void HttpConnection::Abort() {
  draining_ = true;
  asio::post(executor_, [self = shared_from_this()] {
    self->gone_ = true;
    if (self->on_gone_) std::exchange(self->on_gone_, nullptr)();
    self->CloseSocket();
  });
}

void HttpConnection::CloseSocket() {
  error_code ignored;
  stream_.socket().close(ignored);
}

}  // namespace lynx
