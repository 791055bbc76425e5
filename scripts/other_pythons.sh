#!/usr/bin/env bash
# Install Foliopress under every other supported Python, import every module and compress a sample archive.
#
# Skip versions that this machine lacks, with a message.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    local candidate
    for candidate in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
        if "$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

check() {
    local version=$1 python=$2 folder
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' RETURN
    "$python" -m venv "$folder/venv"
    local install=("$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt)
    "${install[@]}" pip setuptools
    "${install[@]}" --build-constraint constraints.txt .
    "$folder/venv/bin/python" -P scripts/import_all.py
    "$folder/venv/bin/foliopress" sample "$folder/source"
    (cd "$folder" && venv/bin/foliopress compress source compressed && venv/bin/foliopress verify compressed)
    echo "Python $version: every module imports, the sample archive is compressed and verified"
}

for version in 3.12 3.13; do
    if python=$(find_python "$version"); then
        check "$version" "$python"
    else
        echo "Python $version is not installed; skipped"
    fi
done
