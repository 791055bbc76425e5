#!/usr/bin/env bash
# Install the requirements of Foliopress into .venv, and Tesseract on the machine. A second run does nothing.
#
#   scripts/setup.sh run    to compress
#   scripts/setup.sh test   to compress, test and lint
#   scripts/setup.sh app    to open the window
#   scripts/setup.sh lint   to lint only, without Tesseract
#   scripts/setup.sh gpu    to compress with an NVIDIA GPU
set -euo pipefail
cd "$(dirname "$0")/.."

purpose=${1:?run, app, test, lint or gpu}
venv=.venv

say() { printf '%s\n' "$*" >&2; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    say "Foliopress needs Python 3.11 or newer; found: $(python3 --version 2>/dev/null || echo none)"
    say "Install it, or specify its path: make $(make_goal) PYTHON=/path/to/python3.11"
    return 1
}

make_goal() { if [ "$purpose" = run ]; then echo compress; else echo "$purpose"; fi; }

# An installation depends on the requirements and on the folder, since a virtual environment cannot be moved.
stamp() { { pwd; cat pyproject.toml constraints.txt; } | cksum; }

install_packages() {
    local extra=$1 done_mark=$venv/.installed$1 python
    if [ -x $venv/bin/python ] && [ "$(cat "$done_mark" 2>/dev/null)" = "$(stamp)" ]; then
        return
    fi
    python=$(find_python)
    if ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
        say "$python has no venv module. On Debian and Ubuntu: sudo apt-get install python3-venv"
        return 1
    fi
    say "Installing Foliopress${extra:+ with $extra} into $venv; this takes a few minutes, once."
    rm -f $venv/.installed*
    "$python" -m venv $venv || "$python" -m venv --clear $venv
    local install=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check -c constraints.txt)
    "${install[@]}" pip setuptools
    "${install[@]}" --build-constraint constraints.txt -e ".$extra"
    stamp > "$done_mark"
    # The development packages include those for the window and for compressing.
    stamp > $venv/.installed
    if [ "$extra" = "[dev]" ]; then stamp > "$venv/.installed[app]"; fi
}

has_tesseract() {
    command -v tesseract >/dev/null && tesseract --list-langs 2>/dev/null | grep -qx eng
}

install_tesseract() {
    if has_tesseract; then
        return
    fi
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        sudo=(sudo -n)
    fi
    if command -v apt-get >/dev/null && "${sudo[@]+"${sudo[@]}"}" true 2>/dev/null; then
        say "Installing Tesseract with English."
        local apt=("${sudo[@]+"${sudo[@]}"}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=120)
        "${apt[@]}" update >&2 || say "apt-get update failed; trying the existing package lists."
        if "${apt[@]}" install -y --no-install-recommends tesseract-ocr tesseract-ocr-eng >&2 && has_tesseract; then
            return
        fi
    fi
    say "Foliopress needs Tesseract and its English data, which are not installed. Install them with"
    say "  Debian, Ubuntu:  sudo apt-get install tesseract-ocr tesseract-ocr-eng"
    say "  Fedora:          sudo dnf install tesseract tesseract-langpack-eng"
    say "  macOS:           brew install tesseract"
    say "and run the same command again."
    return 1
}

case $purpose in
    run) install_tesseract; install_packages "" ;;
    app) install_tesseract; install_packages "[app]" ;;
    test) install_tesseract; install_packages "[dev]" ;;
    lint) install_packages "[dev]" ;;
    gpu) install_tesseract; install_packages "[gpu]" ;;
    *) say "scripts/setup.sh: $purpose must be run, app, test, lint or gpu"; exit 1 ;;
esac
