"""The texts and batches that every contestant runs.

The order of the texts is defined in `services/load/src/texts.rs` and drawn here again, to the bit; FINGERPRINT says so.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TEXTS = 2000
BATCH = 32
FIXED_TOKENS = 128
TOKENS_MAX = 512
SEED = 42
# 64-bit FNV-1a of the first 2,000 texts, each with LF after it; a test of services/load holds both sides to it.
FINGERPRINT = 0xB097344A26CBFADE
BITS = (1 << 64) - 1


class SplitMix64:
    """Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & BITS
        mixed = ((self.state ^ (self.state >> 30)) * 0xBF58476D1CE4E5B9) & BITS
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & BITS
        return mixed ^ (mixed >> 31)

    def below(self, bound):
        return (self.bits() * bound) >> 64


def shuffle(rows):
    random = SplitMix64(SEED)
    for last in range(len(rows) - 1, 0, -1):
        other = random.below(last + 1)
        rows[last], rows[other] = rows[other], rows[last]


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & BITS
    return value


def bench_texts(folder: Path, count=TEXTS):
    """The first `count` labelled sentences of `folder` in the benches' fixed random order."""
    texts = []
    for path in sorted(folder.glob("*_GroundTruth.txt"), key=lambda path: os.fsencode(path.name)):
        for row in path.read_bytes().decode().split("\n"):
            row = row.removesuffix("\r")
            if row:
                texts.append(row.split("\t", 2)[2])
    shuffle(texts)
    return texts[:count]


def check_fingerprint(texts):
    found = fnv1a("".join(text + "\n" for text in texts).encode())
    if found != FINGERPRINT:
        raise SystemExit(f"Attune is measured on other texts: the fingerprint is {found:#x}, not {FINGERPRINT:#x}")


class Ids:
    """Texts to token ids. The model's file asks for padding to 128 and truncation at 128, which is taken back."""

    def __init__(self, model: Path):
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(TOKENS_MAX)

    def of(self, texts):
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]


@dataclass
class Batch:
    """Rows of token ids, padded at the end to the longest of them."""

    input_ids: np.ndarray
    attention_mask: np.ndarray
    token_type_ids: np.ndarray

    @classmethod
    def of(cls, rows):
        longest = max(map(len, rows))
        ids = np.zeros((len(rows), longest), np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for number, row in enumerate(rows):
            ids[number, : len(row)] = row
            mask[number, : len(row)] = 1
        return cls(ids, mask, np.zeros_like(ids))

    def inputs(self):
        return vars(self)


def batches(rows):
    return [Batch.of(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]


def fixed_count(count):
    """A quarter of the texts are enough for a steady figure at 128 tokens each."""
    return (count + 3) // 4


def fixed(rows, count, tokens=FIXED_TOKENS):
    """Rows of one length, made of the contents of `rows` one after the other between the special tokens."""
    contents = [token for row in rows for token in row[1:-1]]
    inside = tokens - 2
    content = np.resize(contents, (count, inside))
    ends = np.full((count, 1), rows[0][0]), np.full((count, 1), rows[0][-1])
    return np.hstack([ends[0], content, ends[1]]).tolist()


def workloads(models: Path, count=TEXTS):
    """Rows of token ids by the name of the workload; less than all 2,000 texts are for trying things out."""
    texts = bench_texts(models / "sentiment-data")
    check_fingerprint(texts)
    real = Ids(models / "all-MiniLM-L6-v2").of(texts[:count])
    return {"real": real, "sorted": sorted(real, key=len), "fixed:128": fixed(real, count=fixed_count(count))}
