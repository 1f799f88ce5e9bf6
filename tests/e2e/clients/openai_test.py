#!/usr/bin/env python3
"""Runs openai_client.py against `lynx up` with a chat model, and one with API keys.

    openai_test.py LYNX CHAT_MODEL TINY_MODEL PACKAGES

PACKAGES: folder that the client is installed into from PyPI, if it is not there yet. Without a network or the model the
test is skipped (exit code 77); where CI is set it fails.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from served import lynx_up  # noqa: E402

OPENAI = "openai==3.57.0"
KEY = "a-key-for-tests"


def skip(why):
    print(why, file=sys.stderr)
    sys.exit(1 if os.environ.get("CI") else 77)


def install(packages):
    if (packages / "openai").is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-warn-conflicts", "--root-user-action",
               "ignore", "--target", str(packages), OPENAI]
    if subprocess.run(command).returncode != 0:
        skip(f"{OPENAI} could not be installed")


def main():
    lynx, chat_model, tiny_model = sys.argv[1:4]
    packages = pathlib.Path(sys.argv[4])
    if not os.path.exists(chat_model):
        skip(f"{chat_model} is missing: tests/fetch-models.sh brings it")
    install(packages)
    with tempfile.TemporaryDirectory() as folder:
        keys = pathlib.Path(folder) / "keys"
        keys.write_text(KEY + "\n")
        with lynx_up(lynx, chat_model, folder) as chat, lynx_up(lynx, tiny_model, folder,
                                                                f"--gateway.api_keys_file={keys}") as keyed:
            client = [sys.executable, str(HERE / "openai_client.py"), chat.url, keyed.url, KEY]
            result = subprocess.run(client, env={**os.environ, "PYTHONPATH": str(packages)})
            if result.returncode != 0:
                print(chat.log.read_text()[-5000:])
    sys.exit(1 if result.returncode else 0)


main()
