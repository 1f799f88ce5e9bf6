#!/usr/bin/env python3
"""ptx_gate.py --flag=F... [--nvcc N] [--build-dir D] [--jobs 2]: compiles every kernels/cuda/*.cu with nvcc
for each architecture and looks at what came out.

No kernel may spill registers or keep a stack in local memory, but for those that local_memory.allow names
with a reason. The kernels that kernels.gate names must hold so many of certain instructions. Exit status: 0
all well, 1 not, 77 no nvcc (1 where the environment variable CI is set)."""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

SOURCE = pathlib.Path(__file__).resolve().parents[2]
ARCHITECTURES = ["80", "90"]
INSTRUCTIONS = {
    "mma": r"\bmma\.sync\.",
    "ldmatrix": r"\bldmatrix\.sync\.",
    "cp.async": r"\bcp\.async\.c[ag]\.",
}


def kernel_name(symbol):
    """_ZN4lynx4cuda..15GemmTilesKernelILi64EEEv.. -> GemmTilesKernel<64>"""
    name, at = symbol, 3 if symbol.startswith("_ZN") else 2
    while match := re.match(r"\d+", symbol[at:]):
        start = at + match.end()
        at = start + int(match.group())
        name = symbol[start:at]
    arguments = re.match(r"I((?:L[a-zN]\w*?E)+)E", symbol[at:])
    if arguments:
        name += "<" + ",".join(re.findall(r"(\d+)E", arguments.group(1))) + ">"
    return name


def read_rules(name):
    """Lines of fields, without comments."""
    lines = (SOURCE / "tests/cuda" / name).read_text().splitlines()
    return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def compile_file(source, options):
    output = options.build_dir / (source.stem + ".o")
    command = [options.nvcc, *options.flag, "-Xptxas", "-v", "--no-compress", "-I."]
    for arch in ARCHITECTURES:
        command.append(f"-gencode=arch=compute_{arch},code=[compute_{arch},sm_{arch}]")
    command += ["-c", str(source.relative_to(SOURCE)), "-o", str(output.resolve())]
    if ccache := shutil.which("ccache"):
        command.insert(0, ccache)
    # From the source folder, with relative names: what ccache has is found from every checkout.
    run = subprocess.run(command, cwd=SOURCE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return run.returncode, run.stdout, output


def usage_of(file, log):
    """(file, kernel, architecture) -> (stack, spill) in bytes, of what ptxas -v printed. Functions that were
    not inlined count to the kernel before them."""
    usage, current = {}, None
    for line in log.splitlines():
        if match := re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)'", line):
            current = (file, kernel_name(match.group(1)), match.group(2))
            usage.setdefault(current, (0, 0))
        match = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes", line)
        if match and current:
            stack, stores, loads = map(int, match.groups())
            usage[current] = (max(usage[current][0], stack), max(usage[current][1], stores + loads))
    return usage


def instructions_of(file, output):
    """(file, kernel, architecture) -> {instruction: count}, of the PTX in the object file."""
    data = output.read_bytes()
    counts = {}
    for start in re.finditer(rb"\.version \d+\.\d+\s+\.target sm_(\d+)", data):
        text = data[start.start() : data.find(b"\0", start.start())].decode()
        arch = start.group(1).decode()
        for body in re.split(r"(?=\.entry )", text)[1:]:
            name = kernel_name(re.match(r"\.entry (\w+)", body).group(1))
            counts[file, name, arch] = {i: len(re.findall(p, body)) for i, p in INSTRUCTIONS.items()}
    return counts


def check_usage(usage, allowed):
    complaints = []
    used = set()
    for key, (stack, spill) in sorted(usage.items()):
        if stack == 0 and spill == 0:
            continue
        if stack > allowed.get(key, 0) or spill > allowed.get(key, 0):
            complaints.append(f"{' '.join(key)}: {stack} bytes of stack, {spill} of spills")
        used.add(key)
    for key in sorted(set(allowed) - used):
        complaints.append(f"{' '.join(key)}: needs no place in local_memory.allow any more")
    return complaints


def check_instructions(counts, rules):
    complaints = []
    for pattern, *minima in rules:
        kernels = [key for key in counts if re.fullmatch(pattern, key[1])]
        if not kernels:
            complaints.append(f"kernels.gate: no kernel is called {pattern}")
        for key in sorted(kernels):
            for minimum in minima:
                instruction, least = minimum.split(">=")
                found = counts[key][instruction]
                if found < int(least):
                    complaints.append(f"{' '.join(key)}: {found} {instruction}, not {least}")
    return complaints


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--flag", action="append", default=[])
    parser.add_argument("--build-dir", type=pathlib.Path, default=pathlib.Path("ptx_gate"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--print-counts", action="store_true")
    options = parser.parse_args()
    if not shutil.which(options.nvcc):
        print(f"ptx_gate: no {options.nvcc}")
        return 1 if os.environ.get("CI") else 77
    options.build_dir.mkdir(parents=True, exist_ok=True)

    sources = sorted((SOURCE / "kernels/cuda").glob("*.cu"))
    usage, counts, complaints = {}, {}, []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for source, result in zip(sources, pool.map(lambda s: compile_file(s, options), sources)):
            status, log, output = result
            if status != 0:
                complaints.append(f"{source.name} does not compile:\n{log}")
                continue
            usage.update(usage_of(source.name, log))
            counts.update(instructions_of(source.name, output))

    allowed = {
        (file, kernel, arch): int(limit)
        for file, kernel, arch, limit, *reason in read_rules("local_memory.allow")
        if reason
    }
    for key in sorted(set(counts) - set(usage)):
        complaints.append(f"{' '.join(key)}: ptxas printed nothing of it")
    complaints += check_usage(usage, allowed)
    complaints += check_instructions(counts, read_rules("kernels.gate"))
    if options.print_counts:
        for key, found in sorted(counts.items()):
            print(*key, found, usage.get(key))
    for complaint in complaints:
        print(complaint)
    print(f"{len(sources)} files, {len(usage)} kernels and architectures, {len(complaints)} complaints")
    return 1 if complaints or not usage else 0


if __name__ == "__main__":
    sys.exit(main())
