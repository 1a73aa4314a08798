use attune_batch::history::HistoryBuilder;
use attune_batch::recommender::Kind;
use attune_ranking::evaluate::{GroupOutcome, UserMetrics, UserOutcome};
use attune_sentiment::data::Class;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::*;

const USERS: u32 = 200;
const ITEMS: u32 = 60;
const RATINGS: usize = 30;

/// Who rates what says nothing: everybody draws from all items. What he thinks of them is what they are: of four items one
/// gets 5 stars, the others get 1.
fn history() -> History {
    let (mut building, mut random) = (HistoryBuilder::default(), ChaCha8Rng::seed_from_u64(7));
    for user in 0..USERS {
        let mut items: Vec<u32> = (0..ITEMS).collect();
        items.shuffle(&mut random);
        for (time, item) in (0..).zip(&items[..RATINGS]) {
            let stars = if item % 4 == 0 { 5.0 } else { 1.0 };
            assert!(building.push(&format!("u{user}"), &format!("i{item}"), "rating", Some(stars), time));
        }
    }
    building.finish(Path::new("ratings")).unwrap()
}

fn evaluated(sentences: Vec<Sentence>) -> Evaluation {
    let (config, history) = (Config::default(), history());
    let worth = Worth::alike();
    let signal =
        Signal { config: &config, settings: Settings::new(Kind::Ease, 0), worth, history: &history, sentences };
    Evaluation::new("ease".into(), "hand".into(), 2, vec![signal.split(0).unwrap()])
}

/// Of users of whom all is known.
fn ndcg(evaluation: &Evaluation) -> &Row {
    evaluation.groups.last().unwrap().metrics.iter().find(|row| row.metric == Metric::Ndcg).unwrap()
}

#[test]
fn reviews_that_tell_what_is_good_make_better_lists_and_shuffled_ones_do_not() {
    let sentence = |class, polarity| Sentence { class, polarity };
    let evaluation = evaluated(vec![sentence(Class::Negative, -0.9), sentence(Class::Positive, 0.9)]);
    let Row { without, with, shuffled, gain, of_words, .. } = ndcg(&evaluation);
    assert!(gain.interval.mean > 0.1 && gain.is_significant(0.95), "{without:?} {with:?} {shuffled:?}");
    assert!(of_words.interval.mean > 0.1 && of_words.is_significant(0.95), "{without:?} {with:?} {shuffled:?}");
    let learned = &evaluation.splits[0].with.blend.last().unwrap().weights;
    assert!(learned[FEATURE] > 0.0, "{learned:?}");
    assert!(evaluation.splits[0].without.blend.iter().all(|band| band.weights[FEATURE] == 0.0));
    let text = evaluation.to_string();
    assert!(text.contains("semi-synthetic") && text.contains("significantly better"), "{text}");
}

#[test]
fn reviews_that_all_say_the_same_change_nothing() {
    let sentence = |class| Sentence { class, polarity: 0.0 };
    let evaluation = evaluated(vec![sentence(Class::Negative), sentence(Class::Positive)]);
    let Row { gain, of_words, .. } = ndcg(&evaluation);
    assert_eq!((gain.interval.mean, of_words.interval.mean), (0.0, 0.0));
    assert!(!evaluation.to_string().contains("significantly "), "{evaluation}");
}

#[test]
fn a_user_counts_once_with_his_mean() {
    let group = |users: &[(u32, f64)]| {
        let user = |(user, ndcg): &(u32, f64)| {
            let metrics = UserMetrics { ndcg: *ndcg, ..UserMetrics::default() };
            UserOutcome { user: *user, relevant: 1, list: Vec::new(), metrics }
        };
        let users = users.iter().map(user).collect();
        GroupOutcome { name: "all".into(), users, skipped: 0, coverage: 0.0, novelty_bits: 0.0 }
    };
    let groups = [group(&[(3, 0.2), (7, 1.0)]), group(&[(3, 0.4)])];
    let means = by_user(groups.iter(), Metric::Ndcg);
    assert!((means[0] - 0.3).abs() < 1e-12 && means[1] == 1.0 && means.len() == 2, "{means:?}");
}
