mod bf16;
mod int8;
mod support;
