#include "gateway/server.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <optional>
#include <thread>

#include "gateway/grpc_client.h"
#include "gateway/http_server.h"
#include "gateway/name_watch.h"
#include "gateway/router.h"
#include "runtime/status.h"

namespace lynx {

namespace asio = boost::asio;

namespace {

class GatewayServerImpl final : public GatewayServer {
 public:
  GatewayServerImpl(GatewayOptions options, ApiKeys keys, std::unique_ptr<const TextModel> model,
                    ServerClients clients)
      : options_(std::move(options)),
        model_(std::move(model)),
        progress_(&clock_),
        metrics_(options_.vllm_metrics),
        traces_(options_.trace),
        pool_(ServerPool::Create(options_.pool, std::move(clients), &clock_)),
        io_(options_.io_threads),
        text_pool_(options_.text_threads),
        router_({&options_, model_.get(), pool_.get(), &progress_, &metrics_, &traces_, &clock_,
                 &text_pool_},
                std::move(keys), [this] { return http_.connections(); }),
        http_(&io_, options_.http, options_.retry_after_s,
              [this](HttpExchange& exchange) { return router_.Handle(exchange); }) {}

  ~GatewayServerImpl() override {
    if (!threads_.empty()) Stop();
    names_.clear();
    pool_->Close();
  }

  absl::Status Start() override {
    RETURN_IF_ERROR(http_.Listen());
    Watch(ServerRole::kDecode, options_.pool.decode);
    Watch(ServerRole::kPrefill, options_.pool.prefill);
    asio::co_spawn(io_, PollServers(), asio::detached);
    work_.emplace(io_.get_executor());
    for (int i = 0; i < options_.io_threads; ++i) threads_.emplace_back([this] { io_.run(); });
    spdlog::info("gateway listening address={} port={}", options_.http.listen_address, port());
    return absl::OkStatus();
  }

  uint16_t port() const override { return http_.port(); }

  void Drain() override {
    router_.Drain();
    http_.Drain();
  }

  // Connections that are being answered; idle ones close at once.
  int64_t open_calls() const override { return http_.connections(); }

  // The I/O threads still run what they are handed. That servers behind them make no progress
  // (/health) is nothing that a restart of the gateway could mend.
  bool progressing() const override {
    const int64_t now_ns = clock_.Now().count();
    if (!heartbeat_pending_.exchange(true)) {
      heartbeat_asked_ns_ = now_ns;
      asio::post(io_, [this] { heartbeat_pending_ = false; });
    }
    return Nanos(now_ns - heartbeat_asked_ns_) < absl::ToChronoNanoseconds(options_.stall_timeout);
  }
  std::string activity() const override {
    const PoolState pool = pool_->State();
    return absl::StrCat(progress_.in_flight(), " requests in flight, ", pool.decode_ready, " of ",
                        pool.decode_total, " decode servers ready");
  }

 private:
  void Stop() {
    Drain();
    http_.AbortAll();
    http_.WaitUntilEmpty(kAbortTimeout);
    progress_.WaitForCalls();
    work_.reset();
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    text_pool_.join();
  }

  // A cut connection waits for nothing but its own handlers.
  static constexpr absl::Duration kAbortTimeout = absl::Seconds(10);
  static constexpr uint64_t kPollParts = 8;

  void Watch(ServerRole role, const std::vector<std::string>& servers) {
    names_.push_back(std::make_unique<NameWatch>(
        servers, options_.pool.resolve_interval, LookUpHost,
        [this, role](const std::vector<std::string>& addresses, const std::string& problem) {
          pool_->SetServers(role, addresses, problem);
        }));
  }

  // Part by part: asking a thousand servers at once would hold up streams for some milliseconds.
  asio::awaitable<void> PollServers() {
    asio::steady_timer timer(io_);
    for (uint64_t turn = 0;; ++turn) {
      pool_->Poll(turn % kPollParts, kPollParts);
      timer.expires_after(absl::ToChronoMicroseconds(options_.pool.info_interval / kPollParts));
      boost::system::error_code error;
      co_await timer.async_wait(asio::redirect_error(asio::use_awaitable, error));
      if (error) co_return;
    }
  }

  // In the order that destruction needs, reversed: coroutines that still wait go with io_.
  const GatewayOptions options_;
  const std::unique_ptr<const TextModel> model_;
  SteadyClock clock_;
  ProgressMonitor progress_;
  GatewayMetrics metrics_;
  TraceBook traces_;
  const std::shared_ptr<ServerPool> pool_;
  std::vector<std::unique_ptr<NameWatch>> names_;  // of the pool's servers
  mutable asio::io_context io_;                    // posting to it changes nothing that is seen
  mutable std::atomic<bool> heartbeat_pending_{false};
  mutable std::atomic<int64_t> heartbeat_asked_ns_{0};
  asio::thread_pool text_pool_;
  Router router_;
  HttpServer http_;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  std::vector<std::thread> threads_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Create(
    GatewayOptions options, std::unique_ptr<const TextModel> model, ServerClients clients) {
  RETURN_IF_ERROR(options.Validate());
  ApiKeys keys;
  if (!options.api_keys_file.empty()) {
    ASSIGN_OR_RETURN(keys, ApiKeys::Load(options.api_keys_file));
  }
  return std::make_unique<GatewayServerImpl>(std::move(options), std::move(keys), std::move(model),
                                             std::move(clients));
}

absl::StatusOr<std::unique_ptr<GatewayServer>> GatewayServer::Create(
    GatewayOptions options, std::unique_ptr<const TextModel> model) {
  ServerClients clients{
      .decode = [bytes = options.max_grpc_message_bytes](
                    const std::string& address) { return NewGrpcDecodeClient(address, bytes); },
      .prefill = NewGrpcPrefillClient};
  return Create(std::move(options), std::move(model), std::move(clients));
}

}  // namespace lynx
