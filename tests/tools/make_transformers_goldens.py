#!/usr/bin/env python3
"""Writes the goldens in tests/data/transformers: logits of Hugging Face transformers in float32.

    ./make_transformers_goldens.py HF_FOLDER golden.json

HF_FOLDER holds a model as gguf_to_hf.py makes it: the BF16 numbers that the engine computes with too. Prompts come from
prompts.json beside the goldens. For each: its token ids and, at some 40 positions, logsumexp and the 20 largest
logits. Made with transformers 4.44.2 and Debian 12's python3-torch (1.13.1, CPU).
"""

import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

POSITIONS, TOP = 40, 20
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "transformers")


def positions_of(length):
    """Evenly spread, the last one among them."""
    count = min(POSITIONS, length)
    return sorted({length - 1 - i * length // count for i in range(count)})


def golden(model, tokenizer, prompt):
    ids = tokenizer(prompt["text"], add_special_tokens=False)["input_ids"][: prompt["tokens_max"]]
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    rows = []
    for position in positions_of(len(ids)):
        top = torch.topk(logits[position], TOP)
        rows.append({
            "position": position,
            "logsumexp": round(torch.logsumexp(logits[position].double(), 0).item(), 5),
            "ids": top.indices.tolist(),
            "logits": [round(v, 5) for v in top.values.tolist()],
        })
    return {"name": prompt["name"], "tokens": ids, "rows": rows}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, target = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(folder, "tokenizer.json"))
    with open(os.path.join(DATA, "prompts.json"), encoding="utf-8") as f:
        prompts = json.load(f)
    goldens = [json.dumps(golden(model, tokenizer, p), separators=(",", ":")) for p in prompts]
    with open(target, "w", encoding="utf-8") as f:
        f.write("[\n" + ",\n".join(goldens) + "\n]\n")


if __name__ == "__main__":
    main()
