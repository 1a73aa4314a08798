"""Whether a contestant really computes all-MiniLM-L6-v2: figures of the published model, and how far it may be off."""

import numpy as np

from texts import Batch

SENTENCES = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
    "A man is eating food.",
    "A man is eating a piece of bread.",
]
# Pairs of sentences and their cosine.
COSINES = {(0, 1): 0.6946, (0, 2): 0.9429, (0, 3): 0.2569, (4, 5): 0.7553}
# The first dimensions of sentence 4.
FIRST = [0.03324, 0.00441, -0.00628, 0.04838, -0.1387]
# Largest difference of a cosine and of a dimension; the figures above are rounded to 4 digits.
BOUNDS = {"f32": (1e-4, 1e-4), "bf16": (0.02, 0.005), "int8": (0.03, 0.01)}


def check(name, precision, ids, embed):
    """Stops the program if `embed`, a function from a batch to rows of length 1, is not that model."""
    rows = embed(Batch.of(ids.of(SENTENCES)))
    cosine_max, dimension_max = BOUNDS[precision]
    wrong = [
        f"cosine of {SENTENCES[a]!r} and {SENTENCES[b]!r} is {rows[a] @ rows[b]:.4f}, not {expected}"
        for (a, b), expected in COSINES.items()
        if not abs(rows[a] @ rows[b] - expected) <= cosine_max
    ]
    if not np.all(np.abs(rows[4, : len(FIRST)] - FIRST) <= dimension_max):
        wrong.append(f"the first dimensions of {SENTENCES[4]!r} are {rows[4, : len(FIRST)]}, not {FIRST}")
    if wrong:
        raise SystemExit(f"{name} computes something else:\n  " + "\n  ".join(wrong))
