//! The lake over an embedded log and a folder, with writers that end at any moment and objects that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayAccessor, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{Float32Type, Int32Type};
use attune_api::log::{Event, Exposure, Record, Shown};
use attune_lake::{
    Dataset, LakeSettings, LakeWriter, Manifest, Snapshot, load_file, load_manifest, read, rebuild, without,
};
use attune_store::events::{EventLog, NewEvent};
use attune_store::guard::{Fault, Faults};
use attune_store::objects::{Condition, Objects, PAGE_MAX};
use attune_store::relational::Relational;
use attune_store::resolve::Stores;
use attune_store::{ErrorKind, StoreKind, Tenant, testing};
use tempfile::TempDir;

const AT_ONCE: LakeSettings = LakeSettings {
    flush_every: Duration::from_millis(20),
    flush_rows: 500,
    compact_files: 1_000,
    compact_rows: 1_000_000,
};

struct World {
    relational: Arc<dyn Relational>,
    events: Arc<dyn EventLog>,
    objects: Arc<dyn Objects>,
    /// What goes wrong with the objects.
    faults: Arc<Faults>,
    folder: TempDir,
}

fn tenant() -> Tenant {
    "acme".parse().unwrap()
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::default();
        let stores = testing::open_with(folder.path(), StoreKind::Objects, &faults).await.unwrap();
        let Stores { relational, events, objects, .. } = stores;
        Self { relational, events, objects, faults, folder }
    }

    fn writer(&self, settings: LakeSettings) -> LakeWriter {
        let (relational, events) = (Arc::clone(&self.relational), Arc::clone(&self.events));
        LakeWriter::start(relational, events, Arc::clone(&self.objects), Some(tenant()), settings)
    }

    async fn append(&self, records: Vec<(String, Record)>) {
        let event = |(subject, record): (String, Record)| NewEvent {
            subject,
            payload: serde_json::to_vec(&record).unwrap().into(),
        };
        self.events.append(&tenant(), records.into_iter().map(event).collect()).await.unwrap();
    }

    async fn manifest(&self) -> Manifest {
        load_manifest(&*self.objects, &tenant()).await.unwrap()
    }

    /// Rows by subject and id; how often each is there.
    async fn rows(&self, dataset: Dataset) -> BTreeMap<(String, String), usize> {
        let mut rows = BTreeMap::new();
        for file in self.manifest().await.files.iter().filter(|file| file.dataset == dataset) {
            let batch = read(load_file(&*self.objects, &tenant(), file).await.unwrap()).unwrap();
            assert_eq!(batch.num_rows() as u64, file.rows);
            let texts = |name: &str| {
                batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone()
            };
            let ids = match dataset {
                Dataset::Events => texts("event_id"),
                Dataset::Exposures => texts("item_id"),
            };
            let subjects = texts("subject");
            for row in 0..batch.num_rows() {
                let key = (subjects.value(row).to_owned(), ids.value(row).to_owned());
                *rows.entry(key).or_default() += 1;
            }
        }
        rows
    }

    /// Waits until all of the log is in the lake.
    async fn caught_up(&self, records: u64) {
        for _ in 0..1_200 {
            // A partition's offsets have gaps: the last record of all is in one of them.
            if self.manifest().await.next.values().max() == Some(&records) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the lake is not caught up: {:?}", self.manifest().await.next);
    }
}

fn click(subject: usize, id: usize) -> (String, Record) {
    let event = Event { event_id: format!("e-{id}"), r#type: "click".into(), time_ms: id as i64, ..Event::default() };
    (format!("s-{subject}"), Record::Event(event))
}

fn list(subject: usize, id: usize, items: usize) -> (String, Record) {
    let items =
        (0..items).map(|n| Shown { item_id: format!("{id}/{n}"), features: vec![Some(0.5), None], ..Shown::default() });
    let feature_names = vec!["a".to_owned(), "b".to_owned()];
    let items = items.collect();
    (
        format!("s-{subject}"),
        Record::Exposure(Exposure { request_id: id.to_string(), items, feature_names, ..Exposure::default() }),
    )
}

#[tokio::test]
async fn exactly_the_events_of_the_log_are_there_whatever_is_killed_and_fails() {
    let world = World::new().await;
    let mut expected = BTreeSet::new();
    let mut appended = 0;
    for round in 0..20 {
        // A writer that ends like a crash, at another moment each round, and objects that fail or lose an answer.
        let writer = world.writer(AT_ONCE);
        let records: Vec<_> = (0..150)
            .map(|n| match n % 3 {
                // Every third one is there already, if there was one before.
                0 => click(round.max(1) - 1, n),
                _ => click(round, n),
            })
            .collect();
        expected.extend(records.iter().map(|(subject, record)| match record {
            Record::Event(event) => (subject.clone(), event.event_id.clone()),
            _ => unreachable!(),
        }));
        appended += records.len() as u64;
        world.append(records).await;
        match round % 4 {
            0 => world.faults.plan(Some("put"), Fault::Fail(ErrorKind::Unavailable), 1),
            1 => world.faults.plan(Some("put"), Fault::AnswerLost, 1),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(13 * (round as u64 % 7))).await;
        drop(writer);
    }
    world.faults.clear();
    let writer = world.writer(AT_ONCE);
    world.caught_up(appended).await;
    writer.stop().await;
    let rows = world.rows(Dataset::Events).await;
    assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), expected);
    assert!(rows.values().all(|times| *times == 1), "no event has two rows");
}

#[tokio::test]
async fn what_comes_after_a_log_lost_its_end_comes_into_the_lake() {
    let mut world = World::new().await;
    world.append((0..200).map(|id| click(id % 7, id)).collect()).await;
    let writer = world.writer(AT_ONCE);
    world.caught_up(200).await;
    writer.stop().await;

    // As from a backup that was made before.
    let restored = World::new().await;
    world.events = Arc::clone(&restored.events);
    world.append((0..50).map(|id| click(id % 7, id)).collect()).await;
    let writer = world.writer(AT_ONCE);
    while world.events.bounds(&tenant()).await.unwrap().iter().any(|bound| bound.next < 200) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.append((200..230).map(|id| click(id % 7, id)).collect()).await;
    world.caught_up(230).await;
    writer.stop().await;
    assert_eq!(world.rows(Dataset::Events).await.len(), 230, "what only the lake has stays, and the new is there");
}

#[tokio::test]
async fn two_writers_at_once_write_one_lake() {
    let world = World::new().await;
    let writers = [world.writer(AT_ONCE), world.writer(AT_ONCE)];
    for round in 0..10 {
        world.append((0..100).map(|n| click(n, round)).collect()).await;
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    world.caught_up(1_000).await;
    for writer in writers {
        writer.stop().await;
    }
    let rows = world.rows(Dataset::Events).await;
    assert!(rows.len() == 1_000 && rows.values().all(|times| *times == 1), "{}", rows.len());
}

#[tokio::test]
async fn lists_are_there_a_row_a_position() {
    let world = World::new().await;
    world.append(vec![list(1, 7, 3), list(1, 7, 3), list(2, 8, 2), list(3, 9, 0)]).await;
    let writer = world.writer(AT_ONCE);
    world.caught_up(4).await;
    writer.stop().await;
    assert_eq!(world.rows(Dataset::Exposures).await.len(), 5);
    let manifest = world.manifest().await;
    assert_eq!(manifest.duplicates, 1);
    let file = manifest.files.iter().find(|file| file.rows >= 3).unwrap();
    let batch = read(load_file(&*world.objects, &tenant(), file).await.unwrap()).unwrap();
    let ranks = batch.column_by_name("rank").unwrap().as_any().downcast_ref::<UInt32Array>().unwrap().clone();
    assert_eq!(&ranks.values()[..3], [0, 1, 2]);
    let names = batch.column_by_name("feature_names").unwrap().as_dictionary::<Int32Type>();
    assert_eq!(names.downcast_dict::<StringArray>().unwrap().value(0), r#"["a","b"]"#);
    let features = batch.column_by_name("feature_values").unwrap().as_list::<i32>().value(0);
    assert_eq!(features.as_primitive::<Float32Type>().iter().collect::<Vec<_>>(), [Some(0.5), None]);
}

#[tokio::test]
async fn who_is_forgotten_is_taken_out_and_stays_out() {
    let world = World::new().await;
    world.append((0..40).map(|n| click(n % 4, n)).collect()).await;
    world.append(vec![list(1, 7, 3)]).await;
    let writer = world.writer(AT_ONCE);
    world.caught_up(41).await;
    let before = world.manifest().await.files;
    world.append(vec![("s-1".to_owned(), Record::Tombstone), click(1, 100), click(2, 100)]).await;
    world.caught_up(44).await;
    writer.stop().await;
    let rows = world.rows(Dataset::Events).await;
    assert!(rows.keys().all(|(subject, _)| subject != "s-1"));
    assert_eq!(rows.len(), 31);
    assert!(world.rows(Dataset::Exposures).await.is_empty());
    // Neither a file nor what a start reads again brings the person back.
    let page = world.objects.list(&tenant(), "lake/", None, PAGE_MAX).await.unwrap();
    let files = world.manifest().await.files;
    assert_eq!(page.objects.len(), files.len() + 1, "files that were replaced are gone");
    assert!(before.iter().any(|file| !files.contains(file)));
    let writer = world.writer(AT_ONCE);
    world.append(vec![click(1, 101), click(3, 101)]).await;
    world.caught_up(46).await;
    writer.stop().await;
    assert_eq!(world.rows(Dataset::Events).await.len(), 32);
}

#[tokio::test]
async fn small_files_become_one() {
    let world = World::new().await;
    let settings = LakeSettings { compact_files: 4, flush_rows: 1, ..AT_ONCE };
    let writer = world.writer(settings);
    for n in 0..12 {
        world.append(vec![click(1, n)]).await;
        world.caught_up(n as u64 + 1).await;
    }
    writer.stop().await;
    let files = world.manifest().await.files;
    assert!(files.len() <= 4, "{} files", files.len());
    assert_eq!(world.rows(Dataset::Events).await.len(), 12);
    let within = |from, to| world_files(&files, from, to);
    assert_eq!(within(100, 200), 0);
    let page = world.objects.list(&tenant(), "lake/", None, PAGE_MAX).await.unwrap();
    assert_eq!(page.objects.len(), files.len() + 1);
}

fn world_files(files: &[attune_lake::DataFile], from_ms: i64, to_ms: i64) -> usize {
    let manifest = Manifest { files: files.to_vec(), ..Manifest::default() };
    manifest.files_within(Dataset::Events, from_ms, to_ms).count()
}

#[tokio::test]
async fn a_rebuild_makes_the_same_lake_and_brings_nobody_back() {
    let world = World::new().await;
    world.append((0..120).map(|n| click(n % 6, n % 100)).collect()).await;
    world.append((0..10).map(|n| list(n, n, 2)).collect()).await;
    world.append(vec![("s-1".to_owned(), Record::Tombstone), click(1, 500), click(2, 500)]).await;
    let writer = world.writer(AT_ONCE);
    world.caught_up(133).await;
    writer.stop().await;
    let (events, shown) = (world.rows(Dataset::Events).await, world.rows(Dataset::Exposures).await);
    let before = world.manifest().await;
    let rebuilt = rebuild(&*world.events, &world.objects, &tenant()).await.unwrap();
    assert_eq!(rebuilt.before, Ok(rebuilt.after));
    assert_eq!((rebuilt.after.events as usize, rebuilt.after.exposures as usize), (events.len(), shown.len()));
    assert_eq!((world.rows(Dataset::Events).await, world.rows(Dataset::Exposures).await), (events, shown));
    let after = world.manifest().await;
    assert_eq!((&after.next, &after.forgotten, after.duplicates), (&before.next, &before.forgotten, before.duplicates));
    let page = world.objects.list(&tenant(), "lake/", None, PAGE_MAX).await.unwrap();
    assert_eq!(page.objects.len(), after.files.len() + 1, "the old files are gone");
    assert!(world.rows(Dataset::Events).await.keys().all(|(subject, _)| subject != "s-1"));

    // Whatever is damaged or lost in the lake comes back from the log.
    world.objects.delete(&tenant(), attune_lake::MANIFEST_KEY).await.unwrap();
    let rebuilt_again = rebuild(&*world.events, &world.objects, &tenant()).await.unwrap();
    assert_eq!(rebuilt_again, rebuilt, "an absent lake is one that the log is ahead of");
    let file = world.manifest().await.files.remove(0);
    world.objects.delete(&tenant(), &file.key).await.unwrap();
    let mended = rebuild(&*world.events, &world.objects, &tenant()).await.unwrap();
    assert!(mended.before.is_err() && mended.after == rebuilt.after, "{mended:?}");
    let manifest = world.folder.path().join("objects/acme/data/+lake/=manifest.json");
    let bytes = std::fs::read(&manifest).unwrap();
    std::fs::write(&manifest, &bytes[..bytes.len() / 2]).unwrap();
    let mended = rebuild(&*world.events, &world.objects, &tenant()).await.unwrap();
    assert!(mended.before.is_err() && mended.after == rebuilt.after, "{mended:?}");
    let text = bytes::Bytes::from_static(b"{\"format\": 1");
    world.objects.put(&tenant(), attune_lake::MANIFEST_KEY, text, Condition::None).await.unwrap();
    let mended = rebuild(&*world.events, &world.objects, &tenant()).await.unwrap();
    assert!(mended.before.is_err() && mended.after == rebuilt.after, "{mended:?}");
    // Its writer goes on behind it.
    let writer = world.writer(AT_ONCE);
    world.append(vec![click(3, 900), click(3, 900)]).await;
    world.caught_up(135).await;
    writer.stop().await;
    assert_eq!(world.rows(Dataset::Events).await.len(), rebuilt.after.events as usize + 1);
}

fn ids(batch: &RecordBatch, id: &str) -> Vec<(String, String)> {
    let texts =
        |name: &str| batch.column_by_name(name).unwrap().as_any().downcast_ref::<StringArray>().unwrap().clone();
    let (subjects, ids) = (texts("subject"), texts(id));
    (0..batch.num_rows()).map(|row| (subjects.value(row).to_owned(), ids.value(row).to_owned())).collect()
}

#[tokio::test]
async fn a_snapshot_has_at_any_moment_what_the_lake_will_have() {
    let world = World::new().await;
    let acts: Vec<(String, Record)> = (0..200)
        .flat_map(|n| match n % 10 {
            3 => vec![list(n % 5, n, 2), list(n % 5, n, 2)],
            // What was appended long before, or just now, once more.
            5 | 7 => vec![click(n / 3 % 5, n / 3), click(n % 5, n)],
            8 if n % 40 == 38 => vec![(format!("s-{}", n % 5), Record::Tombstone)],
            _ => vec![click(n % 5, n)],
        })
        .collect();
    let mut seen = Vec::new();
    for some in acts.chunks(60) {
        world.append(some.to_vec()).await;
        let snapshot = Snapshot::take(&*world.events, &*world.objects, &tenant()).await.unwrap();
        assert!(snapshot.tail(Dataset::Events).num_rows() > 0, "it sees what no writer has written");
        let mut events = ids(snapshot.tail(Dataset::Events), "event_id");
        let mut lists = ids(snapshot.tail(Dataset::Exposures), "item_id");
        for file in &snapshot.manifest.files {
            let batch = read(load_file(&*world.objects, &tenant(), file).await.unwrap()).unwrap();
            let batch = without(&batch, |subject| snapshot.forgotten.contains(subject)).unwrap().unwrap_or(batch);
            match file.dataset {
                Dataset::Events => events.extend(ids(&batch, "event_id")),
                Dataset::Exposures => lists.extend(ids(&batch, "item_id")),
            }
        }
        let writer = world.writer(AT_ONCE);
        seen.extend(some);
        world.caught_up(seen.len() as u64).await;
        writer.stop().await;
        let once = |rows: BTreeMap<(String, String), usize>| rows.into_keys().collect::<Vec<_>>();
        events.sort();
        lists.sort();
        assert_eq!(events, once(world.rows(Dataset::Events).await));
        assert_eq!(lists, once(world.rows(Dataset::Exposures).await));
        let snapshot = Snapshot::take(&*world.events, &*world.objects, &tenant()).await.unwrap();
        assert_eq!(snapshot.tail(Dataset::Events).num_rows() + snapshot.forgotten.len(), 0);
    }
}
