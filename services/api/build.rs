//! Compiles the protocol buffers without `protoc`, and keeps the descriptors for gRPC reflection.

use std::{env, error::Error, fs, path::PathBuf};

const PROTOS: [&str; 5] = [
    "proto/attune/v1/inference.proto",
    "proto/attune/v1/recommendation.proto",
    "proto/attune/v1/tracking.proto",
    "proto/attune/v1/content.proto",
    "proto/attune/v1/users.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;

    let descriptors = PathBuf::from(env::var("OUT_DIR")?).join("attune_descriptor.bin");
    fs::write(descriptors, compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure().compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
