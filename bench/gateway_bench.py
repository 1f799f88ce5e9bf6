#!/usr/bin/env python3
"""What the gateway costs with real servers behind it: CPU time of its process, by request and by streamed token.

    gateway_bench.py LYNX MODEL [ROUNDS]

Prompts are token ids, so that no tokenizer takes part. Requests come one at a time over a kept connection; the streamed
ones differ in nothing but max_tokens, so that the difference over the additional tokens is what a token costs. Wall time
beside the engines: the client's time for a request less what the decode server needed, as its own statistics say.
"""

import http.client
import json
import pathlib
import statistics
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "e2e"))
from served import lynx_up  # noqa: E402

LYNX, MODEL = sys.argv[1:3]
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 9
REQUESTS = 100  # a round
SHORT, LONG = 8, 72  # tokens of a stream
PROMPT = list(range(10, 70))


def cpu_seconds(pid):
    """Of all its threads, in nanoseconds' resolution."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def main():
    with tempfile.TemporaryDirectory() as folder, lynx_up(LYNX, MODEL, folder, "--threads", "1") as served:
        connection = http.client.HTTPConnection(urllib.parse.urlparse(served.url).netloc, timeout=60)
        gateway = served.children()["lynx-gateway"]

        def post(**fields):
            body = {"prompt": PROMPT, "temperature": 0, "ignore_eos": True, **fields}
            connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 200, text
            return text

        def cost(**fields):
            """CPU seconds of the gateway for a request."""
            before = cpu_seconds(gateway)
            for _ in range(REQUESTS):
                post(**fields)
            return (cpu_seconds(gateway) - before) / REQUESTS

        def beside_the_engines():
            begin = time.perf_counter()
            reply = json.loads(post(max_tokens=2, lynx={"stats": True}))
            return time.perf_counter() - begin - reply["lynx"]["second_token_committed_ms"] / 1e3

        cost(max_tokens=LONG, stream=True)  # warm
        rows = {"a request of one token, CPU us": [], "a streamed token, CPU us": [], "beside the engines, wall us": []}
        for _ in range(ROUNDS):
            single = cost(max_tokens=1)
            streamed = cost(max_tokens=LONG, stream=True) - cost(max_tokens=SHORT, stream=True)
            wall = statistics.median(beside_the_engines() for _ in range(REQUESTS))
            for row, value in zip(rows.values(), (single, streamed / (LONG - SHORT), wall)):
                row.append(value * 1e6)
    for name, values in rows.items():
        print(f"{name}: median {statistics.median(values):.1f}, {min(values):.1f} to {max(values):.1f} over {ROUNDS} rounds")


main()
