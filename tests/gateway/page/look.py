#!/usr/bin/env python3
"""Drives the gateway's page in headless Chromium, checks what can be checked, and takes pictures to be looked at.

    look.py LYNX MODEL PICTURES

By hand: Chromium is 300 MB. Needs Debian's `chromium` and PyPI's `playwright` (which needs no browser of its own).
Servers are started by `lynx up`, with a link slow enough that drafts and both transfers are seen.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

from playwright.sync_api import sync_playwright

KEY = "a-key-for-the-page"
PROMPT = "Explain in detail, step by step, how a lynx hunts in deep snow, and why it waits. " * 12


class Servers:
    def __init__(self, lynx, model, *options):
        self.process = subprocess.Popen([lynx, "up", "--model", model, "--port", "0", *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        self.url = re.search(r"at (http\S*)/v1", self.process.stdout.readline()).group(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


class Visit:
    """A page in a window of its own; `problems` is what the console said."""

    def __init__(self, browser, url, pictures, width, height, scheme):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        self.page = context.new_page()
        self.pictures = pictures
        self.problems = []
        self.requests = []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.problems.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(url)

    def picture(self, name):
        self.page.screenshot(path=str(self.pictures / f"{name}.png"), full_page=True)

    def check_fits(self):
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{wide} pixels too wide"


def ask(visit, tokens):
    page = visit.page
    page.fill("#prompt", PROMPT)
    page.fill("#max-tokens", str(tokens))
    page.click("#send")


def see_a_request(visit):
    page = visit.page
    page.wait_for_selector("#totals dd", timeout=30000)
    visit.picture("wide")
    ask(visit, 48)
    page.wait_for_selector("#answer .provisional", timeout=60000)
    visit.picture("drafting")
    page.wait_for_selector("#phase:text-is('Done.')", timeout=120000)
    assert page.locator("#answer .provisional").count() == 0
    assert len(page.inner_text("#answer")) > 20
    visit.picture("done")


def by_keyboard(visit):
    """From the address line to an answer and a stop without a mouse; where the focus is can be seen."""
    page = visit.page
    page.wait_for_selector("#totals dd", timeout=30000)
    order = []
    for _ in range(6):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"{order[-1]} does not show the focus"
        if order[-1] == "prompt":
            visit.picture("focus")
            page.keyboard.press("Control+a")
            page.keyboard.type("Say hello.")
    assert order == ["prompt", "max-tokens", "temperature", "speculative", "send", "answer"], order
    page.fill("#max-tokens", "2000")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("#answer > *", timeout=60000)
    page.keyboard.press("Escape")
    page.wait_for_selector("#phase:text-is('Stopped.')", timeout=10000)


def hostile(visit):
    """Markup in a request and in its answer stays text."""
    page = visit.page
    page.fill("#prompt", "<img src=x onerror=alert(1)> <script>alert(2)</script>")
    page.fill("#max-tokens", "8")
    page.click("#send")
    page.wait_for_selector("#phase:text-is('Done.')", timeout=60000)
    page.evaluate("new Answer(document.getElementById('answer')).add('<b>bold</b><img src=x onerror=alert(1)>', 0, false)")
    assert page.locator("#answer b, #answer img").count() == 0


def with_key(visit):
    page = visit.page
    page.wait_for_selector("#key-form:not([hidden])", timeout=30000)
    visit.picture("key")
    page.fill("#key", KEY)
    page.keyboard.press("Enter")
    page.wait_for_selector("#totals dd", timeout=30000)
    assert KEY not in page.content() and KEY not in page.url


def main():
    lynx, model, pictures = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
    pictures.mkdir(parents=True, exist_ok=True)
    slow = ["--transfer.link_rate_mbit=5", "--kv.anchor_bits.k=3", "--kv.anchor_bits.v=3"]
    with tempfile.NamedTemporaryFile("w") as keys, sync_playwright() as playwright:
        keys.write(KEY + "\n")
        keys.flush()
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        with Servers(lynx, model, *slow) as servers:
            for width, height, scheme, what in ((1280, 900, "light", see_a_request), (360, 740, "dark", by_keyboard), (800, 600, "light", hostile)):
                visit = Visit(browser, servers.url, pictures, width, height, scheme)
                visit.check_fits()
                what(visit)
                visit.check_fits()
                visit.picture(f"{what.__name__}-end")
                assert not visit.problems, visit.problems
                assert all(url.startswith(servers.url + "/") or url == "data:," for url in visit.requests), visit.requests
        with Servers(lynx, model, f"--gateway.api_keys_file={keys.name}") as servers:
            visit = Visit(browser, servers.url, pictures, 360, 740, "light")
            with_key(visit)
            visit.check_fits()
    print(f"ok; look at {pictures}")


main()
