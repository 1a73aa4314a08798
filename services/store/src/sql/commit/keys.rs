//! API keys.

use super::super::{Writing, query};
use super::{Written, checked, checked_key, first, number};
use crate::Expect;
use crate::relational::ApiKey;

impl Writing<'_> {
    pub(super) async fn put_key(&mut self, tenant: String, key: ApiKey, expect: Expect) -> Written {
        let sql = "INSERT INTO api_keys AS t \
             (tenant, id, title, hash, scopes, created_ms, expires_ms, revoked_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (tenant, id) DO UPDATE \
             SET title = excluded.title, hash = excluded.hash, scopes = excluded.scopes, \
             expires_ms = excluded.expires_ms, revoked_ms = excluded.revoked_ms, version = t.version + 1 \
             WHERE $10 < 0 OR t.version = $10 RETURNING version";
        let what = format!("the key {:?}", key.id);
        let (id, title, scopes) = (checked_key(key.id)?, checked(key.title)?, checked(key.scopes.join(" "))?);
        let query = query!(sql, tenant, id, title, key.hash.to_vec(), scopes, key.created_ms);
        let query = query.bind(key.expires_ms).bind(key.revoked_ms).bind(first()).bind(number(expect));
        self.put(query, expect, &what).await
    }

    pub(super) async fn delete_key(&mut self, tenant: String, id: String) -> Written {
        self.run(query!("DELETE FROM api_keys WHERE tenant = $1 AND id = $2", tenant, checked_key(id)?)).await
    }
}
