// Planes of the code to integers: the sub-planes that make up a code and how their fields are put
// together (layout: kv_layout_inl.h).
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_layout_inl.h"
#include "kernels/kv_split_inl.h"

namespace lynx {

// One sub-plane: fields of `width` bits that go to bit `place` of the integer.
struct SubPlane {
  const std::byte* base;
  int width;
  int place;
};

struct SubPlanes {
  SubPlane list[5];  // 8 bits in two widths have at most 5 binary digits: 3 + 5
  int count = 0;
};

// Appends the sub-planes of a plane of `bits` bits whose lowest bit goes to bit `place`.
LYNX_EXACT void AddPlane(int head_dim, KvSide side, const std::byte* plane, int bits, int place,
                         SubPlanes* planes) {
  for (int width = 8; width > 0; width /= 2) {
    if ((bits & width) == 0) continue;
    bits -= width;
    planes->list[planes->count++] = {plane, width, place + bits};
    plane += PlaneBytes(head_dim, side, width);
  }
}

// The sub-planes of the Anchor's integers A, or of the full code's q.
LYNX_EXACT SubPlanes FindSubPlanes(int head_dim, KvSide side, const CodePart& part, bool full) {
  SubPlanes planes;
  const int rest = kCodeBits - part.anchor_bits;
  AddPlane(head_dim, side, part.anchor, part.anchor_bits, full ? rest : 0, &planes);
  if (full) AddPlane(head_dim, side, part.residual, rest, 0, &planes);
  return planes;
}

// Code of element `lane` (K: token, V: channel) in row `row` (K: channel, V: token).
LYNX_EXACT int ReadCode(const SubPlanes& planes, int row, int lane, int row_bytes) {
  int code = 0;
  for (int i = 0; i < planes.count; ++i) {
    const SubPlane& p = planes.list[i];
    const int per_byte = 8 / p.width;
    const auto byte = static_cast<unsigned>(p.base[(row / per_byte) * row_bytes + lane]);
    const unsigned field = (byte >> (row % per_byte * p.width)) & ((1u << p.width) - 1);
    code |= static_cast<int>(field << p.place);
  }
  return code;
}

// Bytes of a row of a plane: one a lane.
LYNX_EXACT int LaneBytes(int head_dim, KvSide side) {
  return side == KvSide::kKey ? kPageTokens : head_dim;
}

LYNX_EXACT bf16 ReadLo(const CodePart& part, int channel) {
  const auto low = static_cast<unsigned>(part.lo[2 * channel]);
  const auto high = static_cast<unsigned>(part.lo[2 * channel + 1]);
  return {static_cast<uint16_t>(low | high << 8)};
}
LYNX_EXACT float ReadStep(const CodePart& part, int channel) {
  return StepOf(static_cast<int8_t>(part.k[channel]));
}

}  // namespace lynx
