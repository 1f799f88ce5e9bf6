#!/usr/bin/env bash
# lm-evaluation-harness against a running server with SmolLM2-135M-Instruct: log-likelihoods, perplexity and
# generation through local-completions. By hand, because its installation takes minutes; what it sends is in
# openai_client.py too.
# usage: lm_eval.sh URL VENV TOKENIZER_FOLDER   (URL as http://127.0.0.1:8000/v1; VENV is made if it is not there)
set -euo pipefail
url=$1 venv=$2 tokenizer=$3
tasks="$(cd "$(dirname "${BASH_SOURCE[0]}")/lm_eval_tasks" && pwd)"
if [[ ! -x $venv/bin/lm_eval ]]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "lm_eval[api]==0.4.13" "transformers==5.24.0"
fi
model=$(curl -sSf "$url/models" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["id"])')
cd "$tasks"  # the tasks name their data relative to it
HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$venv/datasets" "$venv/bin/lm_eval" run --model local-completions \
  --model_args "model=$model,base_url=$url/completions,tokenizer=$tokenizer,num_concurrent=4" \
  --include_path "$tasks" --tasks lynx_capitals,lynx_perplexity,lynx_continuation
