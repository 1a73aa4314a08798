//! A demo on stores that others use, too: it has a tenant of its own there, which goes when the demo does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use attune_api::users::{ERASE_TENANT, TenantSpec};
use attune_gateway::DEFAULT_TENANT;
use attune_store::Tenant;
use attune_store::relational::{JobState, Relational, Write};

/// Who deleted the tenant, in the audit log.
const ACTOR: &str = "demo";
/// How often the job is asked for.
const POLL: Duration = Duration::from_millis(200);
/// Far longer than the tenant of a demo takes to delete. What is left then, the next server on these stores deletes.
const PATIENCE: Duration = Duration::from_secs(120);

/// The tenant of a demo.
pub struct Guest {
    rows: Arc<dyn Relational>,
    tenant: Tenant,
}

impl Guest {
    /// A tenant that nobody has yet; it is made with the first key.
    pub fn new(rows: Arc<dyn Relational>) -> Self {
        let tenant = format!("demo-{:08x}", rand::random::<u32>()).parse();
        Self { rows, tenant: tenant.expect("letters, digits and a hyphen name a tenant") }
    }

    /// Its name.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Deletes all that is kept of the tenant, by the job that deletes any tenant: what this process does not come to
    /// stays entered. Services' background work must still be running.
    ///
    /// # Errors
    /// A store fails, or it takes too long.
    pub async fn leave(self) -> Result<()> {
        say!("deleting what the demo kept in your stores (tenant {})", self.tenant);
        let done = tokio::time::timeout(PATIENCE, self.erase()).await;
        let done = done.unwrap_or_else(|_| bail!("it takes longer than {} s", PATIENCE.as_secs()));
        done.with_context(|| format!("what is kept of the tenant {} is not all deleted yet", self.tenant))
    }

    async fn erase(&self) -> Result<()> {
        // Where the gateway enters such jobs.
        let operator: Tenant = DEFAULT_TENANT.parse()?;
        let id = format!("{:032x}", rand::random::<u128>());
        let spec = TenantSpec { tenant: self.tenant.to_string(), actor: ACTOR.to_owned() };
        let job = Write::PutJob { id: id.clone(), kind: ERASE_TENANT.to_owned(), spec: serde_json::to_value(spec)? };
        self.rows.commit(&operator, vec![job]).await?;
        loop {
            let job = self.rows.job(&operator, &id).await?.context("the job is gone")?;
            match job.state {
                JobState::Done => return Ok(()),
                JobState::Failed | JobState::Cancelled => bail!("the job ended before its end: {}", job.report),
                JobState::Queued | JobState::Running => tokio::time::sleep(POLL).await,
            }
        }
    }
}
