"""One peer in a process of its own: loads, proves that it computes the right model, and runs a workload when told to.

Reads the name of a workload a line from stdin and answers with one line of JSON, the seconds it took. The process
stays, so that a run finds everything warm; a contestant whose turn it is not sleeps on its stdin.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import golden
import texts
from onnx_runtime import OnnxRuntime
from open_vino import OpenVino, has_bf16

# The peers by name: program, kind of model, precision.
PEERS = {
    "onnxruntime-f32": (OnnxRuntime, "f32", "f32"),
    "onnxruntime-int8": (OnnxRuntime, "int8", "int8"),
    "onnxruntime-int8-file": (OnnxRuntime, "int8-file", "int8"),
    "openvino-f32": (OpenVino, "f32", "f32"),
    "openvino-bf16": (OpenVino, "bf16", "bf16"),
}
# Batches on which the configurations are compared, the fastest of several times.
TRIAL_BATCHES = 16
TRIALS = 4


def available():
    """The peers that this machine can run."""
    return [name for name in PEERS if name != "openvino-bf16" or has_bf16()]


def seconds(peer, prepared):
    start = time.perf_counter()
    peer.run(prepared)
    return time.perf_counter() - start


def fastest(name, options, rows):
    """The peer in whichever of its configurations is faster on this machine."""
    program, kind, precision = PEERS[name]
    ids = texts.Ids(options.models / "all-MiniLM-L6-v2")
    trials = []
    for configuration in program.configurations:
        peer = program(kind, configuration, options.threads, options.models, options.work)
        golden.check(f"{name} ({configuration})", precision, ids, peer.embed)
        prepared = peer.prepare(texts.batches(rows)[:TRIAL_BATCHES])
        trials.append((min(seconds(peer, prepared) for _ in range(TRIALS)), configuration, peer))
    return min(trials, key=lambda trial: trial[0])[1:]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--texts", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()

    rows = texts.workloads(options.models, options.texts)
    configuration, peer = fastest(options.name, options, rows["real"])
    print(json.dumps({"configuration": configuration, "version": peer.version}), flush=True)
    prepared = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in prepared:
            prepared[name] = peer.prepare(texts.batches(rows[name]))
            # A first run is never counted: memory is claimed and kernels are made in it.
            peer.run(prepared[name])
        print(json.dumps(seconds(peer, prepared[name])), flush=True)


if __name__ == "__main__":
    main()
