#!/usr/bin/env bash
# Remove what the other targets made; the daemon of the demo profile is stopped first.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -d .aiida ] && [ -x .venv/bin/verdi ]; then
  AIIDA_PATH=$PWD/.aiida .venv/bin/verdi daemon stop >/dev/null 2>&1 || true
fi
rm -rf .venv .aiida build demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis
find src tests examples benchmarks scripts docs -name __pycache__ -type d -prune -exec rm -rf {} +
