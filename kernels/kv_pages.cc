#include "kernels/kv_pages.h"

#include <cstring>

#include "kernels/kv_layout_inl.h"

namespace lynx {
namespace {

// Element of a packed token [K, V][kv_heads][head_dim].
size_t PackedIndex(KvShape shape, KvSide side, int head, int channel) {
  const int heads = (side == KvSide::kKey ? 0 : shape.kv_heads) + head;
  return static_cast<size_t>(heads) * shape.head_dim + channel;
}

// f(element in the page, element in the packed token) for all elements of a token.
template <class Function>
void ForToken(KvShape shape, int token, const Function& f) {
  for (int head = 0; head < shape.kv_heads; ++head) {
    for (int c = 0; c < shape.head_dim; ++c) {
      f(KeyIndex(shape, head, token, c), PackedIndex(shape, KvSide::kKey, head, c));
    }
    for (int c = 0; c < shape.head_dim; ++c) {
      f(ValueIndex(shape, head, token, c), PackedIndex(shape, KvSide::kValue, head, c));
    }
  }
}

}  // namespace

size_t AnchorBlockBytes(KvShape shape, KvSplit split) {
  return shape.kv_heads * (AnchorPartBytes(shape.head_dim, split, KvSide::kKey) +
                           AnchorPartBytes(shape.head_dim, split, KvSide::kValue));
}

size_t ResidualBlockBytes(KvShape shape, KvSplit split) {
  return shape.kv_heads * (PlaneBytes(shape.head_dim, KvSide::kKey, kCodeBits - split.k_bits) +
                           PlaneBytes(shape.head_dim, KvSide::kValue, kCodeBits - split.v_bits));
}

size_t Bf16PageBytes(KvShape shape) { return PackedTokenBytes(shape) * kPageTokens; }

size_t PackedTokenBytes(KvShape shape) {
  return static_cast<size_t>(shape.kv_heads) * shape.head_dim * 2 * sizeof(bf16);
}

void WriteKv(const WriteKvArgs& args) {
  const KvShape shape = args.shape;
  auto* page = reinterpret_cast<bf16*>(args.page);
  for (int head = 0; head < shape.kv_heads; ++head) {
    const float* k = args.k + static_cast<size_t>(head) * shape.head_dim;
    const float* v = args.v + static_cast<size_t>(head) * shape.head_dim;
    bf16* keys = page + KeyIndex(shape, head, args.token, 0);
    bf16* values = page + ValueIndex(shape, head, args.token, 0);
    for (int c = 0; c < shape.head_dim; c += 2) {
      keys[0] = ToBf16(k[c]);
      keys[1] = ToBf16(k[c + 1]);
      keys += 2 * kPageTokens;
    }
    for (int c = 0; c < shape.head_dim; ++c) values[2 * c] = ToBf16(v[c]);
  }
}

void PackTokens(KvShape shape, const std::byte* page, int begin, int end, std::byte* packed) {
  for (int token = begin; token < end; ++token, packed += PackedTokenBytes(shape)) {
    ForToken(shape, token, [&](size_t in_page, size_t in_packed) {
      std::memcpy(packed + in_packed * 2, page + in_page * 2, 2);
    });
  }
}

void UnpackTokens(KvShape shape, const std::byte* packed, int begin, int end, std::byte* page) {
  for (int token = begin; token < end; ++token, packed += PackedTokenBytes(shape)) {
    ForToken(shape, token, [&](size_t in_page, size_t in_packed) {
      std::memcpy(page + in_page * 2, packed + in_packed * 2, 2);
    });
  }
}

}  // namespace lynx
