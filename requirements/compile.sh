#!/usr/bin/env bash
# Compiles the lock files: versions and hashes, no addresses. torch is left out because its
# build (CPU, CUDA) is the machine's choice; the Makefile installs torch==2.13.0 first.
# Pass a constraints file to start from a known-good set: requirements/compile.sh FILE
set -euo pipefail
cd "$(dirname "$0")/.."
export UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
options=(--python-version 3.11 --generate-hashes --no-annotate --no-header
         --no-emit-index-url --no-emit-find-links --no-emit-package torch --quiet)
uv pip compile "${options[@]}" ${1:+-c "$1"} --all-extras pyproject.toml -o requirements/lock.txt
uv pip compile "${options[@]}" ${1:+-c "$1"} -c requirements/lock.txt --all-extras --group dev \
  pyproject.toml -o requirements/dev.txt
uv pip compile "${options[@]}" ${1:+-c "$1"} -c requirements/dev.txt --group bench -o requirements/bench.txt
