// POST /v1/completions and /v1/chat/completions.
#pragma once

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/thread_pool.hpp>
#include <string>

#include "gateway/answer.h"
#include "gateway/generation.h"
#include "gateway/http_types.h"
#include "gateway/metrics.h"
#include "gateway/options.h"
#include "gateway/progress.h"
#include "gateway/server_pool.h"
#include "gateway/text_model.h"
#include "runtime/request_trace.h"

namespace lynx {

// All outlive the handlers.
struct GatewayParts {
  const GatewayOptions* options;
  const TextModel* model;
  ServerPool* pool;
  ProgressMonitor* progress;
  GatewayMetrics* metrics;
  TraceBook* traces;
  const Clock* clock;
  boost::asio::thread_pool* text_pool;
};

// The names of the model, the first is the one answers carry. Empty: no server has told it yet.
std::vector<std::string> ModelNames(const GatewayOptions& options, const PoolState& pool);
// NOT_FOUND unless `name` is one of `names`; an empty name is the only model there is.
absl::Status CheckModelName(const std::vector<std::string>& names, const std::string& name);

boost::asio::awaitable<void> ReplyError(HttpExchange& exchange, const GatewayOptions& options,
                                        const absl::Status& status);

class GenerateHandler {
 public:
  explicit GenerateHandler(const GatewayParts& parts) : parts_(parts) {}

  // `request_id` names the request in answers and, made unique, on the servers.
  boost::asio::awaitable<void> Handle(HttpExchange& exchange, bool chat, std::string request_id);

 private:
  struct Prepared {
    GenerationFields fields;
    bool echo = false;
    RequestPlan plan;
    std::string model_name;
  };
  struct Timing;

  absl::StatusOr<Prepared> Prepare(const std::string& body, bool chat,
                                   const std::string& request_id) const;
  boost::asio::awaitable<absl::StatusOr<Prepared>> PrepareAside(const std::string& body, bool chat,
                                                                std::string request_id) const;
  boost::asio::awaitable<absl::Status> Run(HttpExchange& exchange, bool chat,
                                           const std::string& request_id, Timing& timing);
  boost::asio::awaitable<absl::Status> Pump(HttpExchange& exchange, Generation& generation,
                                            Answer& answer, bool stream, Timing& timing);
  boost::asio::awaitable<bool> SendAll(HttpExchange& exchange,
                                       const std::vector<std::string>& chunks);
  boost::asio::awaitable<absl::Status> Conclude(HttpExchange& exchange, Answer& answer,
                                                bool stream);
  void Account(const Answer& answer, size_t choices, const std::string& request_id,
               const Timing& timing);

  const GatewayParts parts_;
  std::atomic<int64_t> active_{0};
};

}  // namespace lynx
