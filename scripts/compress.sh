#!/usr/bin/env bash
# Compress SOURCE into DEST with PROFILE (from the environment), then print a short table of the results.
set -uo pipefail
cd "$(dirname "$0")/.."

if [ -z "${SOURCE:-}" ] || [ -z "${DEST:-}" ]; then
    echo "Give both: make compress SOURCE=folder-or-URL DEST=folder-or-URL [PROFILE=${PROFILE:-access}]" >&2
    exit 2
fi
scripts/setup.sh run || exit 1
.venv/bin/foliopress compress "$SOURCE" "$DEST" --profile "${PROFILE:-access}"
status=$?
if [ $status = 0 ] || [ $status = 3 ]; then
    .venv/bin/python scripts/results.py "$DEST"
fi
exit $status
