#!/usr/bin/env python3
"""Writes the tiny models in models/: random weights, two layers, a byte-level vocabulary of 300 tokens.

Each architecture comes twice, as a GGUF file and as a Hugging Face folder, with the same BF16 numbers and the same
tokenizer. The folder's weights are split into two shards. Needs only numpy; the output is the same on every machine.

    ./make_tiny_model.py [output folder] [--kv-shape LAYERS,KV_HEADS,HEAD_DIM] [--head-dim 64]

--kv-shape gives them the KV cache of a larger model, for benches of the transfer alone; SmolLM2-135M's is 30,3,64.
--head-dim writes only GGUF files, tiny-<architecture>-d<head dim>.gguf, with heads of that size: GPUs run 64, 128 and 256.
"""

import argparse
import collections
import json
import os
import struct

import numpy as np

LAYERS, HIDDEN, INTERMEDIATE, Q_HEADS, KV_HEADS, HEAD_DIM = 2, 64, 128, 4, 2, 16
VOCAB, CONTEXT, EPS = 300, 8192, 1e-5
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEXT = (
    "the quick brown fox jumps over the lazy dog and then the other dog runs into the house where there is a "
    "cat that does not want to see the dog at all so the cat goes out of the window and the dog sits on the "
    "floor waiting for the cat to come back in the evening when it is time for them to eat something together"
)
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


# ---- tokenizer ----


def byte_letters():
    """GPT-2's letters for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 0
    for byte in range(256):
        if byte in printable:
            letters[byte] = chr(byte)
        else:
            letters[byte] = chr(256 + extra)
            extra += 1
    return letters


def train_merges(letters, count):
    words = [[letters[b] for b in ((" " if i else "") + w).encode()] for i, w in enumerate(TEXT.split(" "))]
    merges = []
    while len(merges) < count:
        pairs = collections.Counter(pair for word in words for pair in zip(word, word[1:]))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [word[i] + word[i + 1]]
                i += 1
    return merges


def make_vocabulary(arch):
    letters = byte_letters()
    merges = train_merges(letters, VOCAB - 256 - len(SPECIALS))
    plain = [letters[b] for b in range(256)] + [a + b for a, b in merges]
    # SmolLM2 has its special tokens in front, Qwen2 behind.
    tokens = SPECIALS + plain if arch == "llama" else plain + SPECIALS
    assert len(set(tokens)) == VOCAB
    return tokens, merges


def tokenizer_json(arch, tokens, merges):
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": arch == "llama"}
    first = (
        {"type": "Digits", "individual_digits": True}
        if arch == "llama"
        else {"type": "Split", "pattern": {"Regex": QWEN_SPLIT}, "behavior": "Isolated", "invert": False}
    )
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": tokens.index(t), "content": t, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for t in SPECIALS
        ],
        "normalizer": None if arch == "llama" else {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, byte_level]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens)},
            "merges": [f"{a} {b}" for a, b in merges],
        },
    }


# ---- numbers ----


def to_bf16(x):
    """BF16 as uint16, rounded to nearest even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def to_float(b):
    return (b.astype(np.uint32) << 16).view(np.float32)


def make_tensors(arch):
    """Hugging Face names to BF16 arrays."""
    rng = np.random.Generator(np.random.PCG64(1 if arch == "llama" else 2))

    def matrix(rows, columns, gain=1.0):
        return to_bf16(rng.standard_normal((rows, columns)) * (gain / np.sqrt(columns)))

    def norm():
        return to_bf16(1 + 0.2 * rng.standard_normal(HIDDEN))

    q, kv = Q_HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    out = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN, 3.0)}
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        out[p + "input_layernorm.weight"] = norm()
        out[p + "self_attn.q_proj.weight"] = matrix(q, HIDDEN, 1.5)
        out[p + "self_attn.k_proj.weight"] = matrix(kv, HIDDEN, 1.5)
        out[p + "self_attn.v_proj.weight"] = matrix(kv, HIDDEN)
        if arch == "qwen2":
            out[p + "self_attn.q_proj.bias"] = to_bf16(rng.standard_normal(q))
            k_bias = rng.standard_normal(kv)
            k_bias[::11] *= 20  # outlier channels, as the real ones have
            out[p + "self_attn.k_proj.bias"] = to_bf16(k_bias)
            out[p + "self_attn.v_proj.bias"] = to_bf16(0.1 * rng.standard_normal(kv))
        out[p + "self_attn.o_proj.weight"] = matrix(HIDDEN, q)
        out[p + "post_attention_layernorm.weight"] = norm()
        out[p + "mlp.gate_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        out[p + "mlp.up_proj.weight"] = matrix(INTERMEDIATE, HIDDEN)
        out[p + "mlp.down_proj.weight"] = matrix(HIDDEN, INTERMEDIATE)
    out["model.norm.weight"] = norm()
    if arch == "qwen2":
        out["lm_head.weight"] = matrix(VOCAB, HIDDEN, 3.0)
    return out


# ---- Hugging Face folder ----


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(value.shape), "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            f.write(value.tobytes())


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write_hf(folder, arch, tensors, tokens, merges):
    os.makedirs(folder, exist_ok=True)
    names = list(tensors)
    shards = {"model-00001-of-00002.safetensors": names[: len(names) // 2],
              "model-00002-of-00002.safetensors": names[len(names) // 2 :]}
    for shard, members in shards.items():
        write_safetensors(os.path.join(folder, shard), {n: tensors[n] for n in members})
    write_json(os.path.join(folder, "model.safetensors.index.json"), {
        "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
        "weight_map": {n: shard for shard, members in shards.items() for n in members},
    })
    config = {
        "architectures": ["LlamaForCausalLM" if arch == "llama" else "Qwen2ForCausalLM"],
        "model_type": arch, "hidden_act": "silu", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": LAYERS, "num_attention_heads": Q_HEADS, "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": CONTEXT, "rms_norm_eps": EPS, "rope_theta": 10000.0, "rope_scaling": None,
        "tie_word_embeddings": arch == "llama", "torch_dtype": "bfloat16", "vocab_size": VOCAB,
        "bos_token_id": tokens.index("<|endoftext|>"), "eos_token_id": tokens.index("<|im_end|>"),
    }
    if arch == "qwen2":
        config |= {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 1}
    write_json(os.path.join(folder, "config.json"), config)
    write_json(os.path.join(folder, "generation_config.json"),
               {"eos_token_id": [tokens.index("<|im_end|>"), tokens.index("<|endoftext|>")]})
    write_json(os.path.join(folder, "tokenizer.json"), tokenizer_json(arch, tokens, merges))
    write_json(os.path.join(folder, "tokenizer_config.json"), {
        "tokenizer_class": "GPT2Tokenizer" if arch == "llama" else "Qwen2Tokenizer", "add_bos_token": False,
        "bos_token": "<|endoftext|>", "eos_token": "<|im_end|>", "chat_template": TEMPLATE,
    })


# ---- GGUF ----

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
GGML_F32, GGML_BF16 = 0, 30


def gguf_string(s):
    raw = s.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}[kind], value)


def gguf_entry(key, kind, value):
    out = gguf_string(key)
    if isinstance(value, list):
        out += struct.pack("<IIQ", ARRAY, kind, len(value))
        return out + b"".join(gguf_value(kind, v) for v in value)
    return out + struct.pack("<I", kind) + gguf_value(kind, value)


GGUF_LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}


def gguf_name(name):
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        module, kind = rest.rsplit(".", 1)
        return f"blk.{layer}.{GGUF_LAYER_NAMES[module]}.{kind}"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
            "lm_head.weight": "output.weight"}[name]


def gguf_tensor(arch, name, value):
    """The tensor as a GGUF file holds it: Q and K of the llama architecture interleaved, vectors as F32."""
    for part, heads in ((".q_proj.", Q_HEADS), (".k_proj.", KV_HEADS)):
        if arch == "llama" and part in name:
            split = value.reshape(heads, 2, HEAD_DIM // 2, *value.shape[1:])
            value = split.swapaxes(1, 2).reshape(value.shape)
    return (to_float(value), GGML_F32) if value.ndim == 1 else (value, GGML_BF16)


def write_gguf(path, arch, tensors, tokens, merges):
    special = {t: 3 for t in SPECIALS}
    entries = [
        ("general.architecture", STRING, arch), ("general.name", STRING, f"tiny {arch}"),
        (f"{arch}.block_count", U32, LAYERS), (f"{arch}.context_length", U32, CONTEXT),
        (f"{arch}.embedding_length", U32, HIDDEN), (f"{arch}.feed_forward_length", U32, INTERMEDIATE),
        (f"{arch}.attention.head_count", U32, Q_HEADS), (f"{arch}.attention.head_count_kv", U32, KV_HEADS),
        (f"{arch}.attention.layer_norm_rms_epsilon", F32, EPS), (f"{arch}.rope.freq_base", F32, 10000.0),
        (f"{arch}.rope.dimension_count", U32, HEAD_DIM),
        *([] if Q_HEADS * HEAD_DIM == HIDDEN else [(f"{arch}.attention.key_length", U32, HEAD_DIM)]),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "smollm" if arch == "llama" else "qwen2"),
        ("tokenizer.ggml.tokens", STRING, tokens),
        ("tokenizer.ggml.token_type", I32, [special.get(t, 1) for t in tokens]),
        ("tokenizer.ggml.merges", STRING, [f"{a} {b}" for a, b in merges]),
        ("tokenizer.ggml.bos_token_id", U32, tokens.index("<|endoftext|>")),
        ("tokenizer.ggml.eos_token_id", U32, tokens.index("<|im_end|>")),
        ("tokenizer.ggml.add_bos_token", BOOL, False),
        ("tokenizer.chat_template", STRING, TEMPLATE),
    ]
    head = struct.pack("<IIQQ", 0x46554747, 3, len(tensors), len(entries))
    head += b"".join(gguf_entry(*e) for e in entries)
    data = b""
    for name, value in tensors.items():
        value, kind = gguf_tensor(arch, name, value)
        head += gguf_string(gguf_name(name)) + struct.pack("<I", value.ndim)
        head += b"".join(struct.pack("<Q", extent) for extent in reversed(value.shape))
        head += struct.pack("<IQ", kind, len(data))
        data += value.tobytes()
        data += b"\0" * (-len(data) % 32)
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + data)


def main():
    global LAYERS, HIDDEN, Q_HEADS, KV_HEADS, HEAD_DIM
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "models"))
    parser.add_argument("--kv-shape")
    parser.add_argument("--head-dim", type=int)
    args = parser.parse_args()
    out = args.out
    if args.kv_shape:
        LAYERS, KV_HEADS, HEAD_DIM = (int(n) for n in args.kv_shape.split(","))
        Q_HEADS, HIDDEN = KV_HEADS, KV_HEADS * HEAD_DIM
    if args.head_dim:
        HEAD_DIM = args.head_dim
    for arch in ("llama", "qwen2"):
        tokens, merges = make_vocabulary(arch)
        tensors = make_tensors(arch)
        if args.head_dim:
            write_gguf(os.path.join(out, f"tiny-{arch}-d{HEAD_DIM}.gguf"), arch, tensors, tokens, merges)
            continue
        write_hf(os.path.join(out, f"tiny-{arch}"), arch, tensors, tokens, merges)
        write_gguf(os.path.join(out, f"tiny-{arch}.gguf"), arch, tensors, tokens, merges)


if __name__ == "__main__":
    main()
