#!/usr/bin/env python3
"""PyTorch on a GPU: a BERT of MiniLM's sizes in bf16 with its fused attention, on the shapes of attune-gpu-check.

Needs torch with CUDA, and transformers. Weights are random, since only time is measured; texts of a batch have one
length, so nobody pads. From token ids on the host to pooled rows on the host, as Attune's engine.

  python3 torch_bert.py [--seconds 1] [--compile] [--shape 256x128]... [--out torch.json]

It also measures the card's own limits: a large matrix product, a large copy, and the model's products alone.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import BertConfig, BertModel

SHAPES = [(1, 25), (1, 128), (32, 25), (32, 128), (160, 25), (1024, 25), (128, 128), (256, 128), (64, 512)]


def seconds_each(run, times=20):
    for _ in range(3):
        run()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(times):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / times / 1e3


def limits():
    """What the card can do: bf16 products of random numbers, and bytes read and written by a copy."""
    def product(rows, outputs, inputs):
        x, w = (torch.randn(n, inputs, device="cuda", dtype=torch.bfloat16) for n in (rows, outputs))
        bias = torch.randn(outputs, device="cuda", dtype=torch.bfloat16)
        return 2 * rows * outputs * inputs / seconds_each(lambda: torch.nn.functional.linear(x, w, bias)) / 1e12

    source = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    found = {f"{outputs} x {inputs}, 32768 rows, tflop_per_s": product(32768, outputs, inputs)
             for outputs, inputs in [(1152, 384), (384, 384), (1536, 384), (384, 1536)]}
    found["8192 x 8192 x 8192, tflop_per_s"] = product(8192, 8192, 8192)
    found["copy, gb_per_s"] = 2 * (1 << 30) / seconds_each(lambda: target.copy_(source)) / 1e9
    for what, value in found.items():
        print(f"limit {what}: {value:.0f}", flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--compile", action="store_true", help="through torch.compile with CUDA graphs")
    parser.add_argument("--shape", action="append", help="texts x tokens of each, instead of all shapes")
    parser.add_argument("--out", default="torch.json")
    options = parser.parse_args()
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shape or []] or SHAPES

    config = BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        max_position_embeddings=512, attn_implementation="sdpa",
    )
    model = BertModel(config, add_pooling_layer=False).cuda().to(torch.bfloat16).eval()

    def embed(ids):
        return model(input_ids=ids).last_hidden_state.float().mean(dim=1)

    run = torch.compile(embed, mode="reduce-overhead") if options.compile else embed
    work = 6 * 24 * 384 * 384
    results = []
    with torch.inference_mode():
        for texts, length in shapes:
            ids = torch.randint(1000, 30000, (texts, length)).pin_memory()

            def once():
                return run(ids.cuda(non_blocking=True)).cpu()

            for _ in range(5):
                once()
            times, started = [], time.perf_counter()
            while time.perf_counter() - started < options.seconds:
                begun = time.perf_counter()
                once()
                times.append(time.perf_counter() - begun)
            tokens_per_s = len(times) * texts * length / sum(times)
            flops = work + 6 * 4 * length * 384
            results.append({"texts": texts, "tokens_each": length, "median_s": statistics.median(times),
                            "tokens_per_s": tokens_per_s, "tflop_per_s": tokens_per_s * flops / 1e12})
            print(f"torch {texts:5} x {length:3}: {results[-1]['median_s'] * 1e3:8.3f} ms, {tokens_per_s:12.0f} tokens/s, "
                  f"{results[-1]['tflop_per_s']:6.1f} TFLOP/s", flush=True)
    report = {"torch": torch.__version__, "card": torch.cuda.get_device_name(), "compiled": options.compile,
              "limits": limits(), "engine": results}
    with open(options.out, "w") as file:
        json.dump(report, file, indent=1)


main()
