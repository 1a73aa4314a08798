"""The official OpenAI client against a running server, unchanged. Optional: nothing else depends on it.

    python3 -m venv /tmp/openai && /tmp/openai/bin/pip install openai
    attune serve                                  # in another terminal
    ATTUNE_KEY=att_... /tmp/openai/bin/python benches/clients/openai_client.py [http://127.0.0.1:8080]
"""

import math
import os
import sys

import openai

url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8080"
client = openai.OpenAI(base_url=f"{url}/v1", api_key=os.environ["ATTUNE_KEY"], max_retries=0)
model = "all-MiniLM-L6-v2"


def embed(texts, **options):
    answer = client.embeddings.create(model=model, input=texts, **options)
    return [one.embedding for one in answer.data]


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def refused(error, **call):
    try:
        client.embeddings.create(**call)
    except error as refusal:
        return refusal
    raise AssertionError(f"{call} was not refused with {error.__name__}")


happy, dog = embed(["That is a happy person", "That is a happy dog"])  # base64 on the wire, the client's own choice
assert abs(dot(happy, dog) - 0.6946) < 0.02, dot(happy, dog)
as_floats = embed("That is a happy person", encoding_format="float")[0]
assert max(abs(x - y) for x, y in zip(happy, as_floats)) < 1e-6, "base64 and numbers differ"
short = embed("That is a happy person", dimensions=64)[0]
assert len(short) == 64 and abs(math.sqrt(dot(short, short)) - 1) < 1e-4
by_tokens = embed([[101, 2008, 2003, 1037, 3407, 2711, 102]])[0]
assert abs(dot(by_tokens, happy) - 1) < 1e-4, "token ids and text differ"
assert model in [one.id for one in client.models.list()]
assert refused(openai.NotFoundError, model="no-such-model", input="x").code == "model_not_found"
assert refused(openai.BadRequestError, model=model, input=[])
client.api_key = "wrong"
assert refused(openai.AuthenticationError, model=model, input="x")
print(f"openai {openai.__version__}: floats, base64, dimensions, token ids, models and errors as it expects")
