"""One epoch of implicit ALS beside `implicit`, in turn, on the same interactions, factors, threads and machine.

Both solve each row with as many steps of conjugate gradients in f32. The interactions are MovieLens-100K's, which
`attune models pull movielens-100k` fetches, and synthetic ones by Zipf's law.
"""

import argparse
import datetime
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

# Their own advice: a BLAS with threads of its own only gets in the way.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import implicit
import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares

ROOT = Path(__file__).resolve().parent.parent.parent


def movielens(path):
    rows = [line.split("\t")[:2] for line in path.read_text().splitlines()[1:]]
    users, items = (np.unique(column, return_inverse=True)[1] for column in zip(*rows))
    return np.stack([users, items], axis=1).astype("<u4")


def synthetic(count):
    random = np.random.default_rng(0)
    users = count // 50
    items = users // 10
    chance = np.arange(1, items + 1) ** -0.8
    drawn = random.permutation(items)[random.choice(items, size=count, p=chance / chance.sum())]
    return np.unique(np.stack([np.arange(count) % users, drawn], axis=1).astype("<u4"), axis=0)


def peer(pairs, options):
    """Seconds an epoch of `implicit`."""
    table = sp.csr_matrix((np.ones(len(pairs), np.float32), (pairs[:, 0], pairs[:, 1])))

    def train(epochs):
        model = AlternatingLeastSquares(
            factors=options.factors,
            iterations=epochs,
            use_cg=True,
            use_native=True,
            dtype=np.float32,
            num_threads=options.threads,
            random_state=0,
            regularization=0.01,
        )
        start = time.perf_counter()
        model.fit(table, show_progress=False)
        return time.perf_counter() - start

    return (train(1 + options.epochs) - train(1)) / options.epochs


def attune(pairs, options, folder):
    pairs.tofile(folder / "pairs.u32")
    out = folder / "als.json"
    command = [options.attune, "bench", "als", "--pairs", folder / "pairs.u32", "--runs", "1", "--json", out]
    command += ["--factors", str(options.factors), "--epochs", str(options.epochs), "--workers", str(options.threads)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return json.loads(out.read_text())[0]["seconds_an_epoch"][0]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attune", default=ROOT / "target/release/attune", help="a release build")
    parser.add_argument("--data", type=Path, default=ROOT / "data/models/movielens-100k/ml-100k.inter")
    parser.add_argument("--interactions", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{datetime.date.today()}, implicit {implicit.__version__}, {options.factors} factors, {options.threads} threads")
    tables = {"MovieLens-100K": movielens(options.data)}
    tables |= {f"synthetic {count:,}": synthetic(count) for count in options.interactions}
    print("\n| seconds an epoch | interactions | attune | implicit | implicit over attune |\n|---|---|---|---|---|", flush=True)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, pairs in tables.items():
            rounds = [(attune(pairs, options, Path(folder)), peer(pairs, options)) for _ in range(options.rounds)]
            ours, theirs = (median(column) for column in zip(*rounds))
            results[name] = rounds
            print(f"| {name} | {len(pairs):,} | {ours:.4f} | {theirs:.4f} | {theirs / ours:.2f}x |", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
