#!/usr/bin/env bash
# The whole comparison with the peers: installs them, pinned, in a virtual environment, and runs everybody in turn.
# Needs `make models release` before. Arguments go to compare.py, `run.sh --help` lists them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv

if ! cmp --silent "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
exec "$venv/bin/python" "$here/compare.py" "$@"
