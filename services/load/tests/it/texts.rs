//! The order of the real texts, which `benches/peers/texts.py` has to draw too.

use std::{hash::Hasher, path::PathBuf};

use attune_load::texts::bench_texts;
use fnv::FnvHasher;

/// 64-bit FNV-1a of the first 2,000 texts, each with LF after it.
const FINGERPRINT: u64 = 0xb097_344a_26cb_fade;
/// Checks the same fingerprint before every comparison.
const PEERS: &str = include_str!("../../../../benches/peers/texts.py");

fn sentences() -> PathBuf {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/models"));
    let folder = std::env::var_os("ATTUNE_MODELS_DIR").map_or_else(default, PathBuf::from).join("sentiment-data");
    assert!(folder.is_dir(), "{} is absent: run `make models` first", folder.display());
    folder
}

#[test]
fn the_first_2000_texts_are_the_ones_that_the_peers_get() {
    let texts = bench_texts(&sentences(), 2_000).unwrap();
    let mut hasher = FnvHasher::default();
    for text in &texts {
        hasher.write(text.as_bytes());
        hasher.write_u8(b'\n');
    }
    let found = hasher.finish();
    assert_eq!(found, FINGERPRINT, "{found:#x}");
    assert!(PEERS.contains(&format!("FINGERPRINT = {FINGERPRINT:#X}\n")), "the peers are held to another order");
}

#[test]
fn there_are_as_many_sentences_as_the_collection_has() {
    assert_eq!(bench_texts(&sentences(), 23_703).unwrap().len(), 23_703);
    assert!(bench_texts(&sentences(), 23_704).is_err());
}
