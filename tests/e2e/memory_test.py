#!/usr/bin/env python3
"""Memory stays flat: 2,000 requests of many kinds to real servers, one in ten left in mid-stream.

    memory_test.py LYNX MODEL [REQUESTS]

Behind every quarter of them no KV page may be in use and no request open. The first quarter warms up: allocators,
threads and connections reach their size. Behind the last one no process may hold more anonymous memory than behind
the first, but for SLACK_BYTES.
"""

import concurrent.futures
import http.client
import json
import pathlib
import random
import sys
import tempfile
import time
import urllib.parse

from served import lynx_up

LYNX, MODEL = sys.argv[1:3]
REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
CLIENTS = 8
# What a process may grow by over the last three quarters: 1,500 requests with 300 prompt tokens on average, so 2.8 KB a
# request. Keeping each one's BF16 KV would take 100 MB, that of the cancelled ones alone 10 MB; their events, calls and
# buffers are kilobytes a request too. What the allocator keeps, because eight clients' requests overlap differently each
# time, was at most 1.6 MB.
SLACK_BYTES = 4 << 20


def body_of(number):
    """(path, body): the same for the same number."""
    rng = random.Random(number)
    prompt = [rng.randrange(3, 300) for _ in range(rng.choice((1, 30, 64, 200, 500, 1000)))]
    if is_cancelled(number):
        return "/v1/completions", {"prompt": prompt, "max_tokens": 2000, "ignore_eos": True, "stream": True}
    body = {"prompt": prompt, "max_tokens": rng.choice((1, 4, 16)), "temperature": rng.choice((0, 1)), "seed": number}
    kind = number % 8
    if kind == 0:
        body = {"messages": [{"role": "user", "content": "the dog " * rng.randrange(1, 60)}], "max_tokens": 8}
        return "/v1/chat/completions", body
    if kind == 1:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    elif kind == 2:
        body |= {"n": 3, "temperature": 1}
    elif kind == 3:
        body |= {"echo": True, "logprobs": 3}
    elif kind == 4:
        body |= {"stream": True, "lynx": {"emission": "speculative", "stats": True}}
    elif kind == 5:
        body |= {"stop": ["e", "\x01"]}
    elif kind == 6:
        body |= {"temperature": 9}  # a 400
    return "/v1/completions", body


def is_cancelled(number):
    return number % 10 == 9


class Client:
    def __init__(self, url):
        self.address = urllib.parse.urlparse(url).netloc
        self.connection = http.client.HTTPConnection(self.address, timeout=120)

    def run(self, numbers):
        for number in numbers:
            path, body = body_of(number)
            if is_cancelled(number):
                self.leave(path, body)
                continue
            self.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            reply = self.connection.getresponse()
            text = reply.read()
            wanted = 400 if body.get("temperature") == 9 else 200
            assert reply.status == wanted, f"request {number}: {reply.status} {text[:500]}"

    def leave(self, path, body):
        connection = http.client.HTTPConnection(self.address, timeout=120)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        assert reply.status == 200 and reply.readline().startswith(b"data: ")
        reply.close()
        connection.close()


def anonymous_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


def main():
    # A link on which a prompt's KV takes a while, so that requests are left in every state.
    flags = ("--threads", "1", "--transfer.link_rate_mbit=50")
    # One arena: what the allocator keeps does then not depend on which threads met when.
    allocator = {"MALLOC_ARENA_MAX": "1"}
    with tempfile.TemporaryDirectory() as folder, lynx_up(LYNX, MODEL, folder, *flags, environment=allocator) as served:
        clients = [Client(served.url) for _ in range(CLIENTS)]
        pids = served.children()
        assert sorted(pids) == ["lynx-decode", "lynx-gateway", "lynx-prefill"], pids
        sizes = {name: [] for name in pids}
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            for quarter in range(4):
                numbers = range(REQUESTS * quarter // 4, REQUESTS * (quarter + 1) // 4)
                list(threads.map(lambda c: clients[c].run(numbers[c::CLIENTS]), range(CLIENTS)))
                served.wait_until_idle()
                for name, pid in pids.items():
                    sizes[name].append(anonymous_bytes(pid))
        seconds = time.monotonic() - begin
        left = sum(is_cancelled(i) for i in range(REQUESTS))
        assert served.metrics()["lynx_clients_gone_total"] == left
        assert served.children() == pids, "a server was restarted"
    print(f"{REQUESTS} requests, {left} left in mid-stream, {seconds:.0f} s; anonymous memory in KiB after each quarter:")
    for name, values in sizes.items():
        print(f"  {name}: {', '.join(str(v // 1024) for v in values)}")
    grown = {name: values[-1] - values[0] for name, values in sizes.items()}
    assert all(by <= SLACK_BYTES for by in grown.values()), f"memory grows: {grown}"


main()
