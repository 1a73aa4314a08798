use proptest::prelude::*;

use super::fixture::{ITEMS, NOW, Shop};
use super::*;
use crate::filter::{Filter, parse};
use crate::index::{Allowed, Scored};

fn checked(request: Request) -> Checked {
    request.check().unwrap()
}

fn batch<'a>(requests: &'a [Checked], k: usize, allowed: Option<&'a Allowed>) -> Batch<'a> {
    Batch { requests, k, allowed, now: NOW, threads: 1 }
}

/// Everything that is asked of some users, with a filter or without.
fn requests() -> Vec<Checked> {
    let known = |user| Shop::request(1.0, user);
    let new = Request { items: vec![4, 8, 4], weights: vec![1.0; 3], times: vec![NOW; 3], ..Request::default() };
    let looking = Request { context: Some(9), ..Request::default() };
    let unknown_items = Request { items: vec![7_000], weights: vec![1.0], times: vec![NOW], ..Request::default() };
    [known(0), known(1), known(17), new, looking, unknown_items, Request::default()].map(checked).to_vec()
}

/// The full list of a source, cut down afterwards, is what its own scan must find.
#[test]
fn filter_and_exclusions_are_exact_for_every_source() {
    let shop = Shop::new(1.0);
    let narrow = Allowed::new(ITEMS as usize, [0, 9, 31]);
    let half = Allowed::new(ITEMS as usize, (0..ITEMS).filter(|row| row % 3 == 0));
    let requests = requests();
    for (name, source) in &shop.sources {
        let free: Vec<Checked> = requests.iter().map(|request| without_exclusions(request.get())).collect();
        let all = source.propose(&batch(&free, ITEMS as usize, None), &mut Scratch::default()).unwrap();
        for allowed in [None, Some(&narrow), Some(&half)] {
            for k in [1, 4, 100] {
                let batch = batch(&requests, k, allowed);
                let found = source.propose(&batch, &mut Scratch::default()).unwrap();
                assert_eq!(found.len(), requests.len());
                for ((found, all), request) in found.into_iter().zip(&all).zip(&requests) {
                    let admitted = |proposal: &&Scored| batch.admits(request, proposal.row);
                    let need = all.as_ref().map(|all| all.iter().filter(admitted).take(k).copied().collect::<Vec<_>>());
                    assert_eq!(found, need, "{name}, {k} {request:?}");
                }
            }
        }
    }
}

fn without_exclusions(request: &Request) -> Checked {
    checked(Request { excluded: Vec::new(), ..request.clone() })
}

#[test]
fn lists_are_best_first_and_one_batch_answers_as_many_calls_do() {
    let shop = Shop::new(1.0);
    let (requests, mut scratch) = (requests(), Scratch::default());
    for (name, source) in &shop.sources {
        let together = source.propose(&batch(&requests, 12, None), &mut scratch).unwrap();
        for (one, request) in together.iter().zip(&requests) {
            let alone = source.propose(&batch(std::slice::from_ref(request), 12, None), &mut scratch).unwrap();
            assert_eq!(alone[0], *one, "{name}");
            let pairs = one.iter().flat_map(|found| found.windows(2));
            let rows = |pair: &[Scored]| pair[0].score == pair[1].score && pair[0].row < pair[1].row;
            assert!(pairs.into_iter().all(|pair| pair[0].score > pair[1].score || rows(pair)), "{name} {one:?}");
        }
    }
}

#[test]
fn who_is_known_gets_his_taste_and_who_is_not_what_everybody_likes() {
    let shop = Shop::new(1.0);
    let (requests, mut scratch) = (requests(), Scratch::default());
    for (name, source) in &shop.sources {
        let found = source.propose(&batch(&requests, 6, None), &mut scratch).unwrap();
        let for_all = ["popular", "trending", "latest"].contains(name);
        assert_eq!(found[6].is_some(), for_all, "{name}: nobody");
        assert_eq!(found[5].is_some(), for_all, "{name}: items that no model knows");
        let by_context = for_all || ["neighbours", "session", "semantic"].contains(name);
        assert_eq!(found[4].is_some(), by_context, "{name}: an item that is looked at");
        if !for_all {
            let even = found[3].as_ref().unwrap().iter().filter(|proposal| proposal.row % 2 == 0).count();
            assert!(even >= 5, "{name}: a history that came with the request: {:?}", found[3]);
        }
    }
}

#[test]
fn reasons_name_an_item_of_the_history() {
    let shop = Shop::new(1.0);
    let requests = [checked(Shop::request(1.0, 2)), checked(Request { context: Some(9), ..Request::default() })];
    for (name, source) in &shop.sources {
        for (proposals, request) in
            source.propose(&batch(&requests, 10, None), &mut Scratch::default()).unwrap().iter().zip(&requests)
        {
            for proposal in proposals.iter().flatten() {
                let of = match source.reason(request, proposal.row) {
                    Reason::BecauseOf { item } | Reason::Follows { item } | Reason::Alike { item } => item,
                    Reason::Taste if *name == "factors" => continue,
                    Reason::Model if *name == "ease" => continue,
                    Reason::Popular | Reason::Trending | Reason::Latest => continue,
                    other => panic!("{name}: {other:?}"),
                };
                assert!(request.get().items.contains(&of) || request.get().context == Some(of), "{name} {proposal:?}");
            }
        }
    }
}

#[test]
fn dislikes_push_their_neighbours_away() {
    let shop = Shop::new(1.0);
    let with = |weight: f32| {
        let (items, weights, times) = (vec![4, 8, 10], vec![1.0, 1.0, weight], vec![NOW; 3]);
        checked(Request { items, weights, times, ..Request::default() })
    };
    let requests = [with(1.0), with(-1.0)];
    let (_, neighbours) = &shop.sources[1];
    let found = neighbours.propose(&batch(&requests, 60, None), &mut Scratch::default()).unwrap();
    let sum = |found: &Proposals| found.iter().flatten().map(|proposal| proposal.score).sum::<f32>();
    assert!(sum(&found[1]) < sum(&found[0]));
}

#[test]
fn a_vector_stands_for_a_text_or_a_person() {
    let shop = Shop::new(1.0);
    let (_, semantic) = &shop.sources[3];
    let text = Request { text: Some(vec![-1.0, 0.0, 0.0, 0.3]), ..Request::default() };
    let zero = Request { text: Some(vec![0.0; 4]), ..Request::default() };
    let requests = [checked(text), checked(zero)];
    let found = semantic.propose(&batch(&requests, 5, None), &mut Scratch::default()).unwrap();
    let is_text = |row| semantic.reason(&requests[0], row) == Reason::Text;
    assert!(found[0].iter().flatten().all(|proposal| proposal.row % 2 == 0 && is_text(proposal.row)));
    assert_eq!(found[0].as_ref().map(Vec::len), Some(5));
    assert_eq!(found[1], None);
    let short = checked(Request { text: Some(vec![1.0; 3]), ..Request::default() });
    assert!(matches!(semantic.check(&short), Err(RequestError::Width { len: 3, need: 4, .. })));

    let (_, factors) = &shop.sources[0];
    let vector = shop.als.user_factors()[8..16].to_vec();
    let person = checked(Request { person: Some(vector), ..Request::default() });
    assert_eq!(factors.reason(&person, 1), Reason::Person);
    let found = factors.propose(&batch(&[person], 5, None), &mut Scratch::default()).unwrap();
    assert!(found[0].as_ref().unwrap().iter().filter(|proposal| proposal.row % 2 == 1).count() >= 4);
    let short = checked(Request { person: Some(vec![1.0; 3]), ..Request::default() });
    assert!(matches!(factors.check(&short), Err(RequestError::Width { len: 3, need: 8, .. })));
}

#[test]
fn a_trained_vector_serves_histories_that_are_cut_off() {
    let shop = Shop::new(1.0);
    let trained = Factors::new(shop.als.clone(), shop.factors.clone(), Taste::Trained).unwrap();
    let one = Request { user: Some(1), items: vec![4], weights: vec![1.0], times: vec![NOW], ..Request::default() };
    let none = Request { user: Some(1), ..Request::default() };
    let beyond = Request { user: Some(9_999), ..Request::default() };
    let found = trained
        .propose(&batch(&[checked(one), checked(none), checked(beyond)], 9, None), &mut Scratch::default())
        .unwrap();
    assert_eq!(found[0], found[1]);
    assert_eq!(found[2], None);
    assert!(Factors::new(shop.als, shop.contents, Taste::Trained).is_err());
}

#[test]
fn what_is_still_to_come_is_not_the_latest() {
    let latest = Latest::new([(3, NOW + 1), (1, NOW), (2, NOW - 7 * 86_400), (1, NOW - 9)], 7.0);
    let found = latest.propose(&batch(&[Checked::default()], 9, None), &mut Scratch::default()).unwrap();
    let found: Vec<_> = found[0].iter().flatten().map(|proposal| (proposal.row, proposal.score)).collect();
    assert_eq!(found, [(1, 1.0), (2, 0.5)]);
}

#[test]
fn an_empty_catalogue_is_an_answer() {
    let ranked = Ranked::popular(&crate::train::Popular::from_scores(vec![]));
    let latest = Latest::new([], 7.0);
    let related = Related::new(std::sync::Arc::default(), RelatedOptions::default());
    assert!(related.is_err(), "no offsets");
    for source in [&ranked as &dyn Source, &latest] {
        let found = source.propose(&batch(&[Checked::default()], 9, None), &mut Scratch::default()).unwrap();
        assert_eq!(found, [Some(vec![])]);
    }
}

#[test]
fn a_filter_of_the_language_is_a_set_of_rows() {
    let shop = Shop::new(1.0);
    let filter = parse(r#"taste == "odd" and price < 20"#).unwrap();
    let filter = Filter::check(&filter, &super::fixture::schema()).unwrap();
    let allowed = shop.contents.rows(Some(&filter));
    assert_eq!(allowed.count(), 10);
    for (name, source) in &shop.sources {
        let requests = [checked(Shop::request(1.0, 3))];
        let found = source.propose(&batch(&requests, 60, Some(&allowed)), &mut Scratch::default()).unwrap();
        assert!(found[0].iter().flatten().all(|found| found.row % 2 == 1 && found.row < 20), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_history_is_answered_and_its_unit_does_not_count(
        events in prop::collection::vec((0_u32..70, -3_i8..5), 0..30),
        excluded in prop::collection::vec(0_u32..90, 0..30),
        context in prop::option::of(0_u32..70),
    ) {
        let shop = Shop::new(1.0);
        let request = |scale: f32| {
            let weights = events.iter().map(|(_, weight)| scale * f32::from(*weight)).collect();
            let items: Vec<u32> = events.iter().map(|(item, _)| *item).collect();
            let times = vec![NOW; items.len()];
            checked(Request { items, weights, times, context, excluded: excluded.clone(), ..Request::default() })
        };
        let requests = [request(1.0), request(4.0)];
        for (name, source) in &shop.sources {
            let found = source.propose(&batch(&requests, 20, None), &mut Scratch::default()).unwrap();
            let seen = |found: &Proposals| found.iter().flatten().any(|found| requests[0].get().excluded.contains(&found.row));
            prop_assert!(!seen(&found[0]), "{}", name);
            if *name != "factors" {
                prop_assert_eq!(&found[0], &found[1], "{}", name);
            }
        }
    }
}
