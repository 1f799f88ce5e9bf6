// One way in which a request may be served: a point of the product of everything that must not
// change a text, or that asks for more than the text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/kv_sequence.h"

namespace lynx {

enum class ProductStop { kNone, kString, kTokenId };
enum class ProductDelivery { kWhole, kStream, kSpeculative };

struct ProductCase {
  int64_t prompt_tokens = 1;
  KvSplit split{5, 4};
  KvTarget target = KvTarget::kInt8;
  double temperature = 0;
  double top_p = 1;
  bool penalties = false;  // all three, and a bias
  int n = 1;
  bool logprobs = false;
  ProductStop stop = ProductStop::kNone;
  bool echo = false;
  double link_mbit = 1000;
  int batch = 1;  // with others beside it, shorter and each of its own kind
  ProductDelivery delivery = ProductDelivery::kWhole;

  int64_t max_tokens = 16;
  int64_t chunk_tokens = 512;  // that the prefill computes at once
  // Which part of the text is the prompt, and the seed.
  int64_t variety = 0;
};

// The levels that a run varies; what is not listed here has fixed levels.
struct ProductLevels {
  std::vector<int64_t> prompt_tokens;
  std::vector<KvSplit> splits;
  std::vector<KvTarget> targets;
  std::vector<double> temperatures;
  std::vector<double> links_mbit;
  std::vector<int> choices;
  std::vector<int> batches;
};

// Number of levels of each dimension; what CoveringSet takes.
std::vector<int> ProductShape(const ProductLevels& levels);

// `row`: a level for each dimension.
ProductCase ProductCaseAt(const ProductLevels& levels, const std::vector<int>& row);

// The batch mate `i` of a case: short, of another kind.
ProductCase BatchMate(const ProductCase& c, int i);

std::string Describe(const ProductCase& c);

}  // namespace lynx
