//! Takes over the keys of a data folder that kept them in a file, once.

use std::{fs, io, path::Path};

use attune_store::{
    ErrorKind, Expect, Tenant,
    relational::{ApiKey, AuditEntry, KEY_HASH_BYTES, KeyHash, Relational, Write},
};
use serde::Deserialize;
use serde_json::json;

use super::{KeyStoreError, PROGRAM, damaged, io_error, records};
use crate::auth::Scope;

const FILE: &str = "keys.json";
/// What the file is called afterwards.
const IMPORTED: &str = "keys.json.imported";
const FORMAT_VERSION: u32 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    version: u32,
    keys: Vec<KeptKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptKey {
    id: String,
    name: String,
    scopes: Vec<Scope>,
    /// The keyed hash, in hex.
    hash: String,
    created_unix_s: i64,
}

/// The keys of the file in `folder`; none where there is no file.
pub(super) fn read(folder: &Path) -> Result<Vec<ApiKey>, KeyStoreError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("read", &path, error)),
    };
    let file: KeysFile = serde_json::from_slice(&bytes).map_err(|error| damaged(&path, error.to_string()))?;
    if file.version != FORMAT_VERSION {
        let reason = format!("its version is {}, this program reads {FORMAT_VERSION}", file.version);
        return Err(damaged(&path, reason));
    }
    let key = |key: KeptKey| {
        let no_hash = || damaged(&path, format!("the hash of {} is not {KEY_HASH_BYTES} bytes in hex", key.id));
        let hash = unhex(&key.hash).ok_or_else(no_hash)?;
        let created_ms = key.created_unix_s.saturating_mul(1_000);
        Ok(ApiKey { created_ms, ..records::new_key(key.id, key.name, &key.scopes, hash) })
    };
    file.keys.into_iter().map(key).collect()
}

/// Enters them, each unless it is there: a start that was killed behind this is no harm. The file keeps its content
/// under another name.
pub(super) async fn take_over(
    folder: &Path,
    rows: &dyn Relational,
    tenant: &Tenant,
    keys: Vec<ApiKey>,
) -> Result<(), KeyStoreError> {
    for key in keys {
        let audit = AuditEntry {
            actor: PROGRAM.to_owned(),
            action: "key.import".to_owned(),
            target: key.id.clone(),
            detail: json!({}),
        };
        let put = Write::PutApiKey { key, expect: Expect::Absent };
        match rows.commit(tenant, vec![put, Write::Audit(audit)]).await {
            Err(error) if error.kind != ErrorKind::Conflict => return Err(error.into()),
            _ => {}
        }
    }
    let (from, to) = (folder.join(FILE), folder.join(IMPORTED));
    fs::rename(&from, to).map_err(|error| io_error("rename", &from, error))
}

fn unhex(text: &str) -> Option<KeyHash> {
    let mut hash = [0; KEY_HASH_BYTES];
    if text.len() != 2 * KEY_HASH_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_comes_back_and_nonsense_does_not() {
        let hash: KeyHash = std::array::from_fn(|index| index as u8 * 7);
        assert_eq!(unhex(&super::super::text::hex(&hash)), Some(hash));
        for nonsense in ["", "zz", &"g".repeat(64), &"+f".repeat(32), &"\u{e9}".repeat(32)] {
            assert_eq!(unhex(nonsense), None, "{nonsense}");
        }
    }
}
