//! `attune evaluate --protocol sentiment-signal`: are lists better where the blend knows what reviews say of the items?
//!
//! That needs ratings and reviews of the same items, and no package has real ones. So it is measured on data that is real
//! in its parts and put together here: MovieLens-100K, of which a tenth of the ratings become reviews ([`reviewed`]), with
//! sentences that people have labelled and our own model judges, errors and all. What a rating said, its review says, and
//! nothing else does any more. That is its weakness, too: words follow the stars more faithfully than people write, and
//! nothing is said that the stars did not say. The measurement therefore tells whether the path from a review to a list
//! carries what is in it, and what a tenth of the ratings is worth as reviews; not how much real reviews would add.
//!
//! Lists are those of the default pipeline of a replica, with weights that are learned as the trainer learns them, three
//! times on each split: without the reviews, with them, and with the same reviews whose words are shuffled. The last one
//! tells what reviews say apart from how many there are. Everybody is asked about with all that is known of him, and as if
//! he had just come.

mod reviewed;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, anyhow};
use attune_batch::history::History;
use attune_batch::recommender::{About, Settings, train_model};
use attune_inference::{CallContext, Inference, WorkClass};
use attune_ranking::data::{EventLog, Worth};
use attune_ranking::evaluate::{
    Bootstrap, Difference, GroupOutcome, Interval, Metric, Outcome, Protocol, Rule, Stage, Task,
};
use attune_ranking::score::RankBand;
use attune_recommendation::{Layout, REHEARSED_MAX, Rehearsal, Trained, judge_lists, rehearse};
use attune_sentiment::data::{Corpus, Part};
use attune_sentiment::service::SentimentService;
use serde::Serialize;

use self::reviewed::{Review, Reviewed, Sentence, catalogue, with_beginnings};
use super::recommend::{self, Flags};
use crate::bench::write_json;
use crate::config::Config;
use crate::{compose, serve, term, texts, trained};

/// What it is called on the command line.
pub const PROTOCOL: &str = "sentiment-signal";

/// How ratings are split once some of them have become reviews.
static SPLIT: Protocol = Protocol {
    name: PROTOCOL,
    description: "semi-synthetic: a tenth of the ratings become reviews and are no ratings any more; of the others, random \
                  by user, 9:1, as user-90-10. Relevant are items of 4 or 5 stars",
    k: 10,
    masked: "the user's training items, and what he has reviewed",
    rule: Rule::Tenth,
};
/// The labelled sentences that reviews are made of: about films, and never seen by the model.
const SOURCE: &str = "movieReviewSnippets";
const PART: Part = Part::Test;
/// Beside all that is known of a user, his first so many events.
const BEGINNINGS: [usize; 4] = [0, 1, 3, 10];
/// What a person is shown of all that is measured.
const SHOWN: [Metric; 3] = [Metric::Ndcg, Metric::Recall, Metric::HitRate];
/// The feature that is measured.
const FEATURE: &str = "sentiment";
/// Draws for what is reviewed and for what is shuffled, apart from those of the splits.
const REVIEWS_SEED: u64 = 0x5e41;
const SHUFFLE_SEED: u64 = 0x5f1e;
/// Sentences of one call.
const CALL_SENTENCES: usize = 256;

/// Lists of one split, each kind from the same model.
#[derive(Debug, Serialize)]
struct Measured {
    seed: u64,
    ratings: usize,
    reviews: usize,
    /// Items that have any.
    items_reviewed: usize,
    without: Lists,
    with: Lists,
    /// With the words of the reviews shuffled.
    shuffled: Lists,
}

/// How good lists are, and the weights that made them.
#[derive(Debug, Serialize)]
struct Lists {
    blend: Vec<RankBand>,
    outcome: Outcome,
}

/// All splits, and what they say together.
#[derive(Debug, Serialize)]
struct Evaluation {
    protocol: &'static str,
    description: &'static str,
    /// What is trained on the ratings.
    model: String,
    /// Who judged the sentences.
    classifier: String,
    sentences: usize,
    bootstrap: Bootstrap,
    groups: Vec<Group>,
    splits: Vec<Measured>,
}

/// What is known of the users, and how good their lists are.
#[derive(Debug, Serialize)]
struct Group {
    name: String,
    users: usize,
    metrics: Vec<Row>,
}

/// A metric over all splits: a user counts once, with his mean.
#[derive(Debug, Serialize)]
struct Row {
    metric: Metric,
    without: Interval,
    with: Interval,
    shuffled: Interval,
    /// With less without.
    gain: Difference,
    /// With less shuffled.
    of_words: Difference,
}

/// Measures, and prints.
///
/// # Errors
/// The data or the model that judges is not there, or something cannot be trained.
pub fn run(config: &Config, model: Option<&str>, flags: &Flags, json: Option<&Path>) -> Result<()> {
    let (history, ..) = recommend::read(config, flags)?;
    let (model, settings) = recommend::settings(config, model.unwrap_or("ease"), &SPLIT)?;
    let worth = flags.worth.or(&Worth::alike(), config)?;
    flags.worth.tell_unknown(&worth, history.log.kinds());
    let (sentences, classifier) = judged(config)?;
    let signal = Signal { config, settings, worth, history: &history, sentences };
    let bar = term::count_bar("splits", flags.seeds());
    let mut splits = Vec::new();
    for seed in 0..flags.seeds() {
        splits.push(signal.split(seed)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let evaluation = Evaluation::new(model, classifier, signal.sentences.len(), splits);
    say!("{evaluation}");
    json.map_or(Ok(()), |path| write_json(&evaluation, path))
}

/// The sentences, judged by the configured classifier, and its name.
fn judged(config: &Config) -> Result<(Vec<Sentence>, String)> {
    let corpus = Corpus::read(&texts::folder(config))?;
    let part: Vec<_> = corpus.part(PART).into_iter().filter(|sentence| sentence.source == SOURCE).collect();
    let model = super::classifier(config, super::SENTIMENT)?;
    let answers = serve::runtime()?.block_on(async {
        let inference = Inference::start(compose::inference(config), vec![compose::spec(config, model)?])?;
        let service = SentimentService::new(inference, &model.name)?;
        let bar = term::count_bar(&model.name, part.len() as u64);
        let mut answers = Vec::with_capacity(part.len());
        for some in part.chunks(CALL_SENTENCES) {
            let call = CallContext { caller: PROTOCOL.into(), class: WorkClass::Bulk, deadline: None };
            answers.extend(service.judge(some.iter().map(|sentence| sentence.text.clone()).collect(), call).await?);
            bar.set_position(answers.len() as u64);
        }
        bar.finish_and_clear();
        anyhow::Ok(answers)
    })?;
    let sentence = |(sentence, answer): (&&attune_sentiment::data::Sentence, &attune_sentiment::service::Sentiment)| {
        let [negative, _, positive] = answer.probabilities.map(f64::from);
        Sentence { class: sentence.class(), polarity: positive - negative }
    };
    Ok((part.iter().zip(&answers).map(sentence).collect(), model.name.clone()))
}

/// What splits are measured with.
struct Signal<'a> {
    config: &'a Config,
    settings: Settings,
    worth: Worth,
    history: &'a History,
    sentences: Vec<Sentence>,
}

/// One split, with the model that lists are judged with, and one that knows less, to learn the weights with.
struct Split {
    seed: u64,
    reviewed: Reviewed,
    task: Task,
    model: Arc<dyn Trained>,
    known: EventLog,
    inner: Task,
    inner_model: Arc<dyn Trained>,
}

impl Signal<'_> {
    fn split(&self, seed: u64) -> Result<Measured> {
        let reviewed = Reviewed::new(&self.history.log, &self.sentences, REVIEWS_SEED ^ seed)?;
        let task = |log: &EventLog| Task::new(&SPLIT, log, &self.worth, seed, Stage::Test);
        let whole = reviewed.about_liked(task(&reviewed.ratings)?);
        let known = reviewed.ratings.subset(&whole.split.train);
        let inner = reviewed.about_liked(task(&known)?);
        let model = self.model(&known, seed)?;
        let inner_model = self.model(&known.subset(&inner.split.train), seed)?;
        let shuffled = reviewed.shuffled(SHUFFLE_SEED ^ seed);
        let (task, inner) = (with_beginnings(whole, &BEGINNINGS), inner.thinned(REHEARSED_MAX));
        let split = Split { seed, reviewed, task, model, known, inner, inner_model };
        let reviews = &split.reviewed.reviews;
        let mut items: Vec<u32> = reviews.iter().map(|review| review.item).collect();
        items.sort_unstable();
        items.dedup();
        Ok(Measured {
            seed,
            ratings: split.reviewed.ratings.events().len(),
            reviews: reviews.len(),
            items_reviewed: items.len(),
            without: self.lists(&split, &[])?,
            with: self.lists(&split, reviews)?,
            shuffled: self.lists(&split, &shuffled)?,
        })
    }

    fn model(&self, log: &EventLog, seed: u64) -> Result<Arc<dyn Trained>> {
        let (worth, _) = self.worth.in_events(log, log.latest().unwrap_or(0))?;
        let settings = self.settings.clone().with_seed(seed);
        let model = train_model(&settings, (log.all(), &About::default()), &worth)?.without_people();
        Ok(trained::tried(model, self.history.items.clone()))
    }

    /// Learns the weights on what is held out of the training part, and judges the lists that they make on the test part.
    fn lists(&self, split: &Split, reviews: &[Review]) -> Result<Lists> {
        let told = |error: String| anyhow!("seed {}: {error}", split.seed);
        let subjects: Vec<String> = (0..split.known.users()).map(|user| format!("{user:032x}")).collect();
        let (kinds, entries) = catalogue(&self.history.items, reviews);
        let rehearsal = Rehearsal {
            config: &self.config.recommendation,
            worth: self.worth.clone(),
            layout: Layout::of(kinds, [Ok(entries)], &self.config.recommendation).map_err(told)?,
            log: &split.known,
            user: &|row| &subjects[row as usize],
            item: &|row| self.history.items.name(row),
            task: &split.inner,
            model: Arc::clone(&split.inner_model),
        };
        let blend = rehearse(&rehearsal, &|| true).map_err(told)?;
        let (log, task, model) = (&split.reviewed.ratings, &split.task, Arc::clone(&split.model));
        let outcome = judge_lists(&Rehearsal { log, task, model, ..rehearsal }, blend.clone()).map_err(told)?;
        Ok(Lists { blend, outcome })
    }
}

impl Evaluation {
    fn new(model: String, classifier: String, sentences: usize, splits: Vec<Measured>) -> Self {
        let bootstrap = Bootstrap::default();
        let groups = splits.first().map_or(0, |measured| measured.with.outcome.groups.len());
        let groups = (0..groups).map(|number| Group::new(number, &splits, bootstrap)).collect();
        let (protocol, description) = (PROTOCOL, SPLIT.description);
        Self { protocol, description, model, classifier, sentences, bootstrap, groups, splits }
    }
}

impl Group {
    fn new(number: usize, splits: &[Measured], bootstrap: Bootstrap) -> Self {
        let of = |lists: fn(&Measured) -> &Lists, metric| {
            by_user(splits.iter().map(|measured| &lists(measured).outcome.groups[number]), metric)
        };
        let row = |metric: &Metric| {
            let without = of(|measured| &measured.without, *metric);
            let (with, shuffled) = (of(|measured| &measured.with, *metric), of(|measured| &measured.shuffled, *metric));
            Row {
                metric: *metric,
                without: bootstrap.interval(&without),
                with: bootstrap.interval(&with),
                shuffled: bootstrap.interval(&shuffled),
                gain: bootstrap.paired(&without, &with),
                of_words: bootstrap.paired(&shuffled, &with),
            }
        };
        let name = splits[0].with.outcome.groups[number].name.clone();
        let users = of(|measured| &measured.with, Metric::Ndcg).len();
        Self { name, users, metrics: Metric::ALL.iter().map(row).collect() }
    }

    fn shown(&self) -> impl Iterator<Item = &Row> {
        self.metrics.iter().filter(|row| SHOWN.contains(&row.metric))
    }
}

/// Each user's mean over the splits in which he was asked about.
fn by_user<'o>(groups: impl Iterator<Item = &'o GroupOutcome>, metric: Metric) -> Vec<f64> {
    let mut sums: BTreeMap<u32, (f64, f64)> = BTreeMap::new();
    for user in groups.flat_map(|group| &group.users) {
        let (sum, count) = sums.entry(user.user).or_default();
        *sum += user.metrics.get(metric);
        *count += 1.0;
    }
    sums.values().map(|(sum, count)| sum / count).collect()
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, description, model, classifier, sentences, bootstrap, groups, splits } = self;
        writeln!(f, "{protocol}: {description}.")?;
        writeln!(
            f,
            "A review is one of {sentences} labelled sentences about films whose label says what the stars said, as \
             {classifier} judges it.\nReal reviews say it less plainly, and say more: this is no measurement of them."
        )?;
        if let Some(Measured { ratings, reviews, items_reviewed, .. }) = splits.first() {
            writeln!(
                f,
                "{ratings} ratings, {reviews} reviews of {items_reviewed} items; {model} beside the other sources"
            )?;
        }
        let level = 100.0 * bootstrap.level;
        writeln!(f, "{} splits, a user's mean over them; intervals of {level}% over users", splits.len())?;
        for group in groups {
            writeln!(f, "\n{}: {} users", group.name, group.users)?;
            writeln!(f, "  {:<12} {:>25} {:>25} {:>25}", "", "without reviews", "with", "words shuffled")?;
            for Row { metric, without, with, shuffled, .. } in group.shown() {
                let column = |Interval { mean, low, high }: &Interval| format!("{mean:.4} [{low:.4}, {high:.4}]");
                let [without, with, shuffled] = [without, with, shuffled].map(column);
                writeln!(f, "  {:<12} {without:>25} {with:>25} {shuffled:>25}", named(*metric))?;
            }
            for Row { metric, gain, of_words, .. } in group.shown() {
                difference(f, *metric, "with less without", gain, bootstrap.level)?;
                difference(f, *metric, "with less shuffled", of_words, bootstrap.level)?;
            }
        }
        writeln!(f, "\nlearned weight of {FEATURE}, in parts of the largest weight, by how many events are known")?;
        for Measured { seed, with, shuffled, .. } in splits {
            let (with, shuffled) = (weights(&with.blend), weights(&shuffled.blend));
            writeln!(f, "  seed {seed}: {with}; shuffled: {shuffled}")?;
        }
        Ok(())
    }
}

fn named(metric: Metric) -> String {
    format!("{}@{}", metric.name(), SPLIT.k)
}

fn difference(
    f: &mut fmt::Formatter<'_>,
    metric: Metric,
    what: &str,
    difference: &Difference,
    level: f64,
) -> fmt::Result {
    let Difference { interval: Interval { mean, low, high }, p } = difference;
    let verdict = match (difference.is_significant(level), *mean > 0.0) {
        (false, _) => "no significant difference",
        (true, true) => "significantly better",
        (true, false) => "significantly worse",
    };
    writeln!(f, "  {:<12} {what:<18} {mean:>+7.4}  [{low:+.4}, {high:+.4}]  p {p:.4}  {verdict}", named(metric))
}

/// What the feature weighs, band by band.
fn weights(blend: &[RankBand]) -> String {
    let weight = |band: &RankBand| {
        let largest = band.weights.values().copied().fold(0.0, f32::max);
        let own = band.weights.get(FEATURE).copied().unwrap_or(0.0);
        format!("{}+ {:.2}", band.events_min, if largest > 0.0 { own / largest } else { 0.0 })
    };
    blend.iter().map(weight).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "signal/tests.rs"]
mod tests;
