#!/usr/bin/env python3
"""Writes what PyPI `tokenizers` says about tests/data/tokenizer/lines.txt.

make_tokenizer_goldens.py DATA_DIR NAME SOURCE: SOURCE is a tokenizer.json or a GGUF file with
byte-level BPE. Needs: pip install tokenizers gguf xxhash.

NAME.hashes, a line a text: XXH3 of the ids (int32, little-endian) with special tokens parsed, of those
without, of the decoded text of the former with special tokens and without.
NAME.ids: the ids of the first 100 texts, special tokens parsed.
"""
import sys

import numpy
import xxhash
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from make_tokenizer_lines import unescape

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_level(use_regex):
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=use_regex)


def from_gguf(path):
    import gguf
    fields = gguf.GGUFReader(path).fields
    get = lambda key: fields["tokenizer.ggml." + key].contents()
    tokens, types = get("tokens"), get("token_type")
    merges = [tuple(m.split(" ")) for m in get("merges")]
    result = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    if get("pre") == "smollm":
        result.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), byte_level(True)])
    elif get("pre") == "qwen2":
        result.normalizer = normalizers.NFC()
        result.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(QWEN2), "isolated"), byte_level(False)])
    else:
        raise SystemExit("unknown pre-tokenizer " + get("pre"))
    result.decoder = decoders.ByteLevel()
    added = lambda kind: [AddedToken(t, normalized=False, special=kind == 3)
                          for t, k in zip(tokens, types) if k == kind]
    result.add_special_tokens(added(3))
    result.add_tokens(added(4))
    return result


def xxh3(data):
    return xxhash.xxh3_64_hexdigest(data)


def main():
    folder, name, source = sys.argv[1:]
    tokenizer = from_gguf(source) if source.endswith(".gguf") else Tokenizer.from_file(source)
    with open(folder + "/lines.txt", "rb") as f:
        texts = [unescape(line).decode("utf-8", "replace") for line in f.read().split(b"\n")[:-1]]
    with open(f"{folder}/{name}.hashes", "w") as hashes, open(f"{folder}/{name}.ids", "w") as first:
        for i, text in enumerate(texts):
            tokenizer.encode_special_tokens = False
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = True
            plain = tokenizer.encode(text, add_special_tokens=False).ids
            both = [xxh3(numpy.array(x, dtype="<i4").tobytes()) for x in (ids, plain)]
            both += [xxh3(tokenizer.decode(ids, skip_special_tokens=skip).encode())
                     for skip in (False, True)]
            hashes.write(" ".join(both) + "\n")
            if i < 100:
                first.write(" ".join(map(str, ids)) + "\n")


if __name__ == "__main__":
    main()
