#!/bin/bash
# The tests and every figure of the GPU, in under ten minutes: docs/benchmarks/gpu.md. See --help.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/gpu/run.py" "$@"
