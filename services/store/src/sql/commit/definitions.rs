//! Definitions.

use serde_json::Value;

use super::super::{Writing, now_ms, query};
use super::{Written, checked_key, conflict, first, json, number};
use crate::Expect;
use crate::relational::DefinitionKind;

impl Writing<'_> {
    pub(super) async fn put_definition(
        &mut self,
        tenant: String,
        kind: DefinitionKind,
        name: String,
        spec: &Value,
        is_enabled: bool,
        expect: Expect,
    ) -> Written {
        let sql = "INSERT INTO definitions AS t \
             (tenant, kind, name, spec, is_enabled, created_ms, changed_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $6, $7) ON CONFLICT (tenant, kind, name) DO UPDATE \
             SET spec = excluded.spec, is_enabled = excluded.is_enabled, changed_ms = excluded.changed_ms, \
             version = t.version + 1 WHERE $8 < 0 OR t.version = $8 RETURNING version";
        let what = format!("the {} {name:?}", kind.name());
        let query = query!(sql, tenant, kind.name(), checked_key(name)?, json(spec)?, i64::from(is_enabled));
        self.put(query.bind(now_ms()).bind(first()).bind(number(expect)), expect, &what).await
    }

    pub(super) async fn delete_definition(
        &mut self,
        tenant: String,
        kind: DefinitionKind,
        name: String,
        expect: Expect,
    ) -> Written {
        let sql = "DELETE FROM definitions WHERE tenant = $1 AND kind = $2 AND name = $3 \
             AND ($4 < 0 OR version = $4) RETURNING version";
        let what = format!("the {} {name:?}", kind.name());
        let deleted = self.written(query!(sql, tenant, kind.name(), checked_key(name)?, number(expect))).await?;
        if deleted.is_none() && expect != Expect::Any { Err(conflict(&what, expect)) } else { Ok(None) }
    }
}
