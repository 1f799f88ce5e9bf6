#!/usr/bin/env python3
"""Renders deploy/kubernetes with kubectl and holds it to the API's schemas and to what Lynx needs of it.

    kubernetes_test.py LYNX PACKAGES

PACKAGES: folder that kubernetes-validate is installed into from PyPI, if it is not there yet. KUBECTL names another
kubectl. Without kubectl or a network the test is skipped (exit code 77); where CI is set it fails.
"""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

import crd_schemas
import manifest_checks

ROOT = pathlib.Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
VALIDATE = "kubernetes-validate==1.37.0"
VERSIONS = ["1.30", "1.37"]  # the oldest that preStop's sleep works in, and the newest that is known
RENDERED = [["cluster"], ["overlays/cpu-demo"], ["overlays/cuda-nccl-pair"], ["overlays/cuda-nccl-many"],
            ["overlays/cuda-nccl-pair", "extras/hpa"]]


def skip(why):
    print(why, file=sys.stderr)
    sys.exit(1 if os.environ.get("CI") else 77)


def install(packages):
    """As pip would, but of the schemas only those of VERSIONS: it is 17,000 files otherwise."""
    if packages.is_dir():
        return
    wanted = tuple(f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/" for version in VERSIONS)
    with tempfile.TemporaryDirectory() as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:",
                   "--dest", wheels, VALIDATE]
        if subprocess.run(command).returncode != 0:
            skip(f"{VALIDATE} could not be fetched")
        work = packages.with_suffix(".part")
        shutil.rmtree(work, ignore_errors=True)
        for wheel in pathlib.Path(wheels).glob("*.whl"):
            files = zipfile.ZipFile(wheel)
            files.extractall(work, [name for name in files.namelist()
                                    if "/kubernetes-json-schema/" not in name or name.startswith(wanted)])
        work.rename(packages)


def render(kubectl, folder):
    import yaml
    out = subprocess.run([kubectl, "kustomize", str(ROOT / folder)], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"{folder}: {out.stderr}")
    return [manifest for manifest in yaml.load_all(out.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if manifest]


def schema_errors(manifests, seen):
    """`seen`: what other overlays had, too."""
    import kubernetes_validate
    for manifest in manifests:
        text = json.dumps(manifest, sort_keys=True)
        if text in seen:
            continue
        seen.add(text)
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(manifest, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(str(step) for step in error.path)
                yield f"{manifest_checks.name(manifest)}: Kubernetes {version}: {path}: {error.message}"
            except kubernetes_validate.SchemaNotFoundError:
                yield from crd_schemas.errors(manifest)
                break


def lynx_on(lynx, command, text):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        config.write(text)
        config.flush()
        return subprocess.run([lynx, *command, config.name], capture_output=True, text=True)


def config_errors(lynx, manifests):
    """Of every ConfigMap's JSON files."""
    for manifest in manifests:
        for file, text in manifest.get("data", {}).items():
            if file.endswith(".json"):
                result = lynx_on(lynx, ["check-config"], text)
                if result.returncode != 0:
                    yield f"{manifest_checks.name(manifest)}: {file}: {result.stderr.strip()}"


def effective_config(lynx, manifests):
    """What lynx.json means, defaults included; None where there is none."""
    for manifest in manifests:
        if "lynx.json" in manifest.get("data", {}):
            return manifest_checks.parse_dump(lynx_on(lynx, ["dump-config", "--config"], manifest["data"]["lynx.json"]).stdout)
    return None


def main():
    lynx, packages = sys.argv[1], pathlib.Path(sys.argv[2])
    kubectl = os.environ.get("KUBECTL") or shutil.which("kubectl")
    if not kubectl:
        skip("no kubectl: deploy/install-deps.sh --tests brings it")
    install(packages)
    sys.path.insert(0, str(packages))
    import kubernetes_validate.utils
    kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)  # 2 MB of JSON each time
    failed = False
    seen = set()
    for folders in RENDERED:
        manifests = [manifest for folder in folders for manifest in render(kubectl, folder)]
        errors = [*schema_errors(manifests, seen), *config_errors(lynx, manifests)]
        errors = errors or [*manifest_checks.errors(manifests, effective_config(lynx, manifests))]
        print(f"{' + '.join(folders)}: {len(manifests)} objects, {len(errors)} errors")
        for error in errors:
            print(f"  {error}")
        failed |= bool(errors)
    sys.exit(1 if failed else 0)


main()
