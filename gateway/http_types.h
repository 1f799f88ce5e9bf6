// HTTP as the handlers see it, without the library underneath.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lynx {

struct HttpRequest {
  std::string method;
  std::string path;  // without the query
  std::string body;
  std::string authorization, request_id_header;
  std::string trace_parent, trace_state;  // the W3C trace context's headers
};

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  HttpHeaders headers;
};

// One request being answered: by one Reply, or by StartEvents, SendEvent ..., EndEvents. Used by
// one coroutine on executor(), a strand.
class HttpExchange {
 public:
  virtual ~HttpExchange() = default;

  virtual const HttpRequest& request() const = 0;
  virtual boost::asio::any_io_executor executor() const = 0;

  // Headers that every answer to this request carries.
  virtual void AddHeader(std::string name, std::string value) = 0;

  virtual boost::asio::awaitable<void> Reply(HttpResponse response) = 0;

  // Server-sent events. Each returns false once the client is gone or takes nothing any more.
  // `data` holds no newline.
  virtual boost::asio::awaitable<bool> StartEvents() = 0;
  virtual boost::asio::awaitable<bool> SendEvent(std::string_view data) = 0;
  virtual boost::asio::awaitable<bool> EndEvents() = 0;

  // `on_gone` is called at most once, on executor(), if the client closes before the answer is
  // complete.
  virtual void WatchDisconnect(std::function<void()> on_gone) = 0;

  // The status that was sent; 0: none yet.
  virtual int status() const = 0;
};

using HttpHandler = std::function<boost::asio::awaitable<void>(HttpExchange&)>;

}  // namespace lynx
