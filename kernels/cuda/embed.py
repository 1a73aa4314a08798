#!/usr/bin/env python3
"""Makes kernels/cuda/ptx/*.ptx.gz: the kernels as PTX, for machines with a driver and without NVRTC.

Run by `make cuda-ptx` after a kernel was changed, with NVRTC 12.1 on LD_LIBRARY_PATH: PTX of a newer one would shut out
older drivers. Each file is for the lowest compute capability that has the arithmetic, and later cards' drivers compile it too; Hopper has one
of its own.
"""

import ctypes
import gzip
import hashlib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent
PARTS = ["ptx.cuh", "element.cuh", "layers.cuh", "project.cuh", "hopper.cuh", "attention.cuh", "topk.cuh"]
# Precision and capability. What Hopper alone can do no later card can: its PTX is for compute 9.0 and nothing else.
TARGETS = [("f32", 0, "75"), ("bf16", 1, "80"), ("bf16", 1, "90a"), ("f16", 2, "75")]


def compile_ptx(nvrtc, source, precision, capability):
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    if nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"attune.cu", 0, None, None):
        sys.exit("NVRTC cannot create a program")
    options = [f"--gpu-architecture=compute_{capability}", f"-DATTUNE_PRECISION={precision}", "--std=c++17"]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*map(str.encode, options)))
    what = "ProgramLog" if failed else "PTX"
    getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(program, text)
    if failed:
        sys.exit(text.value.decode())
    return text.value.decode()


def main():
    nvrtc = ctypes.CDLL("libnvrtc.so.12")
    source = "".join((HERE / part).read_text() for part in PARTS)
    digest = hashlib.sha256(source.encode()).hexdigest()
    for name, precision, capability in TARGETS:
        ptx = compile_ptx(nvrtc, source, precision, capability)
        # Comments and blank lines say nothing to a driver.
        ptx = re.sub(r"^\s*//.*\n|^\s*\n", "", ptx, flags=re.MULTILINE)
        packed = gzip.compress(f"// attune kernels, source {digest}\n{ptx}".encode(), 9, mtime=0)
        file = HERE / "ptx" / f"{name}.sm_{capability}.ptx.gz"
        file.write_bytes(packed)
        version = re.search(r"\.version (\S+)", ptx).group(1)
        print(f"{file.name}: PTX {version}, {len(ptx)} bytes, {len(packed)} packed")


main()
