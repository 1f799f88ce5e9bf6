#!/usr/bin/env python3
"""Writes dequantize/TYPE.bin: random blocks of each GGUF tensor type and the floats that PyPI's `gguf` makes of them.

File: u32 number of values, u32 number of bytes, the bytes, the floats. Needs numpy and gguf.
"""

import os
import struct

import gguf
import numpy as np
from gguf.quants import dequantize

BLOCKS = 6
TYPES = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
# Where half-precision scales stand in a block: other bytes may be anything.
HALVES = {"F16": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208]}
SCALES = [0.0123, -1.5, 6.1e-5, 3e-6, 1000.0, -0.0]  # 3e-6 is a denormal half


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "dequantize")
    os.makedirs(folder, exist_ok=True)
    rng = np.random.Generator(np.random.PCG64(7))
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        values, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = BLOCKS if values > 1 else 64
        data = rng.integers(0, 256, (blocks, size), np.uint8)
        if name in ("F32", "BF16"):  # no Inf or NaN
            numbers = rng.standard_normal(blocks).astype(np.float32)
            data = numbers.view(np.uint8).reshape(blocks, 4)[:, 4 - size :].copy()
        for offset in HALVES.get(name, []):
            for i in range(blocks):
                scale = SCALES[(i + offset) % len(SCALES)] * (1 if blocks == BLOCKS else i + 0.7)
                data[i, offset : offset + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
        floats = dequantize(data.reshape(-1), kind).astype(np.float32).reshape(-1)
        assert floats.size == blocks * values and np.isfinite(floats).all()
        with open(os.path.join(folder, name + ".bin"), "wb") as f:
            f.write(struct.pack("<II", floats.size, data.size) + data.tobytes() + floats.tobytes())


if __name__ == "__main__":
    main()
