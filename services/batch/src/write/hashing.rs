//! A writer that knows what went through it.

use std::fmt::Write as _;
use std::io::{self, Read, Write};

use sha2::{Digest, Sha256};

const CHUNK_BYTES: usize = 1 << 20;

/// Passes bytes on, and keeps their number and SHA-256.
#[derive(Debug)]
pub struct Hashing<W> {
    inner: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    /// Hashes what is written to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// The writer, the number of bytes, and their SHA-256 in lower-case hexadecimal.
    pub fn finish(self) -> (W, u64, String) {
        let hex = self.hash.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        (self.inner, self.bytes, hex)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Number and SHA-256 of all bytes of a reader.
///
/// # Errors
/// It cannot be read.
pub fn digest(mut reader: impl Read) -> io::Result<(u64, String)> {
    let (mut hashing, mut chunk) = (Hashing::new(io::sink()), vec![0; CHUNK_BYTES]);
    loop {
        match reader.read(&mut chunk)? {
            0 => break,
            read => hashing.write_all(&chunk[..read])?,
        }
    }
    let (_, bytes, sha256) = hashing.finish();
    Ok((bytes, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vector() {
        // FIPS 180-4, the one-block message "abc".
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(digest(&b"abc"[..]).unwrap(), (3, sha256));
    }
}
