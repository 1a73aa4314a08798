//! Power cuts before every step of a log's life, and of the start after it.

use attune_store::events::*;
use attune_store::{StoreError, Tenant};

use super::embedded::{all, on, try_on};
use super::{numbered, payloads, take};
use crate::disk::{ALL_UNSYNCED, SimDisk};

/// What a process was told before its power ended.
#[derive(Clone, Default)]
struct Acknowledged {
    events: Vec<String>,
    /// The group has seen as many events as this.
    committed: usize,
    letters: Vec<String>,
}

/// A process: opens, writes, commits, buries, over several segments, until the power ends.
async fn live(disk: &SimDisk, tenant: &Tenant, told: &mut Acknowledged) -> Result<(), StoreError> {
    let log = try_on(disk).await?;
    let mut consumer = log.join(tenant, "g").await?;
    for round in 0..3 {
        for _ in 0..6 {
            let first = told.events.len();
            log.append(tenant, numbered(first, 4)).await?;
            told.events.extend((first..first + 4).map(|number| format!("event {number}")));
        }
        consumer.poll(1_000, std::time::Duration::ZERO).await?;
        consumer.commit().await?;
        told.committed = told.events.len();
        let letter =
            NewDeadLetter { subject: "s".into(), payload: "?".into(), reason: format!("round {round}"), origin: None };
        told.letters.extend(log.bury(tenant, vec![letter]).await?);
    }
    Ok(())
}

/// All that was acknowledged is there, in order; what was not may be.
async fn check(disk: &SimDisk, tenant: &Tenant, told: &Acknowledged, when: &str) {
    let log = on(disk).await;
    let events = all(&log, tenant).await;
    assert!(events.windows(2).all(|pair| pair[0].position.offset < pair[1].position.offset), "{when}");
    let found = payloads(&events);
    assert_eq!(found.get(..told.events.len()), Some(&told.events[..]), "{when}");
    assert!(found.len() <= told.events.len() + 4, "{when}: {} events", found.len());
    let letters = log.dead_letters(tenant, 0, 100).await.unwrap().letters;
    let letters: Vec<_> = letters.into_iter().map(|one| one.id).collect();
    assert_eq!(letters.get(..told.letters.len()), Some(&told.letters[..]), "{when}");
    // The group goes on behind what it committed, and passes over nothing that it cannot have seen.
    let mut consumer = log.join(tenant, "g").await.unwrap();
    log.append(tenant, numbered(1_000, 1)).await.unwrap();
    let first = take(&mut *consumer, 1).await[0].position.offset;
    let unseen = all(&log, tenant).await[told.events.len()].position.offset;
    assert!(first >= told.committed as u64, "{when}: {first} comes again, {} were committed", told.committed);
    assert!(first <= unseen, "{when}: {unseen} is passed over, {first} is next");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_step_loses_nothing_acknowledged() {
    let tenant = crate::servers::tenant();
    let whole = SimDisk::default();
    live(&whole, &tenant, &mut Acknowledged::default()).await.unwrap();
    let steps = whole.steps();
    assert!(steps > 60, "{steps} steps are too few to be a life");
    for step in 0..steps {
        let disk = SimDisk::default();
        disk.start(Some(step));
        let mut told = Acknowledged::default();
        assert!(live(&disk, &tenant, &mut told).await.is_err(), "step {step}");
        for unsynced in ALL_UNSYNCED {
            let disk = disk.fork();
            disk.crash(unsynced);
            check(&disk.fork(), &tenant, &told, &format!("cut before step {step}, unsynced bytes {unsynced:?}")).await;
            // The power ends again while the log starts.
            let again = step * 7 % 23;
            disk.start(Some(again));
            let _ = try_on(&disk).await;
            for second in ALL_UNSYNCED {
                let disk = disk.fork();
                disk.crash(second);
                let when =
                    format!("cut before step {step} ({unsynced:?}), and before {again} of the start ({second:?})");
                check(&disk, &tenant, &told, &when).await;
            }
        }
    }
}
