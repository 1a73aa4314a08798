//! The trainer over stores in a folder of its own: trained, refused, taken over, cut off, fetched by another machine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::log::{Event, Record};
use attune_batch::recommender::{Recommender, resolve};
use attune_lake::{Dataset, LakeSettings, LakeWriter, load_manifest};
use attune_ranking::data::Worth;
use attune_store::events::{EventLog, NewEvent};
use attune_store::guard::{Fault, Faults};
use attune_store::objects::Objects;
use attune_store::relational::{Job, JobState, ModelVersion, Relational, Write};
use attune_store::resolve::Stores;
use attune_store::{Expect, PAGE_ROWS_MAX, PageRequest, StoreKind, Tenant, testing};
use attune_trainer::{MODEL, Seams, TAKEN_BACK, Timing, Trainer, TrainerConfig, fetch, read_lake};
use tempfile::TempDir;

/// Far more than anything here takes: a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const USERS: usize = 40;
const ITEMS: usize = 22;

fn tenant() -> Tenant {
    "shop".parse().unwrap()
}

fn subject(user: usize) -> String {
    format!("{user:032x}")
}

struct World {
    relational: Arc<dyn Relational>,
    log: Arc<dyn EventLog>,
    objects: Arc<dyn Objects>,
    /// What goes wrong with the objects.
    faults: Arc<Faults>,
    folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::default();
        let stores = testing::open_with(folder.path(), StoreKind::Objects, &faults).await.unwrap();
        let Stores { relational, events: log, objects, .. } = stores;
        Self { relational, log, objects, faults, folder }
    }

    fn trainer(&self, config: TrainerConfig, data: &str) -> Trainer {
        let seams = Seams {
            relational: Arc::clone(&self.relational),
            objects: Arc::clone(&self.objects),
            data: self.folder.path().join(data),
            worth: Worth::default(),
            first: Some(tenant()),
            lists: None,
        };
        let timing = Timing { look_every: Duration::from_millis(20), lease: Duration::from_millis(600) };
        Trainer::start(config, seams, timing)
    }

    /// Two groups of people with a taste each do so many rounds of clicks, which come into the lake.
    async fn act(&self, rounds: std::ops::Range<usize>) {
        let mut events = Vec::new();
        for (user, step) in (0..USERS).flat_map(|user| rounds.clone().map(move |step| (user, step))) {
            let item = 2 * ((user * 5 + step * 7) % (ITEMS / 2)) + user % 2;
            let time_ms = 1_000 * (1_000 + 10 * user as i64 + step as i64);
            let event = Event {
                event_id: format!("{user}-{step}"),
                r#type: "click".into(),
                item_id: Some(format!("i{item}")),
                time_ms,
                received_ms: time_ms,
                ..Event::default()
            };
            let payload = serde_json::to_vec(&Record::Event(event)).unwrap().into();
            events.push(NewEvent { subject: subject(user), payload });
        }
        self.log.append(&tenant(), events).await.unwrap();
        let writer = self.writer();
        self.until("the events are in the lake", async || self.in_the_lake().await as usize == USERS * rounds.end)
            .await;
        writer.stop().await;
    }

    fn writer(&self) -> LakeWriter {
        let settings = LakeSettings { flush_every: Duration::from_millis(10), ..LakeSettings::default() };
        let (relational, log, objects) =
            (Arc::clone(&self.relational), Arc::clone(&self.log), Arc::clone(&self.objects));
        LakeWriter::start(relational, log, objects, Some(tenant()), settings)
    }

    async fn in_the_lake(&self) -> u64 {
        let files = load_manifest(&*self.objects, &tenant()).await.unwrap().files;
        files.iter().filter(|file| file.dataset == Dataset::Events).map(|file| file.rows).sum()
    }

    async fn until(&self, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
        let start = Instant::now();
        while !is_so().await {
            assert!(start.elapsed() < PATIENCE, "{what}; jobs: {:?}", self.jobs().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn jobs(&self) -> Vec<Job> {
        self.relational.jobs(&tenant(), PageRequest::first(PAGE_ROWS_MAX)).await.unwrap().rows
    }

    async fn ended(&self) -> Vec<Job> {
        self.jobs().await.into_iter().filter(|job| job.ended_ms.is_some()).collect()
    }

    async fn live(&self) -> Option<ModelVersion> {
        self.relational.live_model(&tenant(), MODEL).await.unwrap()
    }

    async fn versions(&self) -> Vec<ModelVersion> {
        self.relational.model_versions(&tenant(), MODEL, PageRequest::first(PAGE_ROWS_MAX)).await.unwrap().rows
    }

    /// Runs a trainer until so many jobs have ended.
    async fn train(&self, config: TrainerConfig, jobs: usize) {
        let trainer = self.trainer(config, "data");
        self.until("the run ends", async || self.ended().await.len() >= jobs).await;
        trainer.stop().await;
    }
}

/// One turn for ever, and another with every so many events.
fn config(model: &str, events_new: u64) -> TrainerConfig {
    let every_s = 10 * 366 * 86_400;
    let options = if model == "als" { vec!["factors=4".to_owned(), "epochs=2".to_owned()] } else { Vec::new() };
    TrainerConfig { model: model.into(), options, every_s, events_new, events_min: 100, ..TrainerConfig::default() }
}

fn outcome(job: &Job) -> &str {
    job.report["outcome"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_become_a_version_in_service_that_holds_nobody_and_another_machine_fetches_it() {
    let world = World::new().await;
    world.act(0..3).await;
    let trainer = world.trainer(config("ease", 100), "data");
    world.until("there is a version", async || world.live().await.is_some()).await;
    trainer.stop().await;
    let live = world.live().await.unwrap();
    assert!(live.label.starts_with("trained-shop/"), "{}", live.label);
    let elsewhere = world.folder.path().join("elsewhere");
    let folder = fetch(&*world.objects, &tenant(), &elsewhere, &live.uri).await.unwrap();
    let fetched = Recommender::load(&folder).unwrap();
    assert_eq!((fetched.items.len(), fetched.users.len(), fetched.histories.users()), (ITEMS, 0, 0));
    for entry in std::fs::read_dir(&folder).unwrap() {
        let text = String::from_utf8_lossy(&std::fs::read(entry.unwrap().path()).unwrap()).into_owned();
        assert!(!text.contains(&subject(3)), "a version names a subject");
    }
    // The same turn is not had again, by no trainer and after no start.
    world.train(config("ease", 100), 1).await;
    let jobs = world.jobs().await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    let missing = fetch(&*world.objects, &tenant(), &elsewhere, "trained-shop/000000000000").await.unwrap_err();
    assert!(missing.to_string().contains("promote"), "{missing}");
    let outside = fetch(&*world.objects, &tenant(), &elsewhere, "../up/000000000000").await.unwrap_err();
    assert!(outside.to_string().contains("not among the objects"), "{outside}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worse_version_is_refused_with_both_figures_and_a_better_one_takes_over() {
    let world = World::new().await;
    world.act(0..4).await;
    world.train(config("ease", 160), 1).await;
    let first = world.live().await.unwrap();
    world.act(4..8).await;
    world.train(config("popular", 160), 2).await;
    assert_eq!(world.live().await.unwrap().label, first.label, "it stays in service");
    let jobs = world.ended().await;
    let refused = jobs.iter().find(|job| outcome(job) == "refused").unwrap_or_else(|| panic!("{jobs:?}"));
    let detail = refused.report["detail"].as_str().unwrap();
    let figures: Vec<f64> = detail.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    assert!(detail.contains("ndcg@10") && figures.len() == 2 && figures[0] < figures[1], "{detail}");
    assert!(world.versions().await.iter().any(|version| !version.is_live && version.promoted_ms.is_none()));

    world.act(8..12).await;
    world.train(config("ease", 160), 3).await;
    let second = world.live().await.unwrap();
    assert_ne!(second.label, first.label);
    // What somebody took back does not come again by itself, though there is a turn.
    let back = Write::Promote { model: MODEL.into(), label: first.label.clone() };
    let ModelVersion { model, label, uri, mut metrics, .. } = second.clone();
    metrics[TAKEN_BACK] = true.into();
    let mark = Write::PutModelVersion { model, label, uri, metrics, expect: Expect::Any };
    world.relational.commit(&tenant(), vec![mark, back]).await.unwrap();
    world.train(config("ease", 97), 4).await;
    assert_eq!(world.live().await.unwrap().label, first.label);
    let outcomes: Vec<String> = world.ended().await.iter().map(|job| outcome(job).to_owned()).collect();
    assert_eq!(outcomes.iter().filter(|outcome| *outcome == "unchanged").count(), 1, "{outcomes:?}");
    let taken_back = world.relational.model_version(&tenant(), MODEL, &second.label).await.unwrap().unwrap();
    assert_eq!(taken_back.metrics[TAKEN_BACK], true, "entered anew, it is marked still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_that_ends_in_mid_run_leaves_the_old_version_and_the_next_goes_on() {
    let world = World::new().await;
    world.act(0..4).await;
    // What is at stake here is the end of a process, not figures.
    let config = || TrainerConfig { worse_max: 0.9, ..config("als", 160) };
    world.train(config(), 1).await;
    let old = world.live().await.unwrap();
    world.act(4..8).await;
    // It is trained and judged, and the trainer ends while it is published.
    world.faults.plan(Some("upload"), Fault::Silent, 1);
    let trainer = world.trainer(config(), "data");
    let is_running = |job: &Job| job.state == JobState::Running;
    world.until("the second run is on", async || world.jobs().await.iter().any(is_running)).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(trainer);
    assert_eq!(world.live().await.unwrap().label, old.label);
    resolve(&world.folder.path().join("data"), &old.uri).unwrap();
    world.faults.clear();
    world.train(config(), 2).await;
    let jobs = world.ended().await;
    let second = jobs.iter().find(|job| job.fence > 1).unwrap_or_else(|| panic!("nobody took it over: {jobs:?}"));
    assert_eq!((outcome(second), second.state), ("promoted", JobState::Done));
    assert_ne!(world.live().await.unwrap().label, old.label);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_trainers_one_has_each_turn() {
    let world = World::new().await;
    world.act(0..3).await;
    let trainers = ["one", "two", "three"].map(|data| world.trainer(config("item-knn", 120), data));
    world.until("the run ends", async || !world.ended().await.is_empty()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    for trainer in trainers {
        trainer.stop().await;
    }
    let jobs = world.jobs().await;
    assert!(jobs.len() == 1 && jobs[0].fence == 1 && outcome(&jobs[0]) == "promoted", "{jobs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_to_learn_from_fails_once_and_says_why() {
    let world = World::new().await;
    let event = |n: usize| {
        let event = Event { event_id: n.to_string(), r#type: "impression".into(), ..Event::default() };
        NewEvent { subject: subject(1), payload: serde_json::to_vec(&Record::Event(event)).unwrap().into() }
    };
    world.log.append(&tenant(), (0..150).map(event).collect()).await.unwrap();
    let writer = world.writer();
    world.until("they are in the lake", async || world.in_the_lake().await == 150).await;
    writer.stop().await;
    world.train(config("als", 1_000), 1).await;
    let jobs = world.jobs().await;
    assert_eq!((jobs.len(), jobs[0].state), (1, JobState::Failed));
    assert!(jobs[0].report["detail"].as_str().unwrap().contains("no event"), "{:?}", jobs[0].report);
    assert!(world.live().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_events_are_learned_from_whatever_the_files_are() {
    let world = World::new().await;
    world.act(0..3).await;
    world.act(3..6).await;
    let read = |max| read_lake_events(&world, max);
    let all = read(10_000).await;
    assert_eq!(all.len(), 6 * USERS);
    let some = read(70).await;
    assert!(some.len() == 70 && some.iter().all(|event| all.contains(event)));
    let again = read_lake(&*world.objects, &tenant(), &Worth::default(), 10_000).await.unwrap();
    let same = read_lake(&*world.objects, &tenant(), &Worth::default(), 10_000).await.unwrap();
    assert_eq!((again.input.sha256.len(), &again.input), (64, &same.input));
    assert!(Path::new(&again.input.file).file_name().is_some());
}

async fn read_lake_events(world: &World, max: usize) -> Vec<(String, String, i64)> {
    let history = read_lake(&*world.objects, &tenant(), &Worth::default(), max).await.unwrap().history;
    let event = |event: &attune_ranking::data::Event| {
        (history.users.name(event.user).to_owned(), history.items.name(event.item).to_owned(), event.time)
    };
    history.log.events().iter().map(event).collect()
}
