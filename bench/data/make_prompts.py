#!/usr/bin/env python3
"""Writes prompts.json beside it: 20 chats over this repository's own docs and sources.

The file is frozen: figures in docs/measurements.md belong to the text as it stands in it, so it is
not made anew when the sources change. Run from the repository's root:  bench/data/make_prompts.py
"""
import json
import pathlib

# (name, task, characters at most, files): half prose, half code, every file once. With the template
# around it a prompt has 1K to 4K tokens of SmolLM2's tokenizer.
PROMPTS = [
    ("readme", "summarise", 3700, ["README.md"]),
    ("contributing", "explain", 3900, ["CONTRIBUTING.md", "docs/adr/beast-for-http.md"]),
    ("decisions", "continue", 4600, ["docs/adr/own-tokenizer.md", "docs/adr/grpc-callbacks.md",
                                     "docs/adr/utf8proc-for-nfc.md", "docs/measurements.md"]),
    ("command_line", "quote", 3900, ["docs/cli.md"]),
    ("templates", "summarise", 4200, ["docs/chat-templates.md", "docs/adr/own-chat-templates.md"]),
    ("architecture", "explain", 7000, ["docs/architecture.md"]),
    ("http", "quote", 5800, ["docs/http-api.md"]),
    ("exactness", "continue", 6000, ["docs/exactness.md"]),
    ("configuration", "summarise", 11800, ["docs/configuration.md"]),
    ("formats", "quote", 9500, ["docs/wire-format.md", "docs/kv-code.md"]),
    ("sequence", "explain", 3000, ["decode/sequence.cc"]),
    ("ticket", "continue", 3400, ["transfer/ticket.cc"]),
    ("units", "quote", 3000, ["cli/units.cc", "cli/text_file.cc"]),
    ("incoming", "summarise", 6000, ["decode/incoming_kv.cc"]),
    ("transformer", "explain", 6000, ["model/transformer.cc"]),
    ("sampling", "continue", 6000, ["model/sampling.cc"]),
    ("send_queue", "explain", 11500, ["transfer/send_queue.cc"]),
    ("gguf", "continue", 11000, ["model/gguf_parser.cc"]),
    ("prefill", "summarise", 11500, ["prefill/engine.cc"]),
    ("lexer", "quote", 10000, ["model/template/lexer.cc"]),
]
TASKS = {
    "summarise": "Summarise the text above in a few paragraphs.",
    "explain": "Explain the text above step by step to someone who is new to it.",
    "quote": "Quote the most important passages of the text above word for word, and say of each why"
             " it matters.",
    "continue": "Continue the text above where it ends, in the same style.",
}


def cut(text, limit):
    """At most `limit` characters, whole lines."""
    if len(text) <= limit:
        return text
    return text[: text.rindex("\n", 0, limit) + 1]


def main():
    prompts = []
    for name, task, limit, files in PROMPTS:
        text = cut("\n".join(pathlib.Path(f).read_text() for f in files), limit)
        prompts.append({"name": name, "task": task, "content": f"{text}\n{TASKS[task]}"})
    out = pathlib.Path(__file__).with_name("prompts.json")
    out.write_text(json.dumps({"prompts": prompts}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
