#include "tests/e2e/completion_reply.h"

#include <utility>

namespace lynx {
namespace {

using nlohmann::json;

// One chunk of a choice; in a stream of provisional tokens `index` says which token it begins with.
struct Piece {
  int64_t index = 0;
  bool provisional = false;
  json choice;
};

void Append(const json& from, std::vector<json>* to) {
  to->insert(to->end(), from.begin(), from.end());
}

void AddChoice(const json& choice, ReplyChoice* to) {
  to->text += choice.at("text").get<std::string>();
  if (choice.contains("token_ids")) {
    for (const json& id : choice["token_ids"]) to->ids.push_back(id);
  }
  if (!choice.at("finish_reason").is_null()) to->finish_reason = choice["finish_reason"];
  const json& logprobs = choice.at("logprobs");
  if (logprobs.is_null()) return;
  Append(logprobs.at("token_logprobs"), &to->token_logprobs);
  Append(logprobs.at("top_logprobs"), &to->top_logprobs);
  for (const json& offset : logprobs.at("text_offset")) to->text_offset.push_back(offset);
}

void AddUsage(const json& usage, CompletionReply* to) {
  to->prompt_tokens = usage.at("prompt_tokens");
  to->completion_tokens = usage.at("completion_tokens");
}

class StreamReader {
 public:
  explicit StreamReader(size_t choices) : pieces_(choices) {}

  absl::Status Add(const json& event) {
    if (event.contains("error")) return absl::InternalError(event.dump());
    if (event.contains("usage") && event["usage"].is_object()) AddUsage(event["usage"], &reply_);
    for (const json& choice : event.at("choices")) {
      const size_t index = choice.at("index");
      if (index >= pieces_.size()) return absl::InternalError("a choice too many");
      RETURN_IF_ERROR(AddPiece(choice, event.value("lynx", json::object()), &pieces_[index]));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<CompletionReply> Finish() {
    for (const std::vector<Piece>& pieces : pieces_) {
      ReplyChoice& choice = reply_.choices.emplace_back();
      for (const Piece& piece : pieces) {
        if (piece.provisional) return absl::InternalError("a token was never confirmed");
        AddChoice(piece.choice, &choice);
      }
    }
    return std::move(reply_);
  }

 private:
  static absl::Status AddPiece(const json& choice, const json& extension,
                               std::vector<Piece>* pieces) {
    if (extension.contains("rollback_to")) {
      const int64_t to = extension["rollback_to"];
      while (!pieces->empty() && pieces->back().provisional && pieces->back().index >= to) {
        pieces->pop_back();
      }
      for (const Piece& piece : *pieces) {
        if (piece.index >= to && piece.provisional) return absl::InternalError("not in order");
      }
      return absl::OkStatus();
    }
    Piece piece{extension.value("index", int64_t{0}), extension.value("provisional", false),
                choice};
    if (!piece.provisional) {
      // Confirms all before it; a last chunk takes back what it does not.
      while (!choice.at("finish_reason").is_null() && !pieces->empty() &&
             pieces->back().provisional && pieces->back().index >= piece.index) {
        pieces->pop_back();
      }
      for (Piece& before : *pieces) before.provisional = false;
    }
    pieces->push_back(std::move(piece));
    return absl::OkStatus();
  }

  std::vector<std::vector<Piece>> pieces_;  // [choice]
  CompletionReply reply_;
};

absl::StatusOr<CompletionReply> ReadStream(const TestReply& reply, size_t choices) {
  const std::vector<std::string> events = reply.events();
  if (events.empty() || events.back() != "[DONE]") return absl::InternalError("no [DONE]");
  StreamReader reader(choices);
  for (size_t i = 0; i + 1 < events.size(); ++i) {
    const json event = json::parse(events[i], nullptr, false);
    if (event.is_discarded()) return absl::InternalError(absl::StrCat("not JSON: ", events[i]));
    RETURN_IF_ERROR(reader.Add(event));
  }
  return reader.Finish();
}

absl::StatusOr<CompletionReply> ReadWhole(const TestReply& reply, size_t choices) {
  const json body = reply.json();
  if (body.is_discarded()) return absl::InternalError("not JSON");
  CompletionReply out;
  for (const json& choice : body.at("choices")) {
    if (choice.at("index") != out.choices.size()) return absl::InternalError("not in order");
    AddChoice(choice, &out.choices.emplace_back());
  }
  if (out.choices.size() != choices) return absl::InternalError("the number of choices is wrong");
  AddUsage(body.at("usage"), &out);
  return out;
}

}  // namespace

absl::StatusOr<CompletionReply> ReadCompletion(const TestReply& reply, bool stream,
                                               size_t choices) {
  if (reply.status != 200) {
    return absl::InternalError(absl::StrCat("HTTP ", reply.status, ": ", reply.body));
  }
  return stream ? ReadStream(reply, choices) : ReadWhole(reply, choices);
}

}  // namespace lynx
