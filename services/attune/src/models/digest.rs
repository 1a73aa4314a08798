//! SHA-256 of files, as lower-case hexadecimal.

use std::fs::File;
use std::io;
use std::path::Path;

use attune_batch::write::digest;

/// Length and SHA-256 of a file.
///
/// # Errors
/// The file cannot be read.
pub fn of_file(path: &Path) -> io::Result<(u64, String)> {
    digest(File::open(path)?)
}

/// Length and SHA-256 of bytes in memory.
pub fn of_bytes(bytes: &[u8]) -> (u64, String) {
    digest(bytes).expect("memory can be read")
}

/// Whether `text` is a SHA-256 in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector() {
        // FIPS 180-4, the one-block message "abc".
        let (bytes, sha256) = of_bytes(b"abc");
        assert_eq!(bytes, 3);
        assert_eq!(sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(is_sha256(&sha256));
    }
}
