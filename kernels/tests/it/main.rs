//! Every kernel on every tier of this machine, against what it should compute.

mod attention;
mod bf16;
mod gemm;
mod int8;
mod layers;
mod pool;
mod support;
