use super::*;

const DAY: i64 = 86_400;
const ONES: [f32; 8] = [1.0; 8];

fn history<'a>(items: &'a [u32], times: &'a [i64]) -> History<'a> {
    History { items, weights: &ONES[..items.len()], times }
}

fn table(histories: &[History<'_>], items: usize) -> Interactions {
    let of_user = |(user, history): (usize, &History<'_>)| {
        history.items.iter().zip(history.weights).map(move |(item, weight)| (user as u32, *item, *weight)).collect()
    };
    let entries: Vec<_> = histories.iter().enumerate().flat_map(|pair| -> Vec<_> { of_user(pair) }).collect();
    Interactions::from_entries(histories.len(), items, &entries).unwrap()
}

fn train(histories: &[History<'_>], attributes: Option<&Interactions>, options: &NaiveBayesOptions) -> NaiveBayes {
    NaiveBayes::train(&table(histories, 4), histories, attributes, options).unwrap()
}

fn scores(model: &NaiveBayes, history: History<'_>, attributes: &[u32]) -> [f32; 4] {
    let mut scores = [0.0; 4];
    model.score_described(None, history, attributes, &mut scores);
    scores
}

/// Users like {0, 1}, {0, 1}, {0, 2}, {3}. Of item 0 (3 of 4 like it): 1 has n(e, j) = 2, n(j) = 2, 2 has 1 and 1, and 0
/// has 3 and 3 with itself: ln(1 + 4 / shrinkage) each; 3 has none.
#[test]
fn evidence_is_as_by_hand() {
    let histories =
        [history(&[0, 1], &[0; 2]), history(&[0, 1], &[0; 2]), history(&[0, 2], &[0; 2]), history(&[3], &[0])];
    let options = NaiveBayesOptions { shrinkage: 2.0, history_weight: 0.5, ..Default::default() };
    let model = train(&histories, None, &options);
    let parts = model.clone().into_parts();
    assert_eq!(parts.liked_by, [3.0, 2.0, 1.0, 1.0]);
    let (columns, values) = parts.items.row(0);
    assert_eq!(columns, [0, 1, 2]);
    assert!(values.iter().all(|value| (value - 3_f32.ln()).abs() < 1e-6), "{values:?}");
    // At the time of all events each is worth 1 and a share of all time.
    let prior = |count: f32| (1.05 * count + 0.1).ln();
    let found = scores(&model, history(&[0], &[0]), &[]);
    let need =
        [prior(3.0) + 0.5 * 3_f32.ln(), prior(2.0) + 0.5 * 3_f32.ln(), prior(1.0) + 0.5 * 3_f32.ln(), prior(1.0)];
    assert!(found.iter().zip(need).all(|(found, need)| (found - need).abs() < 1e-5), "{found:?} {need:?}");
}

#[test]
fn what_is_liked_around_the_time_comes_first_and_the_future_is_not_known() {
    let times: Vec<[i64; 2]> = vec![[0, 0], [0, 0], [100 * DAY, 200 * DAY]];
    let histories = [history(&[0, 1], &times[0]), history(&[0, 1], &times[1]), history(&[2, 3], &times[2])];
    let options = NaiveBayesOptions { half_life_days: 10.0, all_time: 0.0, history_weight: 0.0, ..Default::default() };
    let model = train(&histories, None, &options);
    let at = |day: i64| scores(&model, history(&[0], &[day * DAY]), &[]);
    assert!((at(10)[1] - (2.0 * 0.5 + 0.1_f32).ln()).abs() < 1e-6);
    assert!(at(10)[1] > at(10)[2] && at(100)[2] > at(100)[1], "{:?} {:?}", at(10), at(100));
    assert_eq!(at(100)[3], 0.1_f32.ln());
    assert!(at(200)[3] > at(200)[2]);
    let all = scores(&model, History::default(), &[]);
    assert!(all[0] > all[2] && all[2] == all[3], "{all:?}");
}

/// Men (0) like item 0, women (1) item 1, and everybody item 2, as many as like both others.
#[test]
fn attributes_speak_for_a_user_without_history() {
    let histories =
        [history(&[0, 2], &[0; 2]), history(&[0, 2], &[0; 2]), history(&[1, 2], &[0; 2]), history(&[1, 2], &[0; 2])];
    let who = Interactions::from_entries(4, 2, &[(0, 0, 1.0), (1, 0, 1.0), (2, 1, 1.0), (3, 1, 1.0)]).unwrap();
    let model = train(&histories, Some(&who), &NaiveBayesOptions { shrinkage: 1.0, ..Default::default() });
    let (men, women) = (scores(&model, History::default(), &[0]), scores(&model, History::default(), &[1]));
    assert!(men[0] > men[1] && women[1] > women[0], "{men:?} {women:?}");
    let nobody = scores(&model, History::default(), &[]);
    assert_eq!((nobody[0], scores(&model, History::default(), &[7])), (nobody[1], nobody), "one that is not known");
    let later = scores(&model, history(&[2], &[0]), &[0]);
    assert!((later[0] - later[1]) < (men[0] - men[1]), "events push attributes back");
    let others = Interactions::from_entries(3, 2, &[]).unwrap();
    let error = NaiveBayes::train(&table(&histories, 4), &histories, Some(&others), &NaiveBayesOptions::default());
    assert!(matches!(error, Err(TrainError::Parts { part: "attributes of users", .. })));
}

#[test]
fn a_dislike_speaks_against_and_doubled_weights_change_nothing() {
    let histories = [history(&[0, 1], &[0; 2]), history(&[0, 1], &[0; 2]), history(&[2, 3], &[0; 2])];
    let model = train(&histories, None, &NaiveBayesOptions::default());
    let with = |weights| scores(&model, History { items: &[0], weights, times: &[0] }, &[]);
    assert!(with(&[-1.0])[1] < with(&[1.0])[1]);
    assert_eq!(with(&[2.0]), with(&[1.0]));
    let doubled = Interactions::from_entries(
        3,
        4,
        &[(0, 0, 2.0), (0, 1, 2.0), (1, 0, 2.0), (1, 1, 2.0), (2, 2, 2.0), (2, 3, 2.0)],
    );
    let twice = NaiveBayes::train(&doubled.unwrap(), &histories, None, &NaiveBayesOptions::default()).unwrap();
    assert_eq!(twice, model);
}

#[test]
fn one_model_whatever_the_threads_and_from_its_parts() {
    let times = [0, DAY, 2 * DAY, 3 * DAY];
    let histories = [history(&[0, 1, 2, 3], &times), history(&[3, 1], &times[..2])];
    let with = |threads| train(&histories, None, &NaiveBayesOptions { threads, ..Default::default() }).into_parts();
    let (one, two) = (with(1), with(2));
    assert_eq!((&one.items, &one.lately), (&two.items, &two.lately));
    assert!(NaiveBayes::from_parts(one.clone()).is_ok());
    assert!(NaiveBayes::from_parts(NaiveBayesParts { liked_by: vec![1.0; 3], ..one.clone() }).is_err());
    assert!(NaiveBayes::from_parts(NaiveBayesParts { lately: Lately::default(), ..one.clone() }).is_err());
    assert!(NaiveBayes::from_parts(NaiveBayesParts { attributes: SparseParts::default(), ..one }).is_err());
}

#[test]
fn what_cannot_be_trained_is_told() {
    let none = Interactions::from_entries(1, 4, &[(0, 0, -1.0)]).unwrap();
    let train = |table: &Interactions, options: &NaiveBayesOptions| NaiveBayes::train(table, &[], None, options);
    assert_eq!(train(&none, &Default::default()), Err(TrainError::Empty { rows: 1, items: 4 }));
    let some = Interactions::from_entries(1, 4, &[(0, 0, 1.0)]).unwrap();
    for bad in [
        NaiveBayesOptions { half_life_days: 0.0, ..Default::default() },
        NaiveBayesOptions { shrinkage: f32::NAN, ..Default::default() },
        NaiveBayesOptions { history_weight: -1.0, ..Default::default() },
        NaiveBayesOptions { attribute_weight: f32::INFINITY, ..Default::default() },
    ] {
        assert!(matches!(train(&some, &bad), Err(TrainError::Option { .. })), "{bad:?}");
    }
    // Without times there is no lately: the prior is the share of all time.
    let model = train(&some, &Default::default()).unwrap();
    assert!(scores(&model, history(&[1], &[]), &[]).iter().all(|score| score.is_finite()));
}
