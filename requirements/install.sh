#!/usr/bin/env bash
# Makes .venv and installs a lock file into it: requirements/install.sh lock.txt|dev.txt
# torch comes first and by exact version: where pip is configured with a folder of wheels it is the
# CPU build, elsewhere the index's own. Uses uv when it can be had, plain pip otherwise.
set -euo pipefail
cd "$(dirname "$0")/.."
lock="requirements/$1"
requirements/debian.sh run
python="${PYTHON:-$(command -v python3.11 || command -v python3)}"
if [ ! -x .venv/bin/python ]; then
  "$python" -m venv .venv 2>/dev/null || {
    rm -rf .venv
    echo "python3 -m venv does not work here; installing Debian's python3-venv" >&2
    apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
    "$python" -m venv .venv
  }
fi
.venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_FIND_LINKS="${UV_FIND_LINKS:-${PIP_FIND_LINKS:-}}"
[ -n "$UV_FIND_LINKS" ] || unset UV_FIND_LINKS
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
install() { # installer and its arguments
  "$@" torch==2.13.0 && "$@" --no-deps --require-hashes -r "$lock" && "$@" --no-deps --editable . &&
    rm -rf .venv/lib/python3.*/site-packages/tests # mlforecast ships one, which would hide ours
}
plain=(.venv/bin/python -m pip install --quiet)
if "${plain[@]}" uv 2>/dev/null && install .venv/bin/uv pip install --quiet --python .venv; then
  exit 0
fi
echo "uv did not manage; installing with pip, which takes some minutes" >&2
install "${plain[@]}"
