#include "gateway/choice_stream.h"

#include <catch2/catch.hpp>
#include <random>

#include "fake_text_model.h"

namespace lynx {
namespace {

const FakeTextModel kModel;

// What a client that follows the rules holds: the text, with rollbacks applied.
struct Client {
  std::vector<std::pair<int64_t, std::string>> parts;  // first index, text
  std::optional<Finish> finish;

  void See(const ChoiceDelta& delta) {
    REQUIRE_FALSE(finish.has_value());
    if (delta.rollback) {
      while (!parts.empty() && parts.back().first >= delta.first_index) parts.pop_back();
      return;
    }
    parts.emplace_back(delta.first_index, delta.text);
    finish = delta.finish;
  }
  std::string text() const {
    std::string all;
    for (const auto& [index, text] : parts) all += text;
    return all;
  }
};

v1::Tokens TokensOf(int64_t first, const std::vector<int32_t>& ids, bool provisional) {
  v1::Tokens tokens;
  tokens.set_first_index(first);
  tokens.set_provisional(provisional);
  for (int32_t id : ids) tokens.add_tokens()->set_id(id);
  return tokens;
}

std::vector<int32_t> Ids(std::string_view text) { return *kModel.Encode(text, false); }

struct Outcome {
  std::string text;
  int64_t tokens;
  Finish finish;
  bool operator==(const Outcome& o) const {
    return text == o.text && tokens == o.tokens && finish == o.finish;
  }
};
std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << '"' << o.text << "\" " << o.tokens << ' ' << static_cast<int>(o.finish);
}

Outcome Drain(ChoiceStream& stream, Client& client, std::vector<ChoiceDelta>& deltas) {
  for (const ChoiceDelta& delta : deltas) client.See(delta);
  REQUIRE(client.finish.has_value());
  return {client.text(), stream.completion_tokens(), *client.finish};
}

// Committed tokens in bursts whose sizes `burst` gives.
template <typename Burst>
Outcome Plain(const ChoiceOptions& options, const std::vector<int32_t>& ids,
              v1::FinishReason reason, Burst burst) {
  ChoiceStream stream(&kModel, options);
  std::vector<ChoiceDelta> deltas;
  for (size_t i = 0; i < ids.size();) {
    const size_t n = std::min(ids.size() - i, static_cast<size_t>(burst()));
    const std::vector<int32_t> part(ids.begin() + i, ids.begin() + i + n);
    REQUIRE(stream.OnTokens(TokensOf(static_cast<int64_t>(i), part, false), &deltas).ok());
    i += n;
  }
  REQUIRE(stream.OnFinished(reason, &deltas).ok());
  Client client;
  return Drain(stream, client, deltas);
}

Outcome OneByOne(const ChoiceOptions& options, std::string_view text,
                 v1::FinishReason reason = v1::FINISH_LENGTH) {
  return Plain(options, Ids(text), reason, [] { return 1; });
}

// The specification, naively: the shortest prefix that ends with a stop string.
Outcome Naive(const ChoiceOptions& options, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    if (static_cast<int64_t>(end) < options.min_tokens) continue;
    size_t longest = 0;
    for (const std::string& stop : options.stops) {
      if (end >= stop.size() && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) {
      return {text.substr(0, options.include_stop_str ? end : end - longest),
              static_cast<int64_t>(end), Finish::kStop};
    }
  }
  return {text, static_cast<int64_t>(text.size()), Finish::kLength};
}

std::string RandomText(std::mt19937& rng, size_t size) {
  std::string text;
  for (size_t i = 0; i < size; ++i) text += "abc"[rng() % 3];
  return text;
}

ChoiceOptions RandomOptions(std::mt19937& rng) {
  ChoiceOptions options;
  for (size_t n = rng() % 4; n > 0; --n) options.stops.push_back(RandomText(rng, 1 + rng() % 6));
  options.include_stop_str = rng() % 2 == 0;
  return options;
}

}  // namespace

TEST_CASE("a stop string ends the text at the token that completes it") {
  ChoiceOptions options;
  options.stops = {"END"};
  CHECK(OneByOne(options, "one ENTWO END three") == Outcome{"one ENTWO ", 13, Finish::kStop});
  options.include_stop_str = true;
  CHECK(OneByOne(options, "xENDy") == Outcome{"xEND", 4, Finish::kStop});
}

TEST_CASE("text that began like a stop string is given out at the end") {
  ChoiceOptions options;
  options.stops = {"END"};
  CHECK(OneByOne(options, "say EN") == Outcome{"say EN", 6, Finish::kLength});
}

TEST_CASE("text is held back only while a stop string may be beginning") {
  ChoiceOptions options;
  options.stops = {"END"};
  ChoiceStream stream(&kModel, options);
  std::vector<ChoiceDelta> deltas;
  REQUIRE(stream.OnTokens(TokensOf(0, Ids("aEN"), false), &deltas).ok());
  REQUIRE(deltas.size() == 1);
  CHECK(deltas[0].text == "a");
  CHECK(deltas[0].tokens.size() == 3);
  deltas.clear();
  REQUIRE(stream.OnTokens(TokensOf(3, Ids("x"), false), &deltas).ok());
  CHECK(deltas.at(0).text == "ENx");
}

TEST_CASE("bursts never change text, usage or reason, and equal the naive specification") {
  for (uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 rng(seed);
    const ChoiceOptions options = RandomOptions(rng);
    const std::string text = RandomText(rng, 1 + rng() % 40);
    CAPTURE(seed, text);
    const Outcome want = Naive(options, text);
    CHECK(OneByOne(options, text) == want);
    CHECK(Plain(options, Ids(text), v1::FINISH_LENGTH, [&] { return 1 + rng() % 7; }) == want);
  }
}

TEST_CASE("provisional tokens and rollbacks end in the same text") {
  for (uint32_t seed = 0; seed < 400; ++seed) {
    std::mt19937 rng(1000 + seed);
    ChoiceOptions options = RandomOptions(rng);
    const std::string text = RandomText(rng, 1 + rng() % 40);
    CAPTURE(seed, text);
    const Outcome want = Naive(options, text);
    options.speculative = true;
    ChoiceStream stream(&kModel, options);
    std::vector<ChoiceDelta> deltas;
    const std::vector<int32_t> ids = Ids(text);
    for (size_t i = 0; i < ids.size();) {
      // A draft that is right for a while, then perhaps wrong; the rollback is explicit or implied.
      std::vector<int32_t> draft(ids.begin() + i,
                                 ids.begin() + std::min(ids.size(), i + rng() % 5));
      const size_t right = draft.size();
      if (rng() % 2) draft.insert(draft.end(), 1 + rng() % 4, 'b' + static_cast<int>(rng() % 3));
      if (!draft.empty()) {
        REQUIRE(stream.OnTokens(TokensOf(static_cast<int64_t>(i), draft, true), &deltas).ok());
      }
      if (rng() % 2) REQUIRE(stream.OnRollback(static_cast<int64_t>(i + right), &deltas).ok());
      // Accepted tokens are committed again, or only what follows them.
      const size_t from = rng() % 2 || i + right == ids.size() ? i : i + right;
      const size_t to = std::min(ids.size(), i + right + 1);
      const std::vector<int32_t> commit(ids.begin() + from, ids.begin() + to);
      if (!stream.finished() && !commit.empty()) {
        REQUIRE(stream.OnTokens(TokensOf(static_cast<int64_t>(from), commit, false), &deltas).ok());
      }
      i = to;
    }
    REQUIRE(stream.OnFinished(v1::FINISH_LENGTH, &deltas).ok());
    Client client;
    CHECK(Drain(stream, client, deltas) == want);
  }
}

TEST_CASE("characters in pieces are held back, broken ones replaced") {
  const ChoiceOptions options;
  CHECK(OneByOne(options, "a\xC3\xA9z").text == "a\xC3\xA9z");
  CHECK(OneByOne(options, "a\xF0\x9F\x98\x80").text == "a\xF0\x9F\x98\x80");
  CHECK(OneByOne(options, "a\xE2\x82").text == "a\xEF\xBF\xBD");
  CHECK(OneByOne(options, "\xE2x").text == "\xEF\xBF\xBDx");
  ChoiceStream stream(&kModel, options);
  std::vector<ChoiceDelta> deltas;
  REQUIRE(stream.OnTokens(TokensOf(0, Ids("\xF0\x9F\x98"), false), &deltas).ok());
  CHECK(deltas.at(0).text.empty());
  deltas.clear();
  REQUIRE(stream.OnTokens(TokensOf(3, Ids("\x80!"), false), &deltas).ok());
  CHECK(deltas.at(0).text == "\xF0\x9F\x98\x80!");
}

TEST_CASE("the token that ends the text is counted and not shown") {
  ChoiceOptions options;
  options.skip_special_tokens = false;
  std::vector<int32_t> ids = Ids("ok");
  ids.push_back(FakeTextModel::kEos);
  const auto one = [] { return 1; };
  CHECK(Plain(options, ids, v1::FINISH_STOP, one) == Outcome{"ok", 3, Finish::kStop});
  options.ignore_eos = true;
  CHECK(Plain(options, ids, v1::FINISH_LENGTH, one) == Outcome{"ok<eos>", 3, Finish::kLength});
  options.stop_token_ids = {'k'};
  CHECK(Plain(options, Ids("ok"), v1::FINISH_STOP, one) == Outcome{"o", 2, Finish::kStop});
}

TEST_CASE("no stop string counts before min_tokens") {
  ChoiceOptions options;
  options.stops = {"ab"};
  options.min_tokens = 4;
  CHECK(OneByOne(options, "ababab") == Outcome{"ab", 4, Finish::kStop});
  options.min_tokens = 3;
  CHECK(OneByOne(options, "abcab") == Outcome{"abc", 5, Finish::kStop});
}

TEST_CASE("max_tokens 0 shows nothing") {
  ChoiceOptions options;
  options.discard = true;
  CHECK(OneByOne(options, "x") == Outcome{"", 0, Finish::kLength});
}

TEST_CASE("offsets count characters") {
  ChoiceStream stream(&kModel, {});
  std::vector<ChoiceDelta> deltas;
  REQUIRE(stream.OnTokens(TokensOf(0, Ids("\xC3\xA9xy"), false), &deltas).ok());
  std::vector<int64_t> offsets;
  for (const TokenPiece& token : deltas.at(0).tokens) offsets.push_back(token.text_offset_chars);
  CHECK(offsets == std::vector<int64_t>{0, 0, 1, 2});
}

TEST_CASE("a server that breaks the protocol is an error") {
  std::vector<ChoiceDelta> deltas;
  ChoiceStream stream(&kModel, {});
  REQUIRE(stream.OnTokens(TokensOf(0, Ids("ab"), false), &deltas).ok());
  CHECK_FALSE(stream.OnTokens(TokensOf(3, Ids("c"), false), &deltas).ok());
  CHECK_FALSE(stream.OnTokens(TokensOf(1, Ids("c"), false), &deltas).ok());
  CHECK_FALSE(stream.OnTokens(TokensOf(2, Ids("c"), true), &deltas).ok());
  CHECK_FALSE(stream.OnTokens(TokensOf(2, {-1}, false), &deltas).ok());
  CHECK_FALSE(stream.OnTokens(TokensOf(2, {300}, false), &deltas).ok());
  CHECK_FALSE(stream.OnRollback(1, &deltas).ok());
  CHECK_FALSE(stream.OnFinished(v1::FINISH_UNSPECIFIED, &deltas).ok());
}

}  // namespace lynx
