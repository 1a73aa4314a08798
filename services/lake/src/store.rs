//! The lake's objects.

use attune_store::objects::{Condition, Objects};
use attune_store::{ErrorKind, StoreError, StoreKind, Tenant};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::codec::LakeError;
use crate::manifest::{DataFile, FORMAT, MANIFEST_KEY, Manifest};

/// A manifest and its version, by which it is replaced.
pub(crate) type Versioned = (Manifest, Option<String>);

/// The lake of a tenant as it is now; an empty one where there is none.
///
/// # Errors
/// The store does not answer, or the manifest is of a newer program.
pub async fn load_manifest(objects: &dyn Objects, tenant: &Tenant) -> Result<Manifest, LakeError> {
    versioned(objects, tenant).await.map(|(manifest, _)| manifest)
}

pub(crate) async fn versioned(objects: &dyn Objects, tenant: &Tenant) -> Result<Versioned, LakeError> {
    let reading = match objects.get(tenant, MANIFEST_KEY, None).await {
        Err(error) if error.kind == ErrorKind::NotFound => {
            return Ok((Manifest { format: FORMAT, ..Manifest::default() }, None));
        }
        reading => reading?,
    };
    let version = reading.about.version.clone();
    let bytes = collect(reading).await?;
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("{MANIFEST_KEY:?} cannot be read: {error}");
        StoreError::new(StoreKind::Objects, "get", ErrorKind::Corrupt, detail)
    })?;
    if manifest.format > FORMAT {
        let detail = format!("it is of format {}, this program knows {FORMAT}: start a newer one", manifest.format);
        return Err(LakeError::Manifest(detail));
    }
    Ok((manifest, Some(version)))
}

/// Replaces the manifest, if it is still the one that was read. Its new version, or none: somebody else was first.
pub(crate) async fn replace(
    objects: &dyn Objects,
    tenant: &Tenant,
    manifest: &Manifest,
    version: Option<String>,
) -> Result<Option<String>, LakeError> {
    let bytes = serde_json::to_vec(manifest).map_err(|error| LakeError::Manifest(error.to_string()))?;
    let condition = version.map_or(Condition::Absent, Condition::Version);
    match objects.put(tenant, MANIFEST_KEY, bytes.into(), condition).await {
        Ok(about) => Ok(Some(about.version)),
        Err(error) if error.kind == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The bytes of a file. One that is not there was replaced: load the manifest again.
///
/// # Errors
/// The store does not answer, or has it no more.
pub async fn load_file(objects: &dyn Objects, tenant: &Tenant, file: &DataFile) -> Result<Bytes, LakeError> {
    collect(objects.get(tenant, &file.key, None).await?).await
}

async fn collect(reading: attune_store::objects::Reading) -> Result<Bytes, LakeError> {
    let mut bytes = BytesMut::with_capacity((reading.range.end - reading.range.start) as usize);
    let mut body = reading.body;
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes.freeze())
}
