"""OpenVINO: f32, and bf16 where the processor multiplies it."""

import openvino as ov

import minilm


def has_bf16():
    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVino:
    """Streams of batches, or one batch at a time on all threads."""

    configurations = ("THROUGHPUT", "LATENCY")
    version = ov.__version__.split("-")[0]

    def __init__(self, kind, configuration, threads, models, work):
        path = work / "minilm.onnx"
        if not path.exists():
            minilm.write(models / "all-MiniLM-L6-v2", path)
        properties = {
            "PERFORMANCE_HINT": configuration,
            "INFERENCE_PRECISION_HINT": kind,
            "INFERENCE_NUM_THREADS": threads,
        }
        if configuration == "THROUGHPUT":
            properties["NUM_STREAMS"] = threads
        self.compiled = ov.Core().compile_model(path, "CPU", properties)
        used = self.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if used != kind:
            raise SystemExit(f"OpenVINO computes in {used}, {kind} was asked for")
        self.queue = ov.AsyncInferQueue(self.compiled, threads if configuration == "THROUGHPUT" else 1)

    def prepare(self, batches):
        return [batch.inputs() for batch in batches]

    def run(self, prepared):
        for inputs in prepared:
            self.queue.start_async(inputs)
        self.queue.wait_all()

    def embed(self, batch):
        return self.compiled(batch.inputs())[0]
