//! What a folder holds and in which format, so that a newer program's is refused before anything is written to it.

use serde::{Deserialize, Serialize};

use super::disk::{self, Disk};
use super::disk_failure;
use crate::{ErrorKind, StoreError, StoreKind};

const NAME: &str = "format.json";

#[derive(Serialize, Deserialize)]
struct Format<T> {
    store: String,
    format: u32,
    #[serde(flatten)]
    facts: T,
}

/// What is always there, whatever the format.
#[derive(Deserialize)]
struct Any {
    store: String,
    format: u32,
}

/// The facts that a folder was made with; `facts` are written where it is new.
///
/// # Errors
/// `TooNew` where a newer program made it; `Invalid` where it is another store's; `Corrupt` where that cannot be known.
pub(super) fn open<T>(disk: &dyn Disk, store: StoreKind, format: u32, facts: T) -> Result<T, StoreError>
where
    T: Serialize + for<'a> Deserialize<'a>,
{
    let failed = |error| disk_failure(store, "open", NAME, &error);
    let Some(bytes) = disk.read(NAME).map_err(failed)? else {
        let new = Format { store: store.name().to_owned(), format, facts };
        let bytes = serde_json::to_vec_pretty(&new).expect("names and numbers are JSON");
        disk::replace(disk, "", NAME, &bytes).map_err(failed)?;
        return Ok(new.facts);
    };
    let corrupt = |error| {
        let detail = format!("{NAME} of this folder cannot be read: restore it, or move the folder away");
        StoreError::new(store, "open", ErrorKind::Corrupt, detail)
            .caused_by(Box::<dyn std::error::Error + Send + Sync>::from(error))
    };
    let any: Any = serde_json::from_slice(&bytes).map_err(corrupt)?;
    if any.store != store.name() {
        let detail = format!("this folder holds {}: give each store a folder of its own", any.store);
        return Err(StoreError::new(store, "open", ErrorKind::Invalid, detail));
    }
    if any.format > format {
        let detail =
            format!("this folder has format {}, this program reads up to {format}: start the newer one", any.format);
        return Err(StoreError::new(store, "open", ErrorKind::TooNew, detail));
    }
    serde_json::from_slice::<Format<T>>(&bytes).map(|found| found.facts).map_err(corrupt)
}
