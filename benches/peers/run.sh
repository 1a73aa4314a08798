#!/usr/bin/env bash
# A whole comparison with the peers: installs them, pinned, in a virtual environment, and runs everybody in turn.
#   run.sh [infer] ...   the encoder, beside ONNX Runtime and OpenVINO (compare.py); needs `make models release` before
#   run.sh rank ...      exact top-k, beside faiss (rank.py); needs `make release` before
#   run.sh als ...       training a factor model, beside implicit (als.py); needs `make release` and MovieLens-100K
# Further arguments go to the script; `--help` lists them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$here/.venv

case ${1:-} in
rank) script=rank.py && shift ;;
als) script=als.py && shift ;;
infer) script=compare.py && shift ;;
*) script=compare.py ;;
esac

if ! cmp --silent "$here/requirements.txt" "$venv/installed.txt"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed.txt"
fi
exec "$venv/bin/python" "$here/$script" "$@"
