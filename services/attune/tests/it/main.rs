//! The workspace as a whole, and the real binary from the outside.

mod workspace;
