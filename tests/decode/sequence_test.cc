#include "decode/sequence.h"

#include <catch2/catch.hpp>
#include <functional>

namespace lynx::decode {
namespace {

constexpr int32_t kEnd = 2;

// Plain decoding as the oracle: tokens of `target` until the end id or the limit.
std::vector<int32_t> Plain(const std::vector<int32_t>& target, int64_t max_tokens) {
  std::vector<int32_t> out;
  for (int32_t t : target) {
    out.push_back(t);
    if (t == kEnd || static_cast<int64_t>(out.size()) == max_tokens) break;
  }
  return out;
}

// Calls f with every string of `length` over the ids 0, 1, 2.
void ForEachString(int length, const std::function<void(const std::vector<int32_t>&)>& f) {
  int count = 1;
  for (int i = 0; i < length; ++i) count *= 3;
  for (int code = 0; code < count; ++code) {
    std::vector<int32_t> s;
    for (int i = 0, c = code; i < length; ++i, c /= 3) s.push_back(c % 3);
    f(s);
  }
}

}  // namespace

// The target is a fixed text, which is enough: where a draft differs from it, the target's later
// tokens depend on its own text and not on the draft's, and this is what Commit must give.
TEST_CASE("whatever is drafted, the committed text is that of plain decoding") {
  constexpr int kLength = 5;
  ForEachString(kLength, [&](const std::vector<int32_t>& target) {
    ForEachString(3, [&](const std::vector<int32_t>& drafts) {
      for (int64_t max_tokens = 1; max_tokens <= kLength; ++max_tokens) {
        for (int64_t max_drafts : {0, 1, 3}) {
          Sequence s({max_tokens, max_drafts, {kEnd}});
          s.CommitFirst(target[0]);
          int64_t accepted = 0, rolled_back = 0, proposed = 0;
          if (s.state() == State::kDrafting) {
            while (s.CanPropose() && proposed < 3) {
              REQUIRE(s.LastIndex() == proposed);
              s.Propose(drafts[proposed++], 0.5f);
            }
            REQUIRE(proposed <= max_drafts);
            s.BeginVerification();
            if (s.state() == State::kVerifying) {
              std::vector<int32_t> rows = s.VerificationRows();
              REQUIRE(rows.size() == static_cast<size_t>(proposed + 1));
              REQUIRE(rows[0] == target[0]);
              REQUIRE(rows.size() + 1 <= static_cast<size_t>(max_tokens));
              std::vector<int32_t> sampled(target.begin() + 1, target.begin() + 1 + rows.size());
              Sequence::Outcome outcome = s.Commit(sampled);
              accepted = outcome.accepted;
              rolled_back = outcome.rolled_back;
              REQUIRE(outcome.committed >= 1);
              REQUIRE(static_cast<int64_t>(s.committed().size()) == 1 + outcome.committed);
            }
          }
          REQUIRE(accepted + rolled_back == proposed);
          while (s.state() == State::kDecoding) s.CommitOne(target[s.committed().size()]);
          REQUIRE(s.state() == State::kDone);
          std::vector<int32_t> want = Plain(target, max_tokens);
          // A text that has no end within kLength cannot be longer than the limit either.
          REQUIRE(std::vector<int32_t>(s.committed().begin(), s.committed().end()) == want);
          REQUIRE(s.finish_reason() ==
                  (want.back() == kEnd ? FinishReason::kStop : FinishReason::kLength));
        }
      }
    });
  });
}

TEST_CASE("nothing is drafted behind a draft that ends the text") {
  Sequence s({10, 10, {kEnd}});
  s.CommitFirst(0);
  s.Propose(kEnd, 1.0f);
  CHECK_FALSE(s.CanPropose());
}

}  // namespace lynx::decode
