#!/usr/bin/env python3
"""Checks who includes whom: every folder may include only itself and what RULES names.

usage: include_directions.py SOURCE_DIR
"""
import pathlib
import re
import sys

# Folder -> the folders that it may include; None: any. Deeper entries win over their parents.
RULES = {
    "runtime": set(),
    "config": {"runtime"},
    "kernels": {"runtime"},
    "model": {"kernels", "runtime"},
    "transfer": {"kernels", "runtime"},
    "proto": {"model", "kernels", "transfer", "config", "runtime"},
    "prefill": {"model", "kernels", "transfer", "config", "proto", "runtime"},
    "decode": {"model", "kernels", "transfer", "config", "proto", "runtime"},
    "gateway": {"model", "config", "proto", "runtime"},
    "cli": None,
    "bench": None,
    "tests": None,
}

# Files that are bound more tightly than their folders.
ONLY = {
    # Operations know buffers, numbers and threads, not what servers are made of.
    "kernels": {
        "runtime/aligned_buffer.h", "runtime/bf16.h", "runtime/cpu.h", "runtime/huge_page_arena.h",
        "runtime/log.h", "runtime/status.h", "runtime/thread_pool.h",
        "runtime/cuda/cuda_buffer.h", "runtime/cuda/cuda_handles.h", "runtime/cuda/cuda_status.h",
    },
    # Payloads are bytes here, whatever they mean.
    "transfer": {"kernels/checksum_inl.h", "kernels/cuda/checksum.h"},
    # Text: tokenizer, chat template and what loads them; seeds. No weights are computed with here.
    "gateway": {
        "model/loader.h", "model/sampling_noise.h", "model/sampling_params.h", "model/tokenizer.h",
        "model/template/chat_template.h", "model/model_config.h",
    },
}

NOT_SOURCES = {"build", "models", "out", "shared"}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)


def violations(path, text):
    """Messages about `text`, the content of the file `path` (relative to the root)."""
    folder = path.split("/")[0]
    if folder not in RULES:
        return [f"{path}: folder {folder}/ has no rule in tests/lint/include_directions.py"]
    found = []
    for target in INCLUDE.findall(text):
        if target.startswith("../") or "/../" in target:
            found.append(f'{path}: "{target}": includes are relative to the root')
            continue
        other = target.split("/")[0]
        if other not in RULES or other == folder or RULES[folder] is None:
            continue  # a system library's, or always allowed
        if other not in RULES[folder]:
            found.append(f'{path}: {folder} must not include {other} ("{target}")')
        elif folder in ONLY:
            allowed = {name for name in ONLY[folder] if name.split("/")[0] == other}
            if allowed and target not in allowed:
                found.append(f'{path}: {folder} must not include "{target}"')
    return found


def cycles():
    """Rules that allow two folders to include each other."""
    def reaches(start, goal, seen):
        for other in RULES[start] or ():
            if other == goal or (other not in seen and reaches(other, goal, seen | {other})):
                return True
        return False
    return [folder for folder in RULES if RULES[folder] and reaches(folder, folder, {folder})]


def self_test():
    """A check that cannot fail is none."""
    assert violations("gateway/a.cc", '#include "transfer/frame.h"\n')
    assert violations("gateway/a.cc", '#include "model/transformer.h"\n')
    assert violations("prefill/a.cc", '  #include "decode/engine.h"\n')
    assert violations("kernels/cpu/a.h", '#include "runtime/wakeup.h"\n')
    assert violations("runtime/a.h", '#include "config/config.h"\n')
    assert violations("model/a.h", '#include "../kernels/ops.h"\n')
    assert violations("surprise/a.h", "")
    assert not violations("decode/a.cc", '#include "model/sampling.h"\n#include <vector>\n')
    assert not violations("transfer/a.cc", '#include "absl/status/status.h"\n#include "block.h"\n')
    assert not violations("tests/a.cc", '#include "decode/engine.h"\n')
    assert not cycles(), cycles()


def main():

    self_test()
    root = pathlib.Path(sys.argv[1])
    names = sorted(str(path.relative_to(root)) for folder in root.iterdir()
                   if folder.is_dir() and folder.name[0] != "." and folder.name not in NOT_SOURCES
                   for path in folder.rglob("*") if path.suffix in (".cc", ".h", ".cu", ".cuh"))
    if not names:
        sys.exit(f"no sources in {root}")
    found = [line for name in names for line in violations(name, (root / name).read_text())]
    print("\n".join(found) or f"{len(names)} files, all directions as allowed")
    sys.exit(1 if found else 0)


main()
