#include "gateway/trace_handler.h"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gateway/trace_client.h"
#include "gateway/trace_json.h"
#include "proto/trace_reply.h"

namespace lynx {

namespace asio = boost::asio;

namespace {

constexpr absl::Duration kTimeout = absl::Seconds(2);
// A request of many choices went to few servers; this is for one that was retried over and over.
constexpr size_t kQuestionsMax = 256;

}  // namespace

struct TraceHandler::Question {
  TracedRole role = TracedRole::kDecode;
  v1::TracePeer peer;

  std::string Name() const {
    return absl::StrCat(role == TracedRole::kDecode ? "decode " : "prefill ", peer.address());
  }
};

// Questions that are asked at once. `bell` is only touched on its executor.
struct TraceHandler::Round {
  Round(const asio::any_io_executor& executor, size_t questions)
      : bell(executor, asio::steady_timer::time_point::max()),
        left(questions),
        answers(questions, absl::UnknownError("no answer")) {}

  asio::steady_timer bell;
  absl::Mutex mu;
  size_t left ABSL_GUARDED_BY(mu);
  std::vector<absl::StatusOr<v1::TraceReply>> answers ABSL_GUARDED_BY(mu);
};

asio::awaitable<std::vector<absl::StatusOr<v1::TraceReply>>> TraceHandler::Ask(
    const asio::any_io_executor& executor, const std::vector<Question>& questions) {
  if (questions.empty()) co_return std::vector<absl::StatusOr<v1::TraceReply>>();
  auto round = std::make_shared<Round>(executor, questions.size());
  std::list<TraceClient> clients;  // until every answer is there: none may go in its own callback
  for (size_t i = 0; i < questions.size(); ++i) {
    parts_.progress->CallBegins();
    clients.emplace_back(questions[i].role, questions[i].peer.address());
    clients.back().Ask(
        questions[i].peer.request_id(), kTimeout,
        [round, i, progress = parts_.progress](absl::StatusOr<v1::TraceReply> reply) mutable {
          bool last = false;
          {
            absl::MutexLock lock(&round->mu);
            round->answers[i] = std::move(reply);
            last = --round->left == 0;
          }
          if (last) asio::post(round->bell.get_executor(), [round] { round->bell.cancel(); });
          round.reset();  // before the owner of its executor is told that nothing refers to it
          progress->CallEnds();
        });
  }
  // On the executor, so the last answer's ring comes behind this.
  boost::system::error_code rung;
  co_await round->bell.async_wait(asio::redirect_error(asio::use_awaitable, rung));
  std::vector<absl::StatusOr<v1::TraceReply>> answers;
  {
    absl::MutexLock lock(&round->mu);
    answers = std::move(round->answers);
  }
  co_return answers;
}

asio::awaitable<void> TraceHandler::Handle(HttpExchange& exchange, std::string request_id) {
  const TracePtr own = parts_.traces->Find(request_id);
  if (own == nullptr) {
    co_return co_await ReplyError(
        exchange, *parts_.options,
        absl::NotFoundError(absl::StrCat(
            "This gateway has no trace of a request of that name. It remembers the latest ",
            parts_.options->trace.requests, " (trace.requests).")));
  }
  RequestTraceParts parts{.request_id = request_id, .trace_id = own->trace_id()};
  parts.processes.push_back({"gateway", ToProto(*own, *parts_.clock)});
  std::vector<Question> questions;
  for (const v1::TracePeer& peer : parts.processes.front().trace.peers()) {
    questions.push_back({TracedRole::kDecode, peer});
  }
  while (!questions.empty()) {  // the decode servers, then the prefill servers that they asked
    if (questions.size() > kQuestionsMax) questions.resize(kQuestionsMax);
    const auto answers = co_await Ask(exchange.executor(), questions);
    std::vector<Question> next;
    for (size_t i = 0; i < answers.size(); ++i) {
      if (!answers[i].ok()) {
        parts.problems.push_back(
            absl::StrCat(questions[i].Name(), ": ", answers[i].status().message()));
        continue;
      }
      parts.processes.push_back({questions[i].Name(), *answers[i]});
      if (questions[i].role == TracedRole::kPrefill) continue;
      for (const v1::TracePeer& peer : answers[i]->peers()) {
        next.push_back({TracedRole::kPrefill, peer});
      }
    }
    questions = std::move(next);
  }
  HttpResponse response;
  response.body = ChromeTrace(parts);
  co_await exchange.Reply(std::move(response));
}

}  // namespace lynx
