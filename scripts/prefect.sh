#!/usr/bin/env bash
# Run a local Prefect server and worker, to try schedules. Stop them with Ctrl-C.
#
#   scripts/prefect.sh server    start the server with its UI, on loopback
#   scripts/prefect.sh worker    register deployments/prefect.yaml, then run what is due
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BIN:-.venv/bin}
[ -n "${BIN:-}" ] || scripts/setup.sh run

export PORT=${PORT:-4200}
export PREFECT_HOME=${PREFECT_HOME:-$PWD/.prefect}
# The UI calls the address in PREFECT_API_URL, the server listens on the port below: set both.
export PREFECT_API_URL=${PREFECT_API_URL:-http://127.0.0.1:$PORT/api} PREFECT_SERVER_API_PORT=$PORT
export PREFECT_SERVER_ANALYTICS_ENABLED=false DO_NOT_TRACK=1
export FOLIOPRESS_HOME=$PWD FOLIOPRESS_CRON=${CRON:-0 22 * * *}

case ${1:?server or worker} in
    server)
        exec $bin/prefect server start --host 127.0.0.1 --port "$PORT"
        ;;
    worker)
        if [ -z "${SOURCE:-}" ] || [ -z "${DEST:-}" ]; then
            echo "Give both: make worker SOURCE=folder-or-URL DEST=folder-or-URL [CRON='0 22 * * *']" >&2
            exit 2
        fi
        # Runs have their own working folders, so relative paths must be made absolute.
        case $SOURCE in *://* | /*) ;; *) SOURCE=$PWD/$SOURCE ;; esac
        case $DEST in *://* | /*) ;; *) DEST=$PWD/$DEST ;; esac
        export FOLIOPRESS_SOURCE=$SOURCE FOLIOPRESS_DEST=$DEST
        $bin/prefect --no-prompt work-pool create foliopress --type process --overwrite
        $bin/prefect --no-prompt deploy --all --prefect-file deployments/prefect.yaml
        exec $bin/prefect worker start --pool foliopress
        ;;
esac
