//! What a key looks like: `att_`, 43 random characters, 6 characters of checksum.

use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};

/// What every key starts with, so that scanners of source code and logs find one that leaked.
pub(super) const PREFIX: &str = "att_";
/// The random part, before it is written in base 62.
pub(super) const SECRET_BYTES: usize = 32;
/// 62^43 > 2^256.
const SECRET_CHARS: usize = 43;
/// 62^6 > 2^32.
const CHECKSUM_CHARS: usize = 6;
const CHECKSUM_BYTES: usize = 4;
const ID_BYTES: usize = 6;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The operating system has no randomness to give.
type NoRandomness = <SysRng as TryRng>::Error;

/// A key that nobody has had before.
pub(super) fn new_key() -> Result<String, NoRandomness> {
    let mut key = PREFIX.to_owned();
    key.extend(chars(&base62::<SECRET_BYTES, SECRET_CHARS>(random()?)));
    key.extend(chars(&checksum(&key)));
    Ok(key)
}

/// A key's public name.
pub(super) fn new_id() -> Result<String, NoRandomness> {
    Ok(format!("key_{}", hex(&random::<ID_BYTES>()?)))
}

/// Whether `key` could be one: a checksum tells a mistyped key from an unknown one before anything is looked up.
pub(super) fn is_well_formed(key: &str) -> bool {
    key.len() == PREFIX.len() + SECRET_CHARS + CHECKSUM_CHARS
        && key.is_ascii()
        && key.starts_with(PREFIX)
        && key.as_bytes().ends_with(&checksum(&key[..key.len() - CHECKSUM_CHARS]))
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checksum(body: &str) -> [u8; CHECKSUM_CHARS] {
    let digest = Sha256::digest(body.as_bytes());
    base62(std::array::from_fn::<u8, CHECKSUM_BYTES, _>(|index| digest[index]))
}

/// The number that `bytes` are, big end first, in exactly `CHARS` digits.
fn base62<const BYTES: usize, const CHARS: usize>(mut number: [u8; BYTES]) -> [u8; CHARS] {
    let mut digits = [b'0'; CHARS];
    for digit in digits.iter_mut().rev() {
        let remainder = number.iter_mut().fold(0_u32, |carry, byte| {
            let value = carry * 256 + u32::from(*byte);
            *byte = (value / 62) as u8;
            value % 62
        });
        *digit = BASE62[remainder as usize];
    }
    digits
}

fn chars(digits: &[u8]) -> impl Iterator<Item = char> {
    digits.iter().map(|&digit| char::from(digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base62_counts_like_any_number() {
        assert_eq!(base62([0]), *b"000");
        assert_eq!(base62([61]), *b"00z");
        assert_eq!(base62([1, 0]), *b"048");
    }
}
