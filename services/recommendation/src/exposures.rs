//! What was shown, into the log: one record a list, in the background. A crash may lose the last second of them; nobody
//! was promised one.

use std::sync::Arc;
use std::time::Duration;

use attune_api::log::Exposure;
use attune_store::Tenant;
use attune_store::events::{EventLog, NewEvent};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// Lists that wait to be written; one more is dropped and counted.
const WAITING_MAX: usize = 8_192;
/// Lists that are written at once.
const BATCH: usize = 256;
/// How long a list waits for others to be written with.
const GATHER: Duration = Duration::from_millis(200);

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
            metrics::counter!("attune_exposures_dropped_total").increment(1);
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

async fn append(mut batch: Vec<Shown>, log: &dyn EventLog) {
    batch.sort_by(|left, right| left.tenant.cmp(&right.tenant));
    let by_tenant = batch.chunk_by(|left, right| left.tenant == right.tenant);
    for lists in by_tenant {
        let event = |shown: &Shown| {
            let payload = shown.exposure.to_record().into();
            NewEvent { subject: shown.subject.clone(), payload }
        };
        if let Err(error) = log.append(&lists[0].tenant, lists.iter().map(event).collect()).await {
            metrics::counter!("attune_exposures_dropped_total").increment(lists.len() as u64);
            tracing::warn!(tenant = %lists[0].tenant, lists = lists.len(), %error, "exposures could not be written");
        }
    }
}
