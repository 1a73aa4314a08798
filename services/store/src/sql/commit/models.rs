//! Versions of models.

use serde_json::Value;

use super::super::{Writing, now_ms, query};
use super::{Written, checked, checked_key, first, json, number};
use crate::Expect;

impl Writing<'_> {
    pub(super) async fn put_model(
        &mut self,
        tenant: String,
        model: String,
        label: String,
        uri: String,
        metrics: &Value,
        expect: Expect,
    ) -> Written {
        let sql = "INSERT INTO model_versions AS t (tenant, model, label, uri, metrics, is_live, created_ms, version) \
             VALUES ($1, $2, $3, $4, $5, 0, $6, $7) ON CONFLICT (tenant, model, label) DO UPDATE \
             SET uri = excluded.uri, metrics = excluded.metrics, version = t.version + 1 \
             WHERE $8 < 0 OR t.version = $8 RETURNING version";
        let what = format!("version {label:?} of {model:?}");
        let (model, label) = (checked_key(model)?, checked_key(label)?);
        let query = query!(sql, tenant, model, label, checked(uri)?, json(metrics)?, now_ms(), first());
        self.put(query.bind(number(expect)), expect, &what).await
    }

    pub(super) async fn promote(&mut self, tenant: String, model: String, label: String) -> Written {
        let retire = "UPDATE model_versions SET is_live = 0, version = version + 1 \
             WHERE tenant = $1 AND model = $2 AND is_live = 1 AND label <> $3";
        let what = format!("version {label:?} of {model:?}");
        let (model, label) = (checked_key(model)?, checked_key(label)?);
        self.run(query!(retire, tenant.clone(), model.clone(), label.clone())).await?;
        let sql = "UPDATE model_versions SET is_live = 1, promoted_ms = $4, version = version + 1 \
             WHERE tenant = $1 AND model = $2 AND label = $3 RETURNING version";
        self.change(query!(sql, tenant, model, label, now_ms()), Expect::Any, &what).await
    }
}
