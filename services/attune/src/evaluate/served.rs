//! `attune evaluate --served`: a protocol asked of a server, from the import of the events to the lists.
//!
//! A server of this very binary, in a process and a data folder of its own, is given the catalogue and the training events
//! as anybody would give them, its own trainer makes a recommender of them and puts it in service, and every user of the
//! test part asks for a list over REST. Nothing in the server knows of it, and no event of another part leaves this
//! process. What is measured is therefore all that stands between a trained model and what people see: how much is kept
//! of a user, what else proposes items, how that is blended and rearranged.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use attune_api::progress;
use attune_api::rest::operations::Readiness;
use attune_api::rest::recommendation::{RecommendRequest, RecommendResponse};
use attune_batch::history::History;
use attune_ranking::data::Worth;
use attune_ranking::evaluate::{Case, Outcome, Protocol, Rule, Stage, Task, judge};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::client::Rest;
use crate::config::Config;
use crate::import::{events, items};
use crate::own_server::{Home, OwnServer};
use crate::{serve, term};

/// Users who ask at one time.
const IN_FLIGHT: usize = 4;
/// Training takes as long as it takes.
const PATIENCE: Duration = Duration::from_secs(6 * 3_600);
const PAUSE: Duration = Duration::from_millis(250);
/// How fast this machine is, is another question: nothing is left out because it comes late.
const SOURCES_MS_MAX: u64 = 60_000;
/// Never again within a run: everything is learned from in the first turn.
const EVERY_S: u64 = 10 * 366 * 86_400;

/// What servers are asked with, one a split.
pub struct Served<'a> {
    /// As the server would be configured, with what events are worth and which model is trained.
    config: Config,
    protocol: &'static Protocol,
    history: &'a History,
    items: Vec<Value>,
}

impl<'a> Served<'a> {
    /// `model` is what the trainer trains, as configured if absent. `described` says more of items than their ids, by id.
    ///
    /// # Errors
    /// The protocol asks what a server cannot be asked, or the trainer cannot train that.
    pub fn new(
        config: &Config,
        protocol: &'static Protocol,
        (history, worth): (&'a History, Worth),
        model: Option<&str>,
        mut described: BTreeMap<String, Value>,
    ) -> Result<Self> {
        let by_user =
            matches!(protocol.rule, Rule::Stratified { .. } | Rule::Tenth | Rule::TwoTenths { .. } | Rule::CutTenths);
        ensure!(
            by_user,
            "--served asks for users who have a history, for all items: {} does not; use user-90-10",
            protocol.name
        );
        let mut config = Config { worth, log: "warn".into(), ..config.clone() };
        if let Some(model) = model {
            model.clone_into(&mut config.trainer.model);
        }
        config.trainer.check()?;
        ensure!(!config.trainer.model.is_empty(), "trainer.model is empty: say what is trained with --model");
        let item = |id: &str| described.remove(id).unwrap_or_else(|| json!({"id": id, "title": id}));
        let items = history.items.iter().map(item).collect();
        Ok(Self { config, protocol, history, items })
    }

    /// What is trained.
    pub fn model(&self) -> &str {
        &self.config.trainer.model
    }

    /// Fills a server with the training part of a split, and asks it for everybody.
    ///
    /// # Errors
    /// The server does not start, refuses something, or has no recommender in the end.
    pub fn outcome(&self, seed: u64) -> Result<Outcome> {
        let task = Task::new(self.protocol, &self.history.log, &self.config.worth, seed, Stage::Test)?;
        let mut home = Home::new(&self.own(task.split.train.len()))?;
        let server = home.start()?;
        serve::runtime()?.block_on(async {
            self.fill(&server, &home, &task).await?;
            let rest = Rest::new(&server.url, &server.key);
            let version = in_service(&rest).await?;
            term::detail(&format!("seed {seed}: {version} is in service"));
            let lists = self.ask(&rest, &task).await?;
            judge(&task, |case| self.rows(&lists[&case.user]))
        })
    }

    /// The configuration of a server that trains once, as soon as it has so many events.
    fn own(&self, events: usize) -> Config {
        let mut config = self.config.clone();
        config.lake.flush_s = 1;
        config.recommendation.sources_ms_max = SOURCES_MS_MAX;
        config.trainer.events_min = events as u64;
        config.trainer.events_new = u64::from(u32::MAX);
        config.trainer.every_s = EVERY_S;
        config
    }

    /// Imports the catalogue and the training events.
    async fn fill(&self, server: &OwnServer, home: &Home, task: &Task) -> Result<()> {
        let (catalogue, told) = (home.path("items.jsonl"), home.path("events.jsonl"));
        lines(&catalogue, self.items.iter().cloned())?;
        lines(&told, task.split.train.iter().map(|place| self.event(*place)))?;
        let kept = items::whole(&catalogue, &server.url, &server.key, term::file_bar("items")).await?;
        ensure!(kept as usize == self.items.len(), "{kept} of {} items were kept", self.items.len());
        let kept = events::whole(&told, &server.url, &server.key).await? as usize;
        ensure!(kept == task.split.train.len(), "{kept} of {} events were kept", task.split.train.len());
        Ok(())
    }

    /// An event as a line of a file. Its number is its id: two that say the same are two.
    fn event(&self, place: u32) -> Value {
        let (log, event) = (&self.history.log, self.history.log.event(place));
        let mut line = json!({
            "user_id": self.history.users.name(event.user),
            "item_id": self.history.items.name(event.item),
            "type": log.kinds()[usize::from(event.kind)],
            "timestamp": event.time,
            "event_id": place.to_string(),
        });
        if let Some(value) = event.value {
            line["value"] = json!(value.get());
        }
        line
    }

    /// A list for everybody, by the user's row.
    async fn ask(&self, rest: &Rest, task: &Task) -> Result<HashMap<u32, RecommendResponse>> {
        let cases = || task.groups.iter().flat_map(|group| &group.cases);
        let bar = term::count_bar("lists", cases().count() as u64);
        let one = |case: &Case| {
            let (user, request) = (case.user, self.request(case));
            let bar = &bar;
            async move {
                let list: RecommendResponse = rest.post("/v1/recommend", &request).await?;
                bar.inc(1);
                anyhow::Ok((user, list))
            }
        };
        let asked: Vec<_> = cases().map(one).collect();
        let lists: HashMap<u32, RecommendResponse> =
            stream::iter(asked).buffer_unordered(IN_FLIGHT).try_collect().await?;
        bar.finish_and_clear();
        let degraded = lists.values().filter(|list| list.degraded).count();
        if degraded > 0 {
            term::warn(&format!("{degraded} of {} lists lack something that came too late", lists.len()));
        }
        Ok(lists)
    }

    /// What the protocol masks and the server has not been told of is excluded by name.
    fn request(&self, case: &Case) -> RecommendRequest {
        let told = case.history().items;
        let name = |item: &u32| self.history.items.name(*item).to_owned();
        let unknown: Vec<String> = case.masked.iter().filter(|item| !told.contains(item)).map(name).collect();
        RecommendRequest {
            user_id: Some(self.history.users.name(case.user).to_owned()),
            k: Some(self.protocol.k),
            exclude_ids: (!unknown.is_empty()).then_some(unknown),
            ..RecommendRequest::default()
        }
    }

    fn rows(&self, list: &RecommendResponse) -> Result<Vec<u32>> {
        let row =
            |id: &str| self.history.items.row(id).with_context(|| format!("the server lists {id:?}, which is none"));
        list.items.iter().map(|item| row(&item.item_id)).collect()
    }
}

/// Waits until lists are made with a trained recommender; its version.
async fn in_service(rest: &Rest) -> Result<String> {
    let (start, bar) = (Instant::now(), term::count_bar("training", 1));
    loop {
        let ready: Readiness = rest.get("/readyz").await?;
        let note =
            ready.background.iter().find(|line| line.name == progress::TRAINER).and_then(|line| line.note.clone());
        match note.as_deref() {
            Some(note) if note.contains("promoted") => break,
            Some(note) if note.contains("failed") => bail!("the server cannot train: {note}"),
            _ => ensure!(start.elapsed() < PATIENCE, "there is no recommender in service yet: {note:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    loop {
        let ask = RecommendRequest { k: Some(1), ..RecommendRequest::default() };
        let list: RecommendResponse = rest.post("/v1/recommend", &ask).await?;
        if list.model_version.contains('/') {
            bar.finish_and_clear();
            return Ok(list.model_version);
        }
        ensure!(start.elapsed() < PATIENCE, "lists are not made with the recommender that is in service");
        tokio::time::sleep(PAUSE).await;
    }
}

fn lines(path: &Path, rows: impl Iterator<Item = Value>) -> Result<()> {
    let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
    for row in rows {
        serde_json::to_writer(&mut file, &row)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
