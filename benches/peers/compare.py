"""Attune's engine and its peers in turn, on the same texts, threads and machine: a table, and JSON.

Every round runs each workload on each contestant once, so that whatever else the machine does falls on all of them.
Tokens are counted without padding, and texts are tokenised before the clock starts.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import contestant
import texts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORKLOADS = ["real", "sorted", "fixed:128"]
PRECISIONS = ["f32", "bf16", "int8"]


class Peer:
    """A peer in its process, see contestant.py."""

    workloads = WORKLOADS

    def __init__(self, name, options):
        self.name = name
        self.precision = contestant.PEERS[name][2]
        command = [sys.executable, HERE / "contestant.py", name, "--threads", str(options.threads)]
        command += ["--models", options.data / "models", "--work", options.work]
        command += ["--texts", str(options.texts)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        about = self.answer()
        self.about = f"{about['version']}, {about['configuration']}"

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with status {self.process.wait()}, see above")
        return json.loads(line)

    def seconds(self, workload):
        print(workload, file=self.process.stdin, flush=True)
        return self.answer()


class Attune:
    """The engine alone, by `attune bench infer`. It does not pad, so sorting would change nothing for it."""

    workloads = ["real", "fixed:128"]

    def __init__(self, precision, options, tokens):
        self.tokens = tokens
        self.name = f"attune-{precision}"
        self.precision = precision
        self.about = ""
        self.texts = {"real": options.texts, "fixed:128": texts.fixed_count(options.texts)}
        self.command = [options.attune, "--data", options.data, "bench", "infer", "--precision", precision]
        self.command += ["--runs", "1", "--batch", str(texts.BATCH), "--workers", str(options.threads)]

    def seconds(self, workload):
        """Absent where this machine or its instruction set has no such precision."""
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            count = str(self.texts[workload])
            command = [*self.command, "--lengths", workload, "--texts", count, "--json", file.name]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            report = json.loads(Path(file.name).read_text())
        if not report["records"]:
            return None
        (record,) = report["records"]
        if record["tokens"] != self.tokens[workload]:
            raise SystemExit(f"Attune ran {record['tokens']} tokens of {workload}, the peers {self.tokens[workload]}")
        machine = report["machine"]
        self.about = f"{machine['attune']} {machine['profile']}, {record['instruction_set']}"
        return record["seconds"][0]


def contestants(options, tokens):
    """Everybody who was asked for and can run here."""
    for precision in PRECISIONS:
        attune = Attune(precision, options, tokens)
        if attune.name in options.only and attune.seconds("fixed:128") is not None:
            yield attune
    for name in contestant.available():
        if name in options.only:
            print(f"loading {name}", file=sys.stderr)
            yield Peer(name, options)


def measure(options, tokens):
    entrants = list(contestants(options, tokens))
    results = [
        {"name": one.name, "precision": one.precision, "workload": workload, "tokens": tokens[workload], "seconds": []}
        for workload in WORKLOADS
        for one in entrants
        if workload in one.workloads
    ]
    by_name = {one.name: one for one in entrants}
    # One round more than counts: the first warms everybody up.
    for number in range(options.runs + 1):
        for result in results:
            seconds = by_name[result["name"]].seconds(result["workload"])
            rate = result["tokens"] / seconds
            print(f"round {number}/{options.runs} {result['workload']} {result['name']}: {rate:.0f}/s", file=sys.stderr)
            if number > 0:
                result["seconds"].append(seconds)
    for result in results:
        rates = [result["tokens"] / seconds for seconds in result["seconds"]]
        result["about"] = by_name[result["name"]].about
        result["tokens_per_s"] = median(rates)
        result["spread"] = (max(rates) - min(rates)) / median(rates)
    return results


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
    return found.get("model name", "unknown"), [flag for flag in wanted if flag in found.get("flags", "").split()]


def table(results):
    """Median tokens a second, and the range of all runs as a share of it; names down, workloads across."""
    names = list(dict.fromkeys(result["name"] for result in results))
    cells = {(r["name"], r["workload"]): f"{r['tokens_per_s']:,.0f} ({r['spread']:.0%})" for r in results}
    about = {result["name"]: result["about"] for result in results}
    yield "| tokens/s | what | " + " | ".join(WORKLOADS) + " |"
    yield "|---|---|" + "---|" * len(WORKLOADS)
    for name in names:
        row = (cells.get((name, workload), "no padding") for workload in WORKLOADS)
        yield f"| {name} | {about[name]} | " + " | ".join(row) + " |"


def ratios(results):
    """Attune's median over the best peer's: f32 beside f32 alone, lower precisions beside whatever is fastest."""
    rate = {(r["name"], r["workload"]): r["tokens_per_s"] for r in results}
    yield "| Attune over the best peer | real over real | real over sorted | fixed:128 over fixed:128 |"
    yield "|---|---|---|---|"
    peers = [(name, contestant.PEERS[name][2]) for name, _ in rate if name in contestant.PEERS]
    for name, precision in ((f"attune-{precision}", precision) for precision in PRECISIONS):
        rivals = sorted({peer for peer, of in peers if precision != "f32" or of == "f32"})
        if (name, "real") not in rate or not rivals:
            continue
        cells = []
        for own, theirs in (("real", "real"), ("real", "sorted"), ("fixed:128", "fixed:128")):
            best = max(rivals, key=lambda peer: rate[peer, theirs])
            cells.append(f"{rate[name, own] / rate[best, theirs]:.2f} ({best})")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="Attune's data folder, with the models")
    parser.add_argument("--attune", type=Path, default=ROOT / "target/release/attune", help="the program to compare")
    everybody = [*(f"attune-{precision}" for precision in PRECISIONS), *contestant.PEERS]
    parser.add_argument("--only", nargs="+", choices=everybody, default=everybody, help="who runs, default everybody")
    parser.add_argument("--runs", type=int, default=5, help="rounds that count")
    parser.add_argument("--texts", type=int, default=texts.TEXTS, help="how many; less only to try things out")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of every contestant")
    parser.add_argument("--work", type=Path, default=HERE / ".venv/models", help="where converted models are kept")
    parser.add_argument("--json", type=Path, default=ROOT / "target/peers.json", help="where the figures go")
    options = parser.parse_args()
    if not options.attune.exists() and any(name.startswith("attune-") for name in options.only):
        raise SystemExit(f"{options.attune} does not exist: run `make release`, or leave Attune out with --only")
    if not (options.data / "models/all-MiniLM-L6-v2").is_dir():
        raise SystemExit(f"{options.data} has no models: run `make models`")
    options.work.mkdir(parents=True, exist_ok=True)

    workloads = texts.workloads(options.data / "models", options.texts)
    tokens = {name: sum(map(len, rows)) for name, rows in workloads.items()}
    results = measure(options, tokens)
    name, flags = processor()
    report = {
        "date": datetime.date.today().isoformat(),
        "processor": name,
        "instruction_sets": flags,
        "threads": options.threads,
        "texts": options.texts,
        "batch_texts": texts.BATCH,
        "results": results,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2))
    print(f"{report['date']}, {name}, {options.threads} threads, {' '.join(flags)}\n")
    print("\n".join([*table(results), "", *ratios(results)]))


if __name__ == "__main__":
    main()
