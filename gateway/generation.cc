#include "gateway/generation.h"

#include <spdlog/spdlog.h>

#include "runtime/status.h"

namespace lynx {

namespace asio = boost::asio;

namespace {

class InboxSink : public GenerateSink {
 public:
  InboxSink(std::shared_ptr<EventInbox> inbox, ProgressMonitor* progress, int64_t choice,
            int attempt)
      : inbox_(std::move(inbox)), progress_(progress), choice_(choice), attempt_(attempt) {
    progress_->CallBegins();
  }

  bool OnEvent(v1::GenerateEvent event) override {
    progress_->Event();
    return inbox_->PushEvent({choice_, attempt_, std::move(event)});
  }
  void OnDone(absl::Status status) override {
    inbox_->PushEnd({choice_, attempt_, std::move(status)});
    inbox_.reset();  // before the owner of its executor is told that nothing refers to it
    progress_->CallEnds();
  }

 private:
  std::shared_ptr<EventInbox> inbox_;
  ProgressMonitor* const progress_;
  const int64_t choice_;
  const int attempt_;
};

RouteRequest RouteOf(const v1::GenerateRequest& request) {
  return {.prompt_tokens = request.prompt_size(),
          .max_tokens = request.max_tokens(),
          .prefix = PrefixHash(request.prompt())};
}

bool Retryable(const absl::Status& status) {
  return absl::IsResourceExhausted(status) || absl::IsUnavailable(status);
}

}  // namespace

Generation::Generation(const asio::any_io_executor& executor, ServerPool* pool,
                       ProgressMonitor* progress, std::vector<v1::GenerateRequest> requests,
                       absl::Time deadline, size_t max_buffered, TracePtr trace)
    : pool_(pool),
      progress_(progress),
      deadline_(deadline),
      trace_(std::move(trace)),
      inbox_(std::make_shared<EventInbox>(executor, max_buffered)),
      choices_(requests.size()) {
  for (size_t i = 0; i < requests.size(); ++i) choices_[i].request = std::move(requests[i]);
  progress_->Begin();
}

Generation::~Generation() {
  inbox_->Abandon();  // what still comes is dropped
  for (int64_t i = 0; i < static_cast<int64_t>(choices_.size()); ++i) Close(i);
  progress_->End();
}

absl::Status Generation::Start() {
  for (int64_t i = 0; i < static_cast<int64_t>(choices_.size()); ++i) {
    RETURN_IF_ERROR(Call(i, std::nullopt));
  }
  return absl::OkStatus();
}

absl::Status Generation::Call(int64_t index, std::optional<ServerId> instead_of) {
  Choice& choice = choices_[index];
  const int attempt = choice.attempt + 1;
  v1::GenerateRequest request = choice.request;
  // All choices, and every retry, on servers that give the same bits.
  ASSIGN_OR_RETURN(ServerPool::Pick pick,
                   pool_->Choose({.request = RouteOf(request),
                                  .identity = identity_,
                                  .instead_of = instead_of,
                                  .lost = [inbox = inbox_, index, attempt] {
                                    inbox->PushEnd({index, attempt, ServerLost{}});
                                  }}));
  identity_ = pick.identity;
  for (std::string& address : pick.prefill_addresses) {
    request.add_prefill_addresses(std::move(address));
  }
  choice.server = pick.server;
  choice.lease = std::move(pick.lease);
  choice.attempt = attempt;
  if (trace_ != nullptr) trace_->AddPeer({pick.address, request.request_id()});
  choice.call =
      pick.client->Generate(std::move(request), deadline_,
                            std::make_shared<InboxSink>(inbox_, progress_, index, attempt));
  return absl::OkStatus();
}

absl::Status Generation::OnEnd(int64_t index, const absl::Status& status) {
  Choice& choice = choices_[index];
  choice.call.reset();
  choice.lease.reset();
  if (status.ok()) {
    if (choice.finished) return absl::OkStatus();
    return absl::InternalError("The decode server ended the call without a last event.");
  }
  if (absl::IsUnavailable(status)) pool_->ReportUnreachable(choice.server, status);
  if (!Retryable(status) || choice.heard || choice.attempt > 1) return status;
  const absl::Status again = Call(index, choice.server);
  spdlog::info("decode refused request={} code={} second_server={}", choice.request.request_id(),
               absl::StatusCodeToString(status.code()), again.ok());
  // The first server's own words say more than "there is no other".
  return again.ok() ? again : status;
}

// The server may come back, so its call is only given up for another one.
void Generation::OnLost(int64_t index) {
  Choice& choice = choices_[index];
  if (choice.heard || choice.attempt > 1) return;
  const std::shared_ptr<GenerateCall> first = choice.call;
  const absl::Status again = Call(index, choice.server);
  spdlog::info("decode lost request={} second_server={}", choice.request.request_id(), again.ok());
  if (again.ok() && first != nullptr) first->Cancel();
}

absl::Status Generation::Sort(std::vector<InboxItem> items, std::vector<ChoiceEvent>* out) {
  for (InboxItem& item : items) {
    Choice& choice = choices_[item.choice];
    if (choice.closed || item.attempt != choice.attempt) continue;
    if (const auto* end = std::get_if<absl::Status>(&item.what)) {
      RETURN_IF_ERROR(OnEnd(item.choice, *end));
      continue;
    }
    if (std::holds_alternative<ServerLost>(item.what)) {
      OnLost(item.choice);
      continue;
    }
    auto& event = std::get<v1::GenerateEvent>(item.what);
    if (!std::exchange(choice.heard, true)) choice.lease->Begun();
    choice.finished |= event.has_finished();
    out->push_back({item.choice, std::move(event)});
  }
  return absl::OkStatus();
}

asio::awaitable<absl::Status> Generation::Next(std::vector<ChoiceEvent>* out) {
  out->clear();
  std::vector<InboxItem> items;
  while (out->empty()) {
    if (!failure_.ok()) co_return failure_;
    const absl::Status status = co_await inbox_->Take(&items);
    if (!status.ok()) co_return status;
    failure_ = Sort(std::move(items), out);
  }
  co_return absl::OkStatus();
}

void Generation::Close(int64_t index) {
  Choice& choice = choices_[index];
  choice.closed = true;
  if (choice.call != nullptr) choice.call->Cancel();
  choice.call.reset();
  choice.lease.reset();
}

std::function<void()> Generation::Abandoner() const {
  return [inbox = inbox_] { inbox->Abandon(); };
}

}  // namespace lynx
