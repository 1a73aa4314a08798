//! What was shown, into the log: one record a list, in the background. A crash may lose the last second of them; nobody
//! was promised one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use attune_api::log::Exposure;
use attune_store::Tenant;
use attune_store::events::{EventLog, NewEvent};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// Lists that wait to be written; one more is dropped and counted.
const WAITING_MAX: usize = 8_192;
/// Lists that are written at once.
const BATCH: usize = 256;
/// How long a list waits for others to be written with.
const GATHER: Duration = Duration::from_millis(200);

const DROPPED: &str = "attune_exposures_dropped_total";

/// A list that was shown.
pub struct Shown {
    pub tenant: Tenant,
    /// To whom, as the log names him.
    pub subject: String,
    pub exposure: Exposure,
}

/// Takes lists.
#[derive(Clone)]
pub struct Exposures(mpsc::Sender<Shown>);

impl Exposures {
    /// One end for requests, one for [`write`].
    pub fn new() -> (Self, mpsc::Receiver<Shown>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Takes a list, or drops it where too many wait.
    pub fn take(&self, shown: Shown) {
        if self.0.try_send(shown).is_err() {
            metrics::counter!(DROPPED).increment(1);
        }
    }
}

/// Writes lists until it is told to stop, and what was given until then.
pub async fn write(mut lists: mpsc::Receiver<Shown>, log: Arc<dyn EventLog>, mut stop: watch::Receiver<bool>) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            came = lists.recv_many(&mut batch, BATCH) => if came == 0 { return },
            // From here on none are taken, and those that wait come out.
            _ = stop.wait_for(|stop| *stop), if !lists.is_closed() => {
                lists.close();
                continue;
            }
        }
        let more = async { while batch.len() < BATCH && lists.recv_many(&mut batch, BATCH).await > 0 {} };
        // What came in time is in the batch.
        let _over = timeout(GATHER, more).await;
        append(std::mem::take(&mut batch), &*log).await;
    }
}

async fn append(batch: Vec<Shown>, log: &dyn EventLog) {
    let lists = batch.len();
    // A hundred long ones take milliseconds, for which requests would wait.
    let by_tenant = match spawn_blocking(|| written(batch)).await {
        Ok(by_tenant) => by_tenant,
        Err(error) => {
            metrics::counter!(DROPPED).increment(lists as u64);
            tracing::error!(lists, %error, "exposures could not be written");
            return;
        }
    };
    for (tenant, lists) in by_tenant {
        let count = lists.len();
        if let Err(error) = log.append(&tenant, lists).await {
            metrics::counter!(DROPPED).increment(count as u64);
            tracing::warn!(%tenant, lists = count, %error, "exposures could not be written");
        }
    }
}

/// As they stand in the log.
fn written(batch: Vec<Shown>) -> BTreeMap<Tenant, Vec<NewEvent>> {
    let mut by_tenant: BTreeMap<Tenant, Vec<NewEvent>> = BTreeMap::new();
    for Shown { tenant, subject, exposure } in batch {
        by_tenant.entry(tenant).or_default().push(NewEvent { subject, payload: exposure.to_record().into() });
    }
    by_tenant
}
