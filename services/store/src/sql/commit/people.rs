//! People.

use super::super::{Writing, now_ms, query};
use super::{Written, checked_key, first, number};
use crate::Expect;
use crate::relational::Subject;

impl Writing<'_> {
    pub(super) async fn set_consent(
        &mut self,
        tenant: String,
        user: String,
        consent: Option<bool>,
        expect: Expect,
    ) -> Written {
        let sql = "UPDATE people SET consent = $3, version = version + 1 WHERE tenant = $1 AND kind = 'u' \
             AND id = $2 AND ($4 < 0 OR version = $4) RETURNING version";
        let what = format!("the user {user:?}");
        let query = query!(sql, tenant, checked_key(user)?, consent.map(i64::from), number(expect));
        self.change(query, expect, &what).await
    }

    pub(super) async fn join(&mut self, tenant: String, anonymous: String, user: String) -> Written {
        let sql = "INSERT INTO people AS t (tenant, kind, id, subject, user_id, created_ms, version) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, kind, id) DO UPDATE \
             SET user_id = excluded.user_id, version = t.version + 1 RETURNING version";
        let (anonymous, user) = (checked_key(anonymous)?, checked_key(user)?);
        let row = |kind: &'static str, id: String, of: Option<String>| {
            query!(sql, tenant.clone(), kind, id, Subject::random().to_string(), of, now_ms(), first())
        };
        // The user's version grows too: who is about to forget him and has read whom that concerns must read again.
        self.put(row("u", user.clone(), None), Expect::Any, "the user").await?;
        self.put(row("a", anonymous, Some(user)), Expect::Any, "the anonymous id").await
    }

    pub(super) async fn forget(&mut self, tenant: String, user: String) -> Written {
        let sql = "DELETE FROM people WHERE tenant = $1 AND ((kind = 'u' AND id = $2) OR user_id = $2)";
        self.run(query!(sql, tenant, checked_key(user)?)).await
    }
}
