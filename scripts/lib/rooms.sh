#!/usr/bin/env bash
# Source files stay under 500 lines: one noun per file.
set -euo pipefail
large=$(git ls-files '*.rs' | xargs wc -l | awk '$2 != "total" && $1 > 500 {print "  " $1 " " $2}')
[ -z "$large" ] || { printf 'files over 500 lines (split them by noun):\n%s\n' "$large" >&2; exit 1; }
