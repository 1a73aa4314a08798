#!/usr/bin/env python3
"""Exact-looking top-k on a GPU by PyTorch, for comparison with `attune-gpu-check`: bf16 scores written to memory, then topk.

    python3 torch_topk.py [--width 128] [--out FILE]

The same sizes: 1,000,000 random unit vectors of 128 or 384 values, the best 100, batches of 1 to 4,096, and a filter that
allows a tenth. Scores are bf16, so what is found is not exact; a peer that rescored would be slower. Needs torch with CUDA.
"""

import argparse
import json
import time

import torch

ITEMS, K = 1_000_000, 100
BATCHES = [1, 16, 64, 256, 1024, 4096]
# Scores of a chunk of queries have to fit: 2 bytes each, and topk's own copies.
CHUNK_BYTES = 4 << 30
SECONDS = 1.0


def unit_vectors(count, width, seed):
    generator = torch.Generator(device="cuda").manual_seed(seed)
    vectors = torch.randn(count, width, device="cuda", generator=generator)
    return torch.nn.functional.normalize(vectors).to(torch.bfloat16)


def search(items, queries, allowed):
    """From queries on the host to rows and scores on the host."""
    chunk = max(1, CHUNK_BYTES // (2 * ITEMS))
    found = []
    for part in queries.split(chunk):
        scores = part.to("cuda", non_blocking=True) @ items.T
        if allowed is not None:
            scores.masked_fill_(~allowed, -torch.inf)
        found.append(torch.topk(scores, K, dim=1))
    return [(best.values.cpu(), best.indices.cpu()) for best in found]


def rate(items, queries, allowed):
    for _ in range(3):
        search(items, queries, allowed)
    started, times = time.perf_counter(), []
    while len(times) < 3 or time.perf_counter() - started < SECONDS:
        begun = time.perf_counter()
        search(items, queries, allowed)
        times.append(time.perf_counter() - begun)
    times.sort()
    return len(queries) * len(times) / sum(times), times[len(times) // 2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=128, help="values an item")
    parser.add_argument("--out", default="torch_topk.json")
    options = parser.parse_args()
    width = options.width
    items, queries = unit_vectors(ITEMS, width, 1), unit_vectors(max(BATCHES), width, 2).cpu().pin_memory()
    tenth = torch.rand(ITEMS, device="cuda", generator=torch.Generator(device="cuda").manual_seed(3)) < 0.1
    answers = []
    for allowed, share in [(None, 1.0), (tenth, 0.1)]:
        for batch in BATCHES:
            per_second, median = rate(items, queries[:batch], allowed)
            print(f"torch top-k batch {batch:4}, allowed {share}: {per_second:9.0f} q/s, {median * 1e3:9.3f} ms")
            answers.append({"batch": batch, "filter_allows": share, "queries_per_s": per_second, "median_s": median})
    report = {
        "device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda,
        "items": ITEMS, "width": width, "k": K, "batches": answers,
    }
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)


main()
