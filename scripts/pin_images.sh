#!/usr/bin/env bash
# Pin the images named in deployments/docker to the current digests of their tags; needs Docker and its registry.
# Review the diff, build, and run the tests before committing.
set -euo pipefail
cd "$(dirname "$0")/.."

files=(deployments/docker/Dockerfile deployments/docker/compose.yaml)
names=$(sed -nE 's/^(FROM| *image:) +([^ @]+:[^ @]+)(@sha256:[0-9a-f]{64})?$/\2/p' "${files[@]}" | sort -u)
for name in $names; do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$name")
    if ! [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
        echo "the registry gave no digest of $name: $digest" >&2
        exit 1
    fi
    sed -i -E "s#^((FROM| *image:) +)$name(@sha256:[0-9a-f]{64})?\$#\1$name@$digest#" "${files[@]}"
    echo "$name $digest"
done
