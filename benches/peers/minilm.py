"""all-MiniLM-L6-v2 as an ONNX graph, made straight from its safetensors.

The usual exporter traces the model in PyTorch, which is 900 MB to install for a graph of 200 nodes. The graph is
written in the form that exporters emit, because that is the form whose patterns ONNX Runtime's optimizer knows how to
fuse. Mean pooling and the final scaling are part of it, so that a peer's work ends where Attune's ends.
"""

import json
import math
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

OPSET = 17
# What stands for "not attended to": far below any score, far above the overflow of bf16.
MASKED = -10000.0


class Graph:
    """Nodes and constants under construction."""

    def __init__(self):
        self.nodes = []
        self.constants = {}

    def constant(self, name, value, dtype=np.float32):
        self.constants[name] = numpy_helper.from_array(np.asarray(value, dtype=dtype), name)
        return name

    def op(self, kind, *inputs, **attributes):
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def model(self, inputs, outputs):
        graph = helper.make_graph(self.nodes, "minilm", inputs, outputs, list(self.constants.values()))
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


class Bert:
    """The layers of BERT, by the names of its tensors."""

    def __init__(self, folder):
        self.config = json.loads((folder / "config.json").read_text())
        self.tensors = load_file(folder / "model.safetensors")
        self.graph = Graph()
        self.hidden = self.config["hidden_size"]
        self.heads = self.config["num_attention_heads"]

    def weight(self, name, transposed=False):
        tensor = self.tensors[name]
        return self.graph.constant(name, tensor.T.copy() if transposed else tensor)

    def linear(self, x, name):
        product = self.graph.op("MatMul", x, self.weight(f"{name}.weight", transposed=True))
        return self.graph.op("Add", product, self.weight(f"{name}.bias"))

    def norm(self, x, name):
        gamma, beta = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.graph.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=self.config["layer_norm_eps"])

    def embeddings(self, ids, types):
        g = self.graph
        words = g.op("Gather", self.weight("embeddings.word_embeddings.weight"), ids)
        kinds = g.op("Gather", self.weight("embeddings.token_type_embeddings.weight"), types)
        length = g.op("Gather", g.op("Shape", ids), g.constant("dim_1", 1, np.int64), axis=0)
        end = g.op("Unsqueeze", length, g.constant("axes_0", [0], np.int64))
        positions = np.arange(self.config["max_position_embeddings"]).reshape(1, -1)
        first, axis, step = (g.constant(f"slice_{v}", [v], np.int64) for v in (0, 1, 1))
        positions = g.op("Slice", g.constant("position_ids", positions, np.int64), first, end, axis, step)
        places = g.op("Gather", self.weight("embeddings.position_embeddings.weight"), positions)
        return self.norm(g.op("Add", g.op("Add", words, kinds), places), "embeddings.LayerNorm")

    def bias_of_mask(self, mask):
        """0 where a token is, MASKED where padding is; batch x 1 x 1 x length."""
        g = self.graph
        wide = g.op("Unsqueeze", mask, g.constant("axes_1", [1], np.int64))
        wide = g.op("Unsqueeze", wide, g.constant("axes_2", [2], np.int64))
        inverse = g.op("Sub", g.constant("one", 1.0), g.op("Cast", wide, to=TensorProto.FLOAT))
        return g.op("Mul", inverse, g.constant("masked", MASKED))

    def attention(self, x, bias, name):
        g, width = self.graph, self.hidden // self.heads
        split = g.constant("split_heads", [0, 0, self.heads, width], np.int64)
        join = g.constant("join_heads", [0, 0, self.hidden], np.int64)

        def head(part, order):
            rows = g.op("Reshape", self.linear(x, f"{name}.self.{part}"), split)
            return g.op("Transpose", rows, perm=order)

        query, key, value = head("query", [0, 2, 1, 3]), head("key", [0, 2, 3, 1]), head("value", [0, 2, 1, 3])
        scores = g.op("Div", g.op("MatMul", query, key), g.constant("scale", math.sqrt(width)))
        weights = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
        mixed = g.op("Transpose", g.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        return self.linear(g.op("Reshape", mixed, join), f"{name}.output.dense")

    def gelu(self, x):
        """The exact one: x (1 + erf(x / sqrt 2)) / 2."""
        g = self.graph
        erf = g.op("Erf", g.op("Div", x, g.constant("sqrt_2", math.sqrt(2.0))))
        return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.constant("one", 1.0))), g.constant("half", 0.5))

    def layer(self, x, bias, name):
        g = self.graph
        attended = g.op("Add", self.attention(x, bias, f"{name}.attention"), x)
        x = self.norm(attended, f"{name}.attention.output.LayerNorm")
        inner = self.gelu(self.linear(x, f"{name}.intermediate.dense"))
        return self.norm(g.op("Add", self.linear(inner, f"{name}.output.dense"), x), f"{name}.output.LayerNorm")

    def pool(self, x, mask):
        """Mean of the tokens that are not padding, scaled to unit length."""
        g = self.graph
        present = g.op("Cast", g.op("Unsqueeze", mask, g.constant("axes_2", [2], np.int64)), to=TensorProto.FLOAT)
        total = g.op("ReduceSum", g.op("Mul", x, present), g.constant("axes_1", [1], np.int64), keepdims=0)
        count = g.op("ReduceSum", present, g.constant("axes_1", [1], np.int64), keepdims=0)
        mean = g.op("Div", total, count)
        return g.op("Div", mean, g.op("ReduceL2", mean, axes=[1], keepdims=1))

    def build(self):
        ids, mask, types = "input_ids", "attention_mask", "token_type_ids"
        x, bias = self.embeddings(ids, types), self.bias_of_mask(mask)
        for number in range(self.config["num_hidden_layers"]):
            x = self.layer(x, bias, f"encoder.layer.{number}")
        self.graph.nodes.append(helper.make_node("Identity", [self.pool(x, mask)], ["embedding"]))
        tokens = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in (ids, mask, types)]
        rows = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", self.hidden])]
        return self.graph.model(tokens, rows)


def write(folder: Path, path: Path):
    """Makes the graph of the model in `folder` and writes it to `path`."""
    model = Bert(folder).build()
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
