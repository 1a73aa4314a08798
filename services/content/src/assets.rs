//! Files of items, in the object store: clients put and read them there, at addresses that are good for a while.

use std::time::Duration;

use attune_api::rest::content::{Asset, AssetList, AssetRequest};
use attune_api::{ApiError, ErrorCode};
use attune_store::objects::{Access, KEY_PART_BYTES_MAX, PRESIGNED_MAX};
use attune_store::{Cursor, CursorError, Tenant};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::shared::Shared;
use crate::time::rfc3339;

/// How long an address is good for if nobody says.
const GOOD_FOR: Duration = Duration::from_secs(3_600);
/// Files on a page.
const PAGE_ASSETS: usize = 100;
const MICROS_PER_MILLI: i64 = 1_000;

/// Where the files of an item are. By a digest, since an id may have what a key may not, and be longer than one.
pub(crate) fn prefix(item_id: &str) -> String {
    format!("content/{}/", URL_SAFE_NO_PAD.encode(Sha256::digest(item_id.as_bytes())))
}

impl Shared {
    /// An address at which a file can be put.
    pub async fn add_asset(&self, tenant: &Tenant, item_id: &str, request: AssetRequest) -> Result<Asset, ApiError> {
        let key = key(item_id, &request.name)?;
        let good_for = request.good_for_s.map_or(GOOD_FOR, Duration::from_secs);
        if good_for.is_zero() || good_for > PRESIGNED_MAX {
            let detail = format!("an address is good for 1 to {} seconds", PRESIGNED_MAX.as_secs());
            return Err(ApiError::at(ErrorCode::Invalid, "/good_for_s", detail));
        }
        self.stored(tenant, item_id).await?;
        let presigned = self.stores.objects.presign(tenant, &key, Access::Put, good_for).await?;
        Ok(Asset {
            name: request.name,
            url: presigned.url,
            method: "PUT".to_owned(),
            expires_at: rfc3339(presigned.expires_ms * MICROS_PER_MILLI),
            bytes: None,
        })
    }

    /// The files of an item by name, each with an address at which it can be read.
    pub async fn assets(&self, tenant: &Tenant, item_id: &str, cursor: Option<&str>) -> Result<AssetList, ApiError> {
        self.stored(tenant, item_id).await?;
        let prefix = prefix(item_id);
        let list = ["assets", item_id];
        let name = cursor.map(|cursor| cursor.parse::<Cursor>()?.key::<String>(&list)).transpose();
        let no_cursor = |error: CursorError| ApiError::at(ErrorCode::Invalid, "/cursor", error.to_string());
        let after = name.map_err(no_cursor)?.map(|name| key(item_id, &name)).transpose()?;
        let found = self.stores.objects.list(tenant, &prefix, after.as_deref(), PAGE_ASSETS).await?;
        let mut assets = Vec::with_capacity(found.objects.len());
        for object in found.objects {
            let presigned = self.stores.objects.presign(tenant, &object.key, Access::Get, GOOD_FOR).await?;
            assets.push(Asset {
                name: object.key[prefix.len()..].to_owned(),
                url: presigned.url,
                method: "GET".to_owned(),
                expires_at: rfc3339(presigned.expires_ms * MICROS_PER_MILLI),
                bytes: Some(object.bytes),
            });
        }
        let next_cursor = found.next.map(|key| Cursor::at(&list, &&key[prefix.len()..]).to_string());
        Ok(AssetList { assets, next_cursor })
    }

    /// Deletes a file.
    pub async fn delete_asset(&self, tenant: &Tenant, item_id: &str, name: &str) -> Result<(), ApiError> {
        let key = key(item_id, name)?;
        self.stored(tenant, item_id).await?;
        Ok(self.stores.objects.delete(tenant, &key).await?)
    }
}

fn key(item_id: &str, name: &str) -> Result<String, ApiError> {
    let is_name = (1..=KEY_PART_BYTES_MAX).contains(&name.len())
        && !name.contains('/')
        && !name.chars().any(char::is_control)
        && !matches!(name, "." | "..");
    if is_name {
        return Ok(prefix(item_id) + name);
    }
    let detail = format!("a name of a file has 1 to {KEY_PART_BYTES_MAX} bytes, without `/` and control characters");
    Err(ApiError::at(ErrorCode::Invalid, "/name", detail))
}
