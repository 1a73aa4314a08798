//! Criterion benches by path.
