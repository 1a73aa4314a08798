use std::collections::HashMap;

use attune_api::catalogue::{AttributeKind, Entry};
use attune_ranking::data::{self, History};
use attune_ranking::evaluate::{self, Protocol, Stage as Part};
use attune_ranking::index::Metric;

use super::*;

const USERS: u32 = 60;
const ITEMS: u32 = 61;
const EVENTS: u32 = 30;

/// Knows what everybody will like next, by all that he did before; and says so, or the contrary.
struct Oracle {
    names: Vec<String>,
    liked: HashMap<Vec<u32>, Vec<u32>>,
    lies: bool,
}

impl Trained for Oracle {
    fn version(&self) -> &str {
        "oracle/1"
    }

    fn items(&self) -> usize {
        self.names.len()
    }

    fn item(&self, row: u32) -> &str {
        &self.names[row as usize]
    }

    fn vectors(&self) -> Option<(usize, &[f32], Metric)> {
        None
    }

    fn fold_in(&self, _: History<'_>) -> Option<Vec<f32>> {
        None
    }

    fn score(&self, history: History<'_>, scores: &mut [f32]) {
        scores.fill(0.0);
        let liked = self.liked.get(history.items).into_iter().flatten();
        liked.for_each(|item| scores[*item as usize] = if self.lies { -1.0 } else { 1.0 });
    }
}

/// Everybody goes through the items with a stride of his own.
fn log() -> EventLog {
    let event = |(user, step): (u32, u32)| {
        let item = (user * 17 + step * (1 + user % 7)) % ITEMS;
        data::Event { user, item, kind: 0, value: None, time: (step * 100 + user).into() }
    };
    let events = (0..USERS).flat_map(|user| (0..EVENTS).map(move |step| (user, step))).map(event).collect();
    EventLog::new(events, USERS as usize, ITEMS as usize, vec!["click".into()]).unwrap()
}

/// Hands over a rehearsal; where films are `praised`, those that are liked next by the most.
fn with_rehearsal<T>(lies: bool, praised: bool, use_it: impl FnOnce(&Rehearsal<'_>) -> T) -> T {
    let log = log();
    let task = Task::new(Protocol::named("user-90-10").unwrap(), &log, &Worth::default(), 0, Part::Test).unwrap();
    let subjects: Vec<String> = (0..USERS).map(|user| format!("{user:032x}")).collect();
    let names: Vec<String> = (0..ITEMS).map(|item| format!("film-{item}")).collect();
    let cases = task.groups.iter().flat_map(|group| &group.cases);
    let liked = cases.map(|case| (case.history().items.to_vec(), case.relevant.clone())).collect();
    let mut praise = vec![0; ITEMS as usize];
    let cases = task.groups.iter().flat_map(|group| &group.cases);
    cases.flat_map(|case| &case.relevant).for_each(|item| praise[*item as usize] += 1);
    let entry = |(name, praise): (&String, &i32)| {
        let sentiment = (features::SENTIMENT.to_owned(), f64::from(*praise).mul_add(0.1, -0.3).into());
        let attributes = praised.then_some(sentiment).into_iter().collect();
        Entry { item_id: name.clone(), version: 1, attributes, ..Entry::default() }
    };
    let config = RecommendationConfig::default();
    let kinds = vec![(features::SENTIMENT.to_owned(), AttributeKind::Number)];
    let entries: Vec<Entry> = names.iter().zip(&praise).map(entry).collect();
    let pages = entries.chunks(7).map(|page| Ok(page.to_vec()));
    let rehearsal = Rehearsal {
        config: &config,
        worth: Worth::default(),
        layout: Layout::of(kinds, pages, &config).unwrap(),
        log: &log,
        user: &|row| subjects[row as usize].as_str(),
        item: &|row| names[row as usize].as_str(),
        task: &task,
        model: Arc::new(Oracle { names: names.clone(), liked, lies }),
    };
    use_it(&rehearsal)
}

fn learned(lies: bool, is_wanted: bool) -> Result<Vec<RankBand>, String> {
    with_rehearsal(lies, false, |rehearsal| rehearse(rehearsal, &|| is_wanted))
}

fn ndcg(outcome: &Outcome) -> f64 {
    let values = outcome.groups[0].values(evaluate::Metric::Ndcg);
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn a_model_weighs_what_its_word_is_worth() {
    let bands = learned(false, true).unwrap();
    let (newcomers, regulars) = (&bands[0].weights, &bands.last().unwrap().weights);
    assert!(bands.len() > 2 && bands[0].events_min == 0 && bands.last().unwrap().events_min == 20, "{bands:?}");
    assert_eq!(regulars["model"], 1.0);
    assert_eq!(newcomers["model"], 0.0, "of whom it knows nothing");
    assert!(newcomers.values().any(|weight| *weight > 0.0), "{newcomers:?}");

    let bands = learned(true, true).unwrap();
    let regulars = &bands.last().unwrap().weights;
    assert_eq!(regulars["model"], 0.0, "the contrary of what is right helps nobody");
    assert!(regulars.values().any(|weight| *weight > 0.0), "{regulars:?}");
}

#[test]
fn what_nobody_waits_for_ends() {
    assert!(learned(false, false).unwrap_err().contains("nobody waits"));
}

#[test]
fn what_reviews_say_weighs_where_it_tells_what_is_liked() {
    let bands = with_rehearsal(true, true, |rehearsal| rehearse(rehearsal, &|| true)).unwrap();
    assert!(bands.iter().all(|band| band.weights[features::SENTIMENT] > 0.0), "{bands:?}");
    let without = learned(true, true).unwrap();
    assert!(without.iter().all(|band| band.weights[features::SENTIMENT] == 0.0), "{without:?}");
    let judged = |praised, blend: &[RankBand]| {
        with_rehearsal(true, praised, |rehearsal| judge_lists(rehearsal, blend.to_vec())).unwrap()
    };
    let (with, without) = (ndcg(&judged(true, &bands)), ndcg(&judged(false, &without)));
    assert!(with > without, "{with} {without}");
}

#[test]
fn lists_of_a_model_that_knows_are_judged_as_right() {
    let judged = |lies| {
        let outcome = with_rehearsal(lies, false, |rehearsal| {
            let bands = rehearse(rehearsal, &|| true)?;
            judge_lists(rehearsal, bands)
        });
        outcome.unwrap()
    };
    let knows = judged(false);
    assert_eq!((knows.protocol.as_str(), knows.groups[0].users.len()), ("user-90-10", USERS as usize));
    assert!(ndcg(&knows) > 0.95 && ndcg(&judged(true)) < 0.8, "{} {}", ndcg(&knows), ndcg(&judged(true)));
}
