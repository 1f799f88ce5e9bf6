"""`lynx up` for tests in Python: started on a free port, ended with the block."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import time
import urllib.request


class Served:
    def __init__(self, process, url, log):
        self.process, self.url, self.log = process, url, log
        self.root = url.removesuffix("/v1")

    def metrics(self):
        """The gateway's own figures, those without labels."""
        with urllib.request.urlopen(self.root + "/metrics", timeout=10) as reply:
            lines = reply.read().decode().splitlines()
        own = [line.split(" ") for line in lines if line.startswith("lynx_") and "{" not in line]
        return {name: float(value) for name, value in own}

    def children(self):
        """{name: pid} of the servers."""
        found = {}
        for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                name, parent = re.match(r"\d+ \((.*)\) \S (\d+) ", stat.read_text()).groups()
                if int(parent) == self.process.pid:
                    found[name] = int(stat.parent.name)
        return found

    def wait_until_idle(self, seconds=60):
        """No request anywhere, and every KV page free."""
        names = ("lynx_gateway_requests_in_flight", "lynx_num_requests_running", "lynx_num_requests_waiting",
                 "lynx_kv_cache_usage_perc", "lynx_prefill_kv_cache_usage_perc")
        until("idle", lambda: not any(self.metrics()[name] for name in names), seconds)


def until(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


@contextlib.contextmanager
def lynx_up(lynx, model, folder, *flags, environment=None):
    """Its log is kept in `folder`; `environment`: variables beside the own ones."""
    log = pathlib.Path(folder) / f"{pathlib.Path(model).name}.log"
    with open(log, "w") as errors:
        process = subprocess.Popen([lynx, "up", "--model", model, "--port", "0", *flags], stdout=subprocess.PIPE,
                                   stderr=errors, text=True, env={**os.environ, **(environment or {})})
    try:
        line = process.stdout.readline()
        ready = re.match(r"lynx is ready: .* at (http\S+)$", line)
        assert ready, f"not ready: {line!r}; {log.read_text()[-2000:]}"
        yield Served(process, ready[1], log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, f"exit code {process.returncode}"
    finally:
        process.kill()  # takes its children along; it may be gone already
        process.wait()
        process.stdout.close()
