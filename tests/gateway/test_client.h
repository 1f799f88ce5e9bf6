// A small blocking HTTP client.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lynx {

struct TestReply {
  int status = 0;
  std::string body;
  boost::beast::http::fields headers;

  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
  std::string header(const char* name) const { return std::string(headers[name]); }
  // The payloads of an event stream.
  std::vector<std::string> events() const {
    std::vector<std::string> out;
    for (size_t at = 0; at < body.size();) {
      const size_t end = body.find("\n\n", at);
      if (end == std::string::npos || body.compare(at, 6, "data: ") != 0) {
        out.push_back("malformed: " + body.substr(at));
        break;
      }
      out.push_back(body.substr(at + 6, end - at - 6));
      at = end + 2;
    }
    return out;
  }
};

class TestClient {
 public:
  explicit TestClient(uint16_t port) : socket_(io_) {
    boost::system::error_code error;
    socket_.connect({boost::asio::ip::address_v4::loopback(), port}, error);
    connected_ = !error;
  }

  bool connected() const { return connected_; }
  boost::asio::ip::tcp::socket& socket() { return socket_; }

  void SendRaw(const std::string& data) {
    boost::system::error_code ignored;
    boost::asio::write(socket_, boost::asio::buffer(data), ignored);
  }
  void Send(const std::string& method, const std::string& path, const std::string& body = "",
            const std::string& headers = "") {
    SendRaw(method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + headers +
            "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }
  // status 0: the connection ended first.
  TestReply Read() {
    boost::system::error_code error;
    boost::beast::http::response_parser<boost::beast::http::string_body> parser;
    parser.body_limit(boost::none);
    boost::beast::http::read(socket_, buffer_, parser, error);
    TestReply reply;
    if (error) return reply;
    reply.status = static_cast<int>(parser.get().result_int());
    reply.body = parser.get().body();
    reply.headers = parser.get().base();
    return reply;
  }
  TestReply Call(const std::string& method, const std::string& path, const std::string& body = "",
                 const std::string& headers = "") {
    Send(method, path, body, headers);
    return Read();
  }
  // Reads until `text` has come; what was read stays for Read.
  bool ReadUntil(const std::string& text) {
    for (;;) {
      const auto data = buffer_.data();
      const std::string_view seen(static_cast<const char*>(data.data()), data.size());
      if (seen.find(text) != std::string_view::npos) return true;
      boost::system::error_code error;
      const size_t n = socket_.read_some(buffer_.prepare(4096), error);
      if (error) return false;
      buffer_.commit(n);
    }
  }

 private:
  boost::asio::io_context io_;
  boost::asio::ip::tcp::socket socket_;
  boost::beast::flat_buffer buffer_;
  bool connected_ = false;
};

}  // namespace lynx
