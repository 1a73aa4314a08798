//! Compute kernels behind safe slice APIs: all the unsafe code of Attune.
