#include "tests/e2e/product_case.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/str_cat.h"
#include "model/kv_format.h"

namespace lynx {
namespace {

constexpr ProductStop kStops[] = {ProductStop::kNone, ProductStop::kString, ProductStop::kTokenId};
constexpr ProductDelivery kDeliveries[] = {ProductDelivery::kWhole, ProductDelivery::kStream,
                                           ProductDelivery::kSpeculative};

const char* StopName(ProductStop stop) {
  switch (stop) {
    case ProductStop::kNone:
      return "none";
    case ProductStop::kString:
      return "string";
    case ProductStop::kTokenId:
      return "id";
  }
  return "";
}

const char* DeliveryName(ProductDelivery delivery) {
  switch (delivery) {
    case ProductDelivery::kWhole:
      return "whole";
    case ProductDelivery::kStream:
      return "stream";
    case ProductDelivery::kSpeculative:
      return "speculative";
  }
  return "";
}

}  // namespace

std::vector<int> ProductShape(const ProductLevels& levels) {
  return {static_cast<int>(levels.prompt_tokens.size()),
          static_cast<int>(levels.splits.size()),
          static_cast<int>(levels.targets.size()),
          static_cast<int>(levels.temperatures.size()),
          2,  // top_p
          2,  // penalties
          static_cast<int>(levels.choices.size()),
          2,  // logprobs
          static_cast<int>(std::size(kStops)),
          2,  // echo
          static_cast<int>(levels.links_mbit.size()),
          static_cast<int>(levels.batches.size()),
          static_cast<int>(std::size(kDeliveries))};
}

ProductCase ProductCaseAt(const ProductLevels& levels, const std::vector<int>& row) {
  ProductCase c;
  c.prompt_tokens = levels.prompt_tokens[row[0]];
  c.split = levels.splits[row[1]];
  c.target = levels.targets[row[2]];
  c.temperature = levels.temperatures[row[3]];
  c.top_p = row[4] == 0 ? 1 : 0.9;
  c.penalties = row[5] == 1;
  c.n = levels.choices[row[6]];
  c.logprobs = row[7] == 1;
  c.stop = kStops[row[8]];
  c.echo = row[9] == 1;
  c.link_mbit = levels.links_mbit[row[10]];
  c.batch = levels.batches[row[11]];
  c.delivery = kDeliveries[row[12]];
  return c;
}

ProductCase BatchMate(const ProductCase& c, int i) {
  constexpr int64_t kLengths[] = {1, 20, 63, 64, 65, 70, 128};
  ProductCase mate;
  mate.prompt_tokens = kLengths[i % std::size(kLengths)];
  mate.split = c.split;
  mate.target = c.target;
  mate.link_mbit = c.link_mbit;
  mate.chunk_tokens = c.chunk_tokens;
  mate.temperature = i % 2 == 0 ? 0.8 : 0;
  mate.top_p = i % 3 == 0 ? 0.9 : 1;
  mate.penalties = i % 4 == 1;
  mate.logprobs = i % 3 == 1;
  mate.stop = kStops[i % std::size(kStops)];
  mate.delivery = kDeliveries[(i / 2) % std::size(kDeliveries)];
  mate.max_tokens = std::min<int64_t>(c.max_tokens, 8);
  mate.variety = i;  // not the case's: mates' references are shared between cases
  return mate;
}

std::string Describe(const ProductCase& c) {
  return absl::StrCat(
      "prompt=", c.prompt_tokens, " split=K", c.split.k_bits, "V", c.split.v_bits,
      " target=", ToAbsl(KvTargetName(c.target)), " temperature=", c.temperature,
      " top_p=", c.top_p, " penalties=", c.penalties, " n=", c.n, " logprobs=", c.logprobs,
      " stop=", StopName(c.stop), " echo=", c.echo, " link_mbit=", c.link_mbit, " batch=", c.batch,
      " delivery=", DeliveryName(c.delivery), " chunk=", c.chunk_tokens, " variety=", c.variety);
}

}  // namespace lynx
