#!/usr/bin/env bash
# The rules are valid and fire when they should.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if ! command -v promtool >/dev/null; then
  echo "promtool is missing: deploy/install-deps.sh --tests" >&2
  exit 77  # skipped, which tests/run.sh does not accept in CI
fi
promtool check rules deploy/prometheus/recording.yml deploy/prometheus/alerts.yml
promtool check config deploy/prometheus/prometheus.yml
promtool test rules tests/deploy/alerts_test.yml
