#!/usr/bin/env python3
"""What the KV code costs a model in float32, apart from an engine's own rounding: mean KL of the 32 tokens behind a coded
prompt, teacher-forced, over the prompts of a golden file.

    ./measure_code_kl.py HF_FOLDER golden.json

Prints for each prompt KL(BF16 KV || 8 bits) and KL(8 bits || Anchor K5V4). The code is written here from its definition
(docs/kv-code.md), on the past keys and values of transformers; versions as in make_transformers_goldens.py.
"""

import json
import sys

import torch
from transformers import AutoModelForCausalLM

PAGE, SINKS, FORCED = 64, 4, 32


def coded(x, bits):
    """x [1, kv_heads, tokens, head_dim], rounded to BF16, as `bits` Anchor bits of each page stand for it."""
    x = x.bfloat16().float()
    out = x.clone()
    left_out = 2 ** (8 - bits)
    for page in range(0, x.shape[2], PAGE):
        first = SINKS if page == 0 else 0
        group = x[:, :, page + first : page + PAGE]
        low, high = group.amin(2, keepdim=True), group.amax(2, keepdim=True)
        k = torch.ceil(8 * torch.log2((high - low).double() / 255) - 1e-9).clamp(min=-128)
        step = (2 ** (k / 8)).float()
        q = torch.round((group - low) / step).clamp(0, 255)
        centre = torch.floor(q / left_out) * left_out + (left_out - 1) / 2
        out[:, :, page + first : page + PAGE] = low + step * centre
    return out


def kl(p, q):
    return (p.exp() * (p - q)).sum(-1).mean().item()


def measure(model, tokens):
    """(prompt's tokens, KL of 8 bits, KL of the Anchor)"""
    length = (len(tokens) - FORCED) // PAGE * PAGE
    past = model(torch.tensor([tokens[:length]]), use_cache=True).past_key_values

    def log_probabilities(k_code, v_code):
        kv = tuple((k_code(k), v_code(v)) for k, v in past)
        forced = torch.tensor([tokens[length : length + FORCED]])
        positions = torch.arange(length, length + FORCED)[None]
        logits = model(forced, past_key_values=kv, position_ids=positions).logits[0]
        return torch.log_softmax(logits.double(), -1)

    plain = log_probabilities(lambda x: x.bfloat16().float(), lambda x: x.bfloat16().float())
    full = log_probabilities(lambda x: coded(x, 8), lambda x: coded(x, 8))
    anchor = log_probabilities(lambda x: coded(x, 5), lambda x: coded(x, 4))
    return length, kl(plain, full), kl(full, anchor)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], torch_dtype=torch.float32, attn_implementation="eager").eval()
    with open(sys.argv[2], encoding="utf-8") as f:
        prompts = [p for p in json.load(f) if len(p["tokens"]) >= 3 * PAGE + FORCED]
    with torch.no_grad():
        results = [measure(model, p["tokens"]) for p in prompts]
    for prompt, (length, full, anchor) in zip(prompts, results):
        print(f"{prompt['name']} {length} tokens: 8 bits {full:.3g}, K5V4 {anchor:.3g}")
    print(f"mean: 8 bits {sum(r[1] for r in results) / len(results):.3g}, "
          f"K5V4 {sum(r[2] for r in results) / len(results):.3g}")


if __name__ == "__main__":
    main()
