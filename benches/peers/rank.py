"""Exact top-k beside faiss, in turn, on the same vectors, threads and machine: a table, and JSON.

The vectors are those that the targets speak of: 1,000 centres from N(0, 1), each vector a random centre plus 0.7 N(0, 1),
scaled to length 1; and vectors without any structure. faiss's flat index is exact. Its inverted lists are not: they are
given as many probes as a recall of .999 needs.
"""

import argparse
import datetime
import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

import faiss
import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
K = 100
LISTS = 1024
RECALL = 0.999
# A measurement lasts for so many seconds at least.
SECONDS = 2.0


def unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def clustered(random, items, queries, width):
    centres = random.standard_normal((1000, width), dtype=np.float32)

    def make(count):
        noise = random.standard_normal((count, width), dtype=np.float32)
        return unit(centres[random.integers(1000, size=count)] + np.float32(0.7) * noise)

    return make(items), make(queries)


def gaussian(random, items, queries, width):
    return tuple(unit(random.standard_normal((count, width), dtype=np.float32)) for count in (items, queries))


def queries_per_s(search, queries, batch):
    """Queries a second of `search`, which is given `batch` of them at a time."""
    search(queries[:batch])
    done, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < SECONDS:
        at = done % (len(queries) - batch + 1)
        search(queries[at : at + batch])
        done += batch
    return done / elapsed


def probes_for_recall(index, queries, exact):
    """The fewest probes, a power of two, that find RECALL of the exact answers; and what they find."""
    for probes in (1 << power for power in range(LISTS.bit_length())):
        index.nprobe = probes
        _, found = index.search(queries, K)
        recall = np.mean([len(np.intersect1d(f, e)) / K for f, e in zip(found, exact)])
        if recall >= RECALL:
            return probes, float(recall)
    raise SystemExit("even all lists do not reach the recall")


def keep_a_tenth(items):
    """A bitmap of a tenth of all items, at random."""
    kept = np.random.default_rng(1).random(items) < 0.1
    return np.packbits(kept, bitorder="little")


class Faiss:
    def __init__(self, items, queries):
        self.queries = queries
        self.flat = faiss.IndexFlatIP(items.shape[1])
        self.flat.add(items)
        self.bitmap = keep_a_tenth(len(items))
        self.selector = faiss.IDSelectorBitmap(self.bitmap)
        self.filtered = faiss.SearchParameters(sel=self.selector)
        quantiser = faiss.IndexFlatIP(items.shape[1])
        self.lists = faiss.IndexIVFFlat(quantiser, items.shape[1], LISTS, faiss.METRIC_INNER_PRODUCT)
        self.lists.train(items[:200_000])
        self.lists.add(items)
        _, exact = self.flat.search(queries[:256], K)
        self.probes, self.recall = probes_for_recall(self.lists, queries[:256], exact)

    def measure(self, batch):
        search = {
            "faiss flat": lambda q: self.flat.search(q, K),
            "faiss flat, a tenth": lambda q: self.flat.search(q, K, params=self.filtered),
            f"faiss IVF{LISTS}, {self.probes} probes, recall {self.recall:.4f}": lambda q: self.lists.search(q, K),
        }
        return {name: queries_per_s(one, self.queries, batch) for name, one in search.items()}


class Attune:
    def __init__(self, options, folder, items, queries):
        items.astype("<f4").tofile(folder / "items.f32")
        queries.astype("<f4").tofile(folder / "queries.f32")
        self.out = folder / "rank.json"
        self.command = [options.attune, "bench", "rank", "--runs", "1", "--batch", "1,64", "--json", self.out]
        self.command += ["--vectors", folder / "items.f32", "--queries", folder / "queries.f32"]
        self.command += ["--width", str(items.shape[1]), "--k", str(K), "--workers", str(options.threads)]

    def measure(self):
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)
        records = json.loads(self.out.read_text())["records"]
        name = {1.0: "attune", 0.1: "attune, a tenth"}
        return {(name[r["filter"]], r["batch"]): median(r["queries_per_s"]) for r in records}


def compare(options, shape):
    """Queries a second of everybody by round: {(name, batch): [..]}."""
    items, queries = shape(np.random.default_rng(0), options.items, 1024, options.width)
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        peer, attune = Faiss(items, queries), Attune(options, Path(folder), items, queries)
        for number in range(options.rounds):
            found = attune.measure()
            found |= {(name, batch): rate for batch in (1, 64) for name, rate in peer.measure(batch).items()}
            for key, rate in found.items():
                figures.setdefault(key, []).append(rate)
            print(f"{shape.__name__}: round {number + 1} of {options.rounds}", flush=True)
    return figures


def table(figures):
    names = dict.fromkeys(name for name, _ in figures)
    lines = ["| queries/s | batch 1 | batch 64 |", "|---|---|---|"]
    middle = {key: median(rates) for key, rates in figures.items()}
    lines += [f"| {name} | {middle[name, 1]:,.0f} | {middle[name, 64]:,.0f} |" for name in names]
    lists = next(name for name, _ in figures if "IVF" in name)
    pairs = (("attune", "faiss flat"), ("attune, a tenth", "faiss flat, a tenth"), ("attune", lists))
    for ours, theirs in pairs:
        ratios = [f"{middle[ours, batch] / middle[theirs, batch]:.1f}x" for batch in (1, 64)]
        lines.append(f"| {ours} over {theirs} | {ratios[0]} | {ratios[1]} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attune", default=ROOT / "target/release/attune", help="a release build")
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    faiss.omp_set_num_threads(options.threads)
    print(f"{datetime.date.today()}, faiss {faiss.__version__}, {options.items:,} x {options.width}, top {K}")
    results = {shape.__name__: compare(options, shape) for shape in (clustered, gaussian)}
    for shape, figures in results.items():
        print(f"\n{shape}\n\n{table(figures)}")
    if options.json:
        plain = {shape: {f"{n}, batch {b}": r for (n, b), r in figures.items()} for shape, figures in results.items()}
        options.json.write_text(json.dumps(plain, indent=1))


if __name__ == "__main__":
    main()
