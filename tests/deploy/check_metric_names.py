#!/usr/bin/env python3
"""Dashboard and rules name only metrics that docs/metrics.md lists, and every alert has its section.

usage: check_metric_names.py SOURCE_DIR
"""
import json
import pathlib
import re
import sys

NAME = re.compile(r"(?<![\w:$])(?:lynx_|vllm:|[a-z_]+:lynx_)[\w:]+")
HISTOGRAM_PARTS = ("_bucket", "_sum", "_count")


def listed_metrics(text):
    """Name -> type, of the table in docs/metrics.md; vLLM's names too."""
    metrics = {}
    for row in re.findall(r"^\| (`.*)$", text, re.MULTILINE):
        cells = [cell.strip() for cell in row.split(" | ")]
        for name in re.findall(r"`([^`]+)`", cells[0]):
            metrics[name] = cells[1]
    return metrics


def known(name, metrics, recorded):
    if name in recorded or metrics.get(name, "histogram") != "histogram":
        return True
    # A histogram is there in its parts alone.
    return any(name.endswith(part) and metrics.get(name[: -len(part)]) == "histogram" for part in HISTOGRAM_PARTS)


def unknown(text, metrics, recorded):
    # What stands in braces is labels.
    return sorted({n for n in NAME.findall(re.sub(r"\{[^}]*\}", "", text)) if not known(n, metrics, recorded)})


def anchors(text):
    """As GitHub makes them of headings."""
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def expressions(node):
    """All queries of a dashboard."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "expr":
                yield value
            else:
                yield from expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value)


def self_test():
    """A check that cannot fail is none."""
    metrics = {"lynx_a_total": "counter", "lynx_h_seconds": "histogram", "vllm:a": "gauge"}
    assert unknown('rate(lynx_b_total{x="lynx_a_total"}[5m])', metrics, set()) == ["lynx_b_total"]
    assert unknown("lynx_h_seconds", metrics, set()) == ["lynx_h_seconds"]
    assert unknown("job:lynx_r:ratio", metrics, set()) == ["job:lynx_r:ratio"]
    assert not unknown("lynx_a_total + lynx_h_seconds_bucket + vllm:a + job:lynx_r:ratio", metrics, {"job:lynx_r:ratio"})
    assert anchors("## Alerts\n### Alert LynxX\n") == {"alerts", "alert-lynxx"}


def main():
    self_test()
    root = pathlib.Path(sys.argv[1])
    metrics = listed_metrics((root / "docs/metrics.md").read_text())
    rules = {p.name: p.read_text() for p in sorted((root / "deploy/prometheus").glob("*.yml"))}
    queries = list(expressions(json.loads((root / "deploy/grafana/lynx.json").read_text())))
    if len(metrics) < 50 or len(rules) < 3 or len(queries) < 50:
        sys.exit(f"{len(metrics)} metrics, {len(rules)} files of rules, {len(queries)} queries: too few to be all")
    recorded = set(re.findall(r"record: (\S+)", "\n".join(rules.values())))
    problems = [f"deploy/prometheus/{file}: no metric {name}" for file, text in rules.items()
                for name in unknown("\n".join(re.findall(r"expr: >-\n((?: {10}.*\n)+)", text)), metrics, recorded)]
    problems += [f"deploy/grafana/lynx.json: no metric {name}" for query in queries
                 for name in unknown(query, metrics, recorded)]
    sections = anchors((root / "docs/operations.md").read_text())
    alerts = re.findall(r"- alert: (\w+)$((?:\n {8}.*)+)", rules["alerts.yml"], re.MULTILINE)
    for alert, body in alerts:
        anchor = f"alert-{alert.lower()}"
        if f"runbook_url: docs/operations.md#{anchor}\n" not in body + "\n":
            problems.append(f"{alert}: its runbook_url must be docs/operations.md#{anchor}")
        if anchor not in sections:
            problems.append(f"docs/operations.md has no section #{anchor}")
    if len(alerts) != rules["alerts.yml"].count("alert:"):
        problems.append("deploy/prometheus/alerts.yml: an alert that this check cannot read")
    print("\n".join(problems) or f"{len(queries)} queries and {len(alerts)} alerts name {len(metrics)} known metrics")
    sys.exit(1 if problems else 0)


main()
