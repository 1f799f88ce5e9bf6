#!/usr/bin/env python3
"""Converts a GGUF model (llama or qwen2 architecture, byte-level BPE) into a Hugging Face folder.

    ./gguf_to_hf.py model.gguf folder

Weights become BF16 (rounded to nearest even) in model.safetensors; config.json, generation_config.json, tokenizer.json
and tokenizer_config.json come from the metadata. Needs numpy and PyPI's `gguf`.
"""

import json
import os
import struct
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

CONTROL = 3
EOS_NAMES = ["<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"]
LAYER_NAMES = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}
# The split regexes of the two tokenizers (llama.cpp's names for them).
QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def to_bf16(x):
    u = np.ascontiguousarray(x, np.float32).view(np.uint32)
    return ((u + np.uint32(0x7FFF) + ((u >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)).astype(np.uint16)


class Model:
    def __init__(self, path):
        self.reader = GGUFReader(path)
        self.arch = self.get("general.architecture")
        if self.arch not in ("llama", "qwen2"):
            sys.exit(f"architecture {self.arch} is not supported")
        self.q_heads = int(self.arch_get("attention.head_count"))
        self.kv_heads = int(self.arch_get("attention.head_count_kv", self.q_heads))
        self.tensors = {t.name: t for t in self.reader.tensors}

    def get(self, key, default=None):
        field = self.reader.get_field(key)
        return default if field is None else field.contents()

    def arch_get(self, key, default=None):
        return self.get(f"{self.arch}.{key}", default)

    def hf_name(self, name):
        if name.startswith("blk."):
            _, layer, module, kind = name.split(".")
            return f"model.layers.{layer}.{LAYER_NAMES[module]}.{kind}"
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
                "output.weight": "lm_head.weight"}[name]

    def hf_shape(self, tensor):
        return [int(extent) for extent in reversed(tensor.shape)]

    def hf_value(self, tensor):
        """BF16; rows of Q and K of the llama architecture back in the order of halves."""
        value = to_bf16(dequantize(tensor.data, tensor.tensor_type)).reshape(self.hf_shape(tensor))
        for part, heads in ((".attn_q.", self.q_heads), (".attn_k.", self.kv_heads)):
            if self.arch == "llama" and part in tensor.name:
                half = value.shape[0] // heads // 2
                split = value.reshape(heads, half, 2, *value.shape[1:])
                value = split.swapaxes(1, 2).reshape(value.shape)
        return value


def write_safetensors(model, path):
    tensors = [t for t in model.reader.tensors if t.name != "rope_freqs.weight"]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for t in tensors:
        shape = model.hf_shape(t)
        size = 2 * int(np.prod(shape))
        header[model.hf_name(t.name)] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors:
            f.write(model.hf_value(t).tobytes())


def shortest_float32(x):
    """The shortest decimal that is the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(x)))


def rope_scaling(model):
    kind = model.arch_get("rope.scaling.type", "none")
    if "rope_freqs.weight" in model.tensors:
        sys.exit("rope_freqs.weight cannot be turned back into llama3's parameters")
    if kind == "none":
        return None
    scaling = {"rope_type": kind, "factor": shortest_float32(model.arch_get("rope.scaling.factor"))}
    original = model.arch_get("rope.scaling.original_context_length")
    if original is not None:
        scaling["original_max_position_embeddings"] = int(original)
    return scaling


def config(model):
    hidden = int(model.arch_get("embedding_length"))
    return {
        "architectures": ["LlamaForCausalLM" if model.arch == "llama" else "Qwen2ForCausalLM"],
        "model_type": model.arch, "hidden_act": "silu", "hidden_size": hidden,
        "intermediate_size": int(model.arch_get("feed_forward_length")),
        "num_hidden_layers": int(model.arch_get("block_count")), "num_attention_heads": model.q_heads,
        "num_key_value_heads": model.kv_heads,
        "head_dim": int(model.arch_get("attention.key_length", hidden // model.q_heads)),
        "max_position_embeddings": int(model.arch_get("context_length")),
        "rms_norm_eps": shortest_float32(model.arch_get("attention.layer_norm_rms_epsilon")),
        "rope_theta": shortest_float32(model.arch_get("rope.freq_base", 10000.0)),
        "rope_scaling": rope_scaling(model), "tie_word_embeddings": "output.weight" not in model.tensors,
        "torch_dtype": "bfloat16", "vocab_size": int(model.tensors["token_embd.weight"].shape[1]),
        "bos_token_id": model.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": model.get("tokenizer.ggml.eos_token_id"),
    }


def tokenizer(model, tokens, types):
    pre = model.get("tokenizer.ggml.pre")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": pre == "smollm"}
    if pre == "smollm":
        first, normalizer = {"type": "Digits", "individual_digits": True}, None
    elif pre == "qwen2":
        first = {"type": "Split", "pattern": {"Regex": QWEN2_SPLIT}, "behavior": "Isolated", "invert": False}
        normalizer = {"type": "NFC"}
    else:
        sys.exit(f"pre-tokenizer {pre} is not supported")
    # Normal tokens stand in the model's vocabulary, all others are added tokens (control ones are special).
    added = [
        {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": types[i] == CONTROL}
        for i, t in enumerate(tokens) if types[i] != 1
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": normalizer,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [first, byte_level]}, "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(tokens) if types[i] == 1 or pre == "smollm"},
            "merges": model.get("tokenizer.ggml.merges"),
        },
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model, folder = Model(sys.argv[1]), sys.argv[2]
    os.makedirs(folder, exist_ok=True)
    tokens, types = model.get("tokenizer.ggml.tokens"), model.get("tokenizer.ggml.token_type")
    eos = {model.get("tokenizer.ggml.eos_token_id")}
    eos |= {i for i, t in enumerate(tokens) if t in EOS_NAMES and types[i] == CONTROL}
    write_json(os.path.join(folder, "config.json"), config(model))
    write_json(os.path.join(folder, "generation_config.json"), {"eos_token_id": sorted(int(i) for i in eos)})
    write_json(os.path.join(folder, "tokenizer.json"), tokenizer(model, tokens, types))
    settings = {"add_bos_token": bool(model.get("tokenizer.ggml.add_bos_token", False)), "tokenizer_class":
                "GPT2Tokenizer" if model.arch == "llama" else "Qwen2Tokenizer"}
    for key in ("bos", "eos"):
        index = model.get(f"tokenizer.ggml.{key}_token_id")
        settings[f"{key}_token"] = None if index is None else tokens[index]
    settings["chat_template"] = model.get("tokenizer.chat_template")
    write_json(os.path.join(folder, "tokenizer_config.json"), settings)
    write_safetensors(model, os.path.join(folder, "model.safetensors"))


if __name__ == "__main__":
    main()
