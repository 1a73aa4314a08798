#!/usr/bin/env bash
# Installs NVIDIA's run-time compiler from pip, pinned, into a folder of the user's cache, and prints where its libraries are.
#   nvrtc.sh 13    what CUDA 13 drivers come with: compiles for every card in tests
#   nvrtc.sh 12    an old one, for the PTX that is embedded: newer PTX would shut out older drivers
set -euo pipefail

case ${1:-} in
13) packages=("nvidia-cuda-nvrtc==13.0.88") ;;
12) packages=("nvidia-cuda-nvrtc-cu12==12.1.105") ;;
*) echo "usage: nvrtc.sh 12|13" >&2 && exit 2 ;;
esac

folder=${XDG_CACHE_HOME:-$HOME/.cache}/attune/nvrtc$1
if [ "$(cat "$folder/installed.txt" 2>/dev/null)" != "${packages[*]}" ]; then
    echo "installing ${packages[*]} into $folder" >&2
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
    echo "${packages[*]}" >"$folder/installed.txt"
fi
dirname "$(find "$folder" -name 'libnvrtc.so.*' -print -quit)"
