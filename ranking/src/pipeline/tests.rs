use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use super::*;
use crate::filter::{Filter, parse};
use crate::index::{Allowed, Index, IndexError, Metric, Scored};
use crate::rerank::{RerankError, RuleProblem};
use crate::retrieve::fixture::{ITEMS, NOW, Shop, USERS, schema};
use crate::retrieve::{
    Batch, Checked, Outcome, Proposals, Reason, Request, RequestError, Scratch, Source, SourceError,
};
use crate::score::{Examples, LogisticBlend, LogisticOptions, ScoreError};

static SHOP: LazyLock<Shop> = LazyLock::new(|| Shop::new(1.0));

const ALL: &str = r#"{"sources": [
    {"source": "factors"}, {"source": "neighbours"}, {"source": "session", "candidates": 20}, {"source": "semantic"},
    {"source": "ease"}, {"source": "popular"}, {"source": "trending"}, {"source": "latest", "candidates": 5}]}"#;

fn spec(text: &str) -> PipelineSpec {
    serde_json::from_str(text).unwrap()
}

fn sources(shop: &Shop) -> BTreeMap<String, Arc<dyn Source>> {
    shop.sources.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect()
}

fn make_with(shop: &Shop, spec: &PipelineSpec, blends: &[(&str, &LogisticBlend)]) -> Result<Pipeline, PipelineError> {
    let blends = blends.iter().map(|(name, model)| ((*name).to_owned(), Arc::new((*model).clone()))).collect();
    Pipeline::new(spec, &Models { sources: &sources(shop), blends: &blends, schema: &schema() })
}

fn make(spec: &PipelineSpec) -> Pipeline {
    make_with(&SHOP, spec, &[]).unwrap()
}

fn world() -> World<'static> {
    World { catalogue: &SHOP.contents, allowed: None, include: &[], now: NOW, threads: 1 }
}

fn wanted(k: usize) -> Wanted {
    Wanted { k, diversity: None, seed: 7, explain: false }
}

fn no_features(_: &[u32]) -> Vec<Vec<f32>> {
    Vec::new()
}

fn ask(pipeline: &Pipeline, request: Request, wanted: Wanted, world: &World<'_>) -> Result<Answer, AnswerError> {
    let (request, mut scratch) = (request.check().unwrap(), Scratch::default());
    pipeline.recommend(&[request], &[wanted], world, &no_features, &mut scratch).remove(0)
}

fn rows(answer: &Answer) -> Vec<u32> {
    answer.items.iter().map(|item| item.row).collect()
}

fn codes(answer: &Answer) -> Vec<Code> {
    answer.notes.iter().map(|note| note.code).collect()
}

#[test]
fn a_known_user_gets_unseen_items_of_his_taste() {
    let pipeline = make(&spec(ALL));
    for user in [0, 1, 17] {
        let request = Shop::request(1.0, user);
        let answer = ask(&pipeline, request.clone(), wanted(8), &world()).unwrap();
        assert_eq!(answer.items.len(), 8);
        assert!(rows(&answer).iter().all(|row| !request.items.contains(row)));
        assert!(rows(&answer).iter().filter(|row| *row % 2 == user % 2).count() >= 6, "{:?}", rows(&answer));
        assert!((answer.sources.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(answer.notes.is_empty() && !answer.degraded);
        assert!(answer.items.iter().zip(1..).all(|(item, rank)| item.rank == rank && item.propensity == 1.0));
        assert!(answer.items.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }
}

#[test]
fn whoever_is_unknown_gets_a_list_and_a_note_says_why() {
    let pipeline = make(&spec(ALL));
    assert!(pipeline.serves_everyone());
    let nobody = ask(&pipeline, Request::default(), wanted(5), &world()).unwrap();
    assert_eq!((nobody.items.len(), codes(&nobody)), (5, vec![Code::NoHistory]));
    let strange = Request { items: vec![900], weights: vec![1.0], times: vec![NOW], ..Request::default() };
    let strange = ask(&pipeline, strange, wanted(5), &world()).unwrap();
    assert_eq!((strange.items.len(), codes(&strange)), (5, vec![Code::ItemsUnknown]));
    let new = Request { items: vec![5, 5, 9], weights: vec![1.0; 3], times: vec![NOW; 3], ..Request::default() };
    let new = ask(&pipeline, new, wanted(6), &world()).unwrap();
    assert!(rows(&new).iter().filter(|row| *row % 2 == 1).count() >= 4 && new.notes.is_empty());
    let personal = make(&spec(r#"{"sources": [{"source": "factors"}]}"#));
    let nothing = ask(&personal, Request::default(), wanted(5), &world()).unwrap();
    assert_eq!((nothing.items.len(), codes(&nothing)), (0, vec![Code::NoHistory, Code::FewCandidates]));
    assert!(!personal.serves_everyone());
}

#[test]
fn fewer_come_where_there_are_no_more_and_a_note_says_why() {
    let pipeline = make(&spec(ALL));
    let all = ask(&pipeline, Request::default(), wanted(1_000), &world()).unwrap();
    assert_eq!((all.items.len(), codes(&all)), (ITEMS as usize, vec![Code::NoHistory, Code::FewCandidates]));
    let visible = Allowed::new(ITEMS as usize, 0..ITEMS);
    let open = World { allowed: Some(&visible), ..world() };
    let all = ask(&pipeline, Request::default(), wanted(1_000), &open).unwrap();
    assert_eq!(codes(&all), [Code::NoHistory, Code::FewCandidates], "what lets everything through is no filter");
    let filter = Filter::check(&parse(r#"taste == "odd" and price < 8"#).unwrap(), &schema()).unwrap();
    let allowed = SHOP.contents.rows(Some(&filter));
    let narrow = World { allowed: Some(&allowed), ..world() };
    let few = ask(&pipeline, Request { excluded: vec![3], ..Shop::request(1.0, 0) }, wanted(5), &narrow).unwrap();
    let mut found = rows(&few);
    found.sort_unstable();
    assert!(found.iter().all(|row| [1, 5, 7].contains(row)), "{found:?}");
    assert!(codes(&few).contains(&Code::FilterTooNarrow));
    let nothing = Allowed::new(ITEMS as usize, []);
    let none = ask(&pipeline, Request::default(), wanted(5), &World { allowed: Some(&nothing), ..world() }).unwrap();
    assert_eq!(none.items, []);
}

#[test]
fn an_empty_catalogue_is_an_empty_list() {
    let empty = Index::new(4, Metric::Cosine, schema()).unwrap().view();
    let sources: BTreeMap<String, Arc<dyn Source>> = BTreeMap::from([
        ("semantic".to_owned(), Arc::new(crate::retrieve::Semantic::new(empty.clone(), Default::default())) as _),
        ("latest".to_owned(), Arc::new(crate::retrieve::Latest::new([], 7.0)) as _),
    ]);
    let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &schema() };
    let pipeline =
        Pipeline::new(&spec(r#"{"sources": [{"source": "semantic"}, {"source": "latest"}]}"#), &models).unwrap();
    let request = Request { text: Some(vec![1.0; 4]), ..Shop::request(1.0, 0) };
    let answer = ask(&pipeline, request, wanted(5), &World { catalogue: &empty, ..world() }).unwrap();
    assert_eq!((answer.items.len(), answer.degraded), (0, false));
    assert!(codes(&answer).contains(&Code::FewCandidates));
}

#[test]
fn what_is_asked_wrongly_is_an_error_of_that_request_alone() {
    let pipeline = make(&spec(ALL));
    let bad = Request { text: Some(vec![1.0; 3]), ..Request::default() }.check().unwrap();
    let requests = [Shop::request(1.0, 3).check().unwrap(), bad, Request::default().check().unwrap()];
    let wishes = [wanted(4), wanted(4), Wanted { diversity: Some(2.0), ..wanted(4) }];
    let answers = pipeline.recommend(&requests, &wishes, &world(), &no_features, &mut Scratch::default());
    assert_eq!(answers[0].as_ref().unwrap().items.len(), 4);
    assert!(matches!(answers[1], Err(AnswerError::Request(RequestError::Width { len: 3, need: 4, .. }))));
    assert!(matches!(answers[2], Err(AnswerError::Rerank(RerankError::Diversity { .. }))));
    for k in [0, 1_000_000] {
        let error = ask(&pipeline, Request::default(), wanted(k), &world()).unwrap_err();
        assert!(matches!(error, AnswerError::Request(RequestError::K { .. })));
    }
}

#[test]
fn stage_by_stage_and_in_batches_is_the_same() {
    let pipeline = make(&spec(ALL));
    let requests: Vec<Checked> = (0..USERS).map(|user| Shop::request(1.0, user).check().unwrap()).collect();
    let wishes: Vec<Wanted> =
        (0..USERS as usize).map(|user| Wanted { seed: user as u64, ..wanted(3 + user % 4) }).collect();
    let (mut scratch, world) = (Scratch::default(), world());
    let together = pipeline.recommend(&requests, &wishes, &world, &no_features, &mut scratch);
    for ((request, wish), answer) in requests.iter().zip(&wishes).zip(together) {
        let retrieve = |source| {
            let one = std::slice::from_ref(request);
            pipeline.retrieve(source, one, &[*wish], &world, &mut Scratch::default()).remove(0)
        };
        let outcomes = (0..pipeline.sources().len()).map(retrieve).collect();
        let gathered = pipeline.gather(request, outcomes, wish, &world);
        let scored = pipeline.score(gathered, &no_features).unwrap();
        assert_eq!(pipeline.answer(request, &scored, wish, &world), answer);
    }
}

struct Broken;

impl Source for Broken {
    fn propose(&self, _: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        Err(SourceError::Index(IndexError::Zero { vector: 0 }))
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Model
    }
}

#[test]
fn late_and_failed_sources_degrade_the_answer_and_are_no_errors() {
    let mut sources = sources(&SHOP);
    sources.insert("broken".to_owned(), Arc::new(Broken));
    let spec = spec(r#"{"sources": [{"source": "broken"}, {"source": "factors"}, {"source": "popular"}]}"#);
    let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &schema() };
    let pipeline = Pipeline::new(&spec, &models).unwrap();
    let request = Shop::request(1.0, 0).check().unwrap();
    let mut outcomes: Vec<Outcome> = (0..3)
        .map(|source| {
            pipeline
                .retrieve(source, std::slice::from_ref(&request), &[wanted(5)], &world(), &mut Scratch::default())
                .remove(0)
        })
        .collect();
    outcomes[1] = Outcome::Late;
    let gathered = pipeline.gather(&request, outcomes, &wanted(5), &world());
    let scored = pipeline.score(gathered, &no_features).unwrap();
    let answer = pipeline.answer(&request, &scored, &wanted(5), &world()).unwrap();
    assert!(answer.degraded && answer.items.len() == 5);
    assert_eq!(codes(&answer), [Code::SourceFailed, Code::SourceLate]);
    assert_eq!(answer.items[0].features[..6], [None; 6]);
}

#[test]
fn every_item_says_why() {
    let text =
        ALL.replace("]}", r#"], "rules": [{"name": "odd ones", "filter": "taste == \"odd\"", "effect": "bury"}]}"#);
    let pipeline = make(&spec(&text));
    let answer = ask(&pipeline, Shop::request(1.0, 1), Wanted { explain: true, ..wanted(30) }, &world()).unwrap();
    for item in &answer.items {
        let explanation = item.explanation.as_ref().unwrap();
        assert!(!explanation.sources.is_empty());
        assert_eq!(explanation.rules.len(), (item.row % 2) as usize);
        let sum: f32 = explanation.contributions.iter().map(|share| share.value).sum();
        assert!((sum - item.score).abs() < 1e-5);
        assert_eq!(item.features.len(), pipeline.features().len());
        assert_eq!(explanation.model_version, "ranks");
    }
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
}

#[test]
fn the_callers_own_items_are_ordered_all_of_them() {
    let pipeline = make(&spec(ALL));
    let own = [4, 59, 2, 7, 33, 4];
    let allowed = Allowed::new(ITEMS as usize, own);
    let world = World { allowed: Some(&allowed), include: &own, ..world() };
    let request = Request { excluded: vec![], ..Shop::request(1.0, 1) };
    let mut found = rows(&ask(&pipeline, request, wanted(own.len()), &world).unwrap());
    assert!(found[0] % 2 == 1, "{found:?}");
    found.sort_unstable();
    assert_eq!(found, [2, 4, 7, 33, 59]);
}

#[test]
fn a_pinned_item_comes_though_no_source_knows_it_unless_it_was_seen() {
    let text = r#"{"sources": [{"source": "factors", "candidates": 1}],
        "rules": [{"name": "new", "items": [57], "effect": {"pin": {"position": 1}}}]}"#;
    let pipeline = make(&spec(text));
    let answer = ask(&pipeline, Shop::request(1.0, 2), wanted(2), &world()).unwrap();
    assert_eq!((answer.items[0].row, answer.items.len()), (57, 2));
    let seen = Request { excluded: vec![57], ..Shop::request(1.0, 2) };
    assert!(!rows(&ask(&pipeline, seen, wanted(2), &world()).unwrap()).contains(&57));
}

/// Examples from the pipeline's own features: users act on what has the parity of their own.
fn trained(pipeline: &Pipeline) -> LogisticBlend {
    let mut examples = Examples::new(pipeline.features());
    for user in 0..USERS {
        let answer = ask(pipeline, Shop::request(1.0, user), wanted(40), &world()).unwrap();
        for item in &answer.items {
            let features: Vec<f32> = item.features.iter().map(|value| value.unwrap_or(f32::NAN)).collect();
            let acted = item.row % 2 == user % 2 && (item.row + user) % 3 > 0;
            examples.push(&features, acted, user.into(), 1.0).unwrap();
        }
    }
    LogisticBlend::train("blend 1", &examples, &LogisticOptions::default()).unwrap().0
}

#[test]
fn a_trained_blend_scores_with_probabilities_and_explores_by_its_doubts() {
    let blend = trained(&make(&spec(ALL)));
    let text = ALL.replace(
        "]}",
        r#"], "blend": {"model": {"name": "b"}}, "exploration": {"thompson": {"pool": 20}}, "diversity": {"amount": 0.2}}"#,
    );
    let pipeline = make_with(&SHOP, &spec(&text), &[("b", &blend)]).unwrap();
    assert_eq!(pipeline.model_version(), "blend 1");
    let wish = |seed| Wanted { seed, explain: true, ..wanted(8) };
    let answer = ask(&pipeline, Shop::request(1.0, 5), wish(1), &world()).unwrap();
    assert_eq!(answer, ask(&pipeline, Shop::request(1.0, 5), wish(1), &world()).unwrap());
    let lists: Vec<_> =
        (0..20).map(|seed| rows(&ask(&pipeline, Shop::request(1.0, 5), wish(seed), &world()).unwrap())).collect();
    assert!(lists.iter().any(|list| *list != lists[0]));
    assert!(answer.items.iter().all(|item| item.propensity > 0.0 && item.propensity <= 1.0 && item.score < 1.0));
    for item in &answer.items {
        let sum: f32 = item.explanation.as_ref().unwrap().contributions.iter().map(|share| share.value).sum();
        assert!((1.0 / (1.0 + (-sum).exp()) - item.score).abs() < 1e-4);
    }
    let fewer = text.replace(r#"{"source": "ease"}, "#, "");
    let error = make_with(&SHOP, &spec(&fewer), &[("b", &blend)]).err();
    assert!(matches!(error, Some(PipelineError::Blend(ScoreError::Unknown { .. }))), "{error:?}");
}

#[test]
fn only_ratios_of_event_weights_matter_through_the_whole_pipeline() {
    let text = ALL.replace("]}", r#"], "diversity": {"amount": 0.3}}"#);
    let lists = |scale: f32| {
        let shop = Shop::new(scale);
        let pipeline = make_with(&shop, &spec(&text), &[]).unwrap();
        let list = |user| ask(&pipeline, Shop::request(scale, user), Wanted { explain: true, ..wanted(10) }, &world());
        let nobody = ask(&pipeline, Request::default(), wanted(10), &world());
        (0..USERS).map(list).chain([nobody]).collect::<Result<Vec<Answer>, AnswerError>>().unwrap()
    };
    let once = lists(1.0);
    assert_eq!(once, lists(2.0), "scores, features and reasons, to the bit");
    let thrice = lists(3.0);
    assert!(once.iter().zip(&thrice).all(|(one, three)| rows(one) == rows(three)));
}

#[test]
fn features_of_the_caller_take_part_and_must_be_there() {
    let text = r#"{"sources": [{"source": "popular"}], "features": ["sentiment"]}"#;
    let pipeline = make(&spec(text));
    let (request, wish) = ([Request::default().check().unwrap()], [wanted(3)]);
    let features = |rows: &[u32]| vec![rows.iter().map(|row| *row as f32).collect::<Vec<f32>>()];
    let answer = pipeline.recommend(&request, &wish, &world(), &features, &mut Scratch::default()).remove(0).unwrap();
    assert_eq!(pipeline.features().last().unwrap(), "sentiment");
    assert!(answer.items.iter().all(|item| item.features.last() == Some(&Some(item.row as f32))));
    let missing = pipeline.recommend(&request, &wish, &world(), &no_features, &mut Scratch::default()).remove(0);
    assert!(matches!(missing, Err(AnswerError::Score(ScoreError::Extra { len: 0, .. }))));
}

#[test]
fn descriptions_are_plain_data_and_wrong_ones_are_named() {
    let full = r#"{"sources": [{"source": "factors", "candidates": 9}, {"source": "popular"}], "features": ["x"],
        "blend": {"ranks": {"weights": {"factors": 2.0}}}, "diversity": {"amount": 0.1, "by": {"attribute": "tags"}},
        "rules": [{"name": "r", "effect": {"quota": {"attribute": "taste", "at_most": 3}}}],
        "exploration": {"epsilon": {"epsilon": 0.1, "pool": 10}}}"#;
    let read = spec(full);
    assert_eq!(spec(&serde_json::to_string(&read).unwrap()), read);
    assert!(make_with(&SHOP, &read, &[]).is_ok());
    assert!(serde_json::from_str::<PipelineSpec>(r#"{"sources": [], "sauce": 1}"#).is_err());
    let error = |from: &str, to: &str| make_with(&SHOP, &spec(&full.replace(from, to)), &[]).err().unwrap();
    assert!(
        matches!(error("\"popular\"", "\"populr\""), PipelineError::UnknownSource { name, .. } if name == "populr")
    );
    assert_eq!(error("\"popular\"", "\"factors\""), PipelineError::Twice { name: "factors".into() });
    assert!(matches!(error("\"candidates\": 9", "\"candidates\": 0"), PipelineError::Candidates { candidates: 0, .. }));
    assert!(matches!(
        error("\"factors\": 2.0", "\"latest\": 2.0"),
        PipelineError::Blend(ScoreError::SourceWeight { .. })
    ));
    assert!(matches!(error("\"amount\": 0.1", "\"amount\": 1.1"), PipelineError::Diversity { .. }));
    assert!(matches!(error("\"attribute\": \"tags\"", "\"attribute\": \"tag\""), PipelineError::Attribute { .. }));
    let rule = error("\"attribute\": \"taste\"", "\"attribute\": \"price\"");
    assert!(matches!(rule, PipelineError::Rule(error) if matches!(error.problem, RuleProblem::Attribute { .. })));
    assert!(matches!(error("\"epsilon\": 0.1", "\"epsilon\": 1.1"), PipelineError::Exploration(_)));
    let thompson = error(r#"{"epsilon": {"epsilon": 0.1, "pool": 10}}"#, r#"{"thompson": {"pool": 10}}"#);
    assert_eq!(thompson, PipelineError::Unsure);
    let unknown = error(r#"{"ranks": {"weights": {"factors": 2.0}}}"#, r#"{"model": {"name": "b"}}"#);
    assert_eq!(unknown.to_string(), "there is no trained blend \"b\": there are none; train one, or blend by ranks");
    assert_eq!(make_with(&SHOP, &spec(r#"{"sources": []}"#), &[]).err(), Some(PipelineError::Sources { count: 0 }));
}

/// Says always the same.
struct Fixed(Vec<u32>, bool);

impl Source for Fixed {
    fn propose(&self, batch: &Batch<'_>, _: &mut Scratch) -> Result<Vec<Proposals>, SourceError> {
        let proposal = |(place, row): (usize, &u32)| Scored { row: *row, score: -(place as f32) };
        let list = |request: &Checked| {
            let knows = self.1 || !request.get().items.is_empty();
            knows.then(|| self.0.iter().enumerate().map(proposal).collect())
        };
        Ok(batch.requests.iter().map(list).collect())
    }

    fn reason(&self, _: &Checked, _: u32) -> Reason {
        Reason::Model
    }

    fn serves_everyone(&self) -> bool {
        self.1
    }
}

#[test]
fn taste_orders_the_callers_own_items_and_what_everybody_likes_breaks_ties() {
    let (likes, popular) = (vec![2, 3, 5, 7, 8, 9], vec![9, 8, 7, 5, 3, 2, 4, 6]);
    let fixed = |list: &Vec<u32>, for_everyone| Arc::new(Fixed(list.clone(), for_everyone)) as Arc<dyn Source>;
    let names = ["taste", "popular", "trending", "latest"];
    let sources =
        names.map(|name| (name.to_owned(), fixed(if name == "taste" { &likes } else { &popular }, name != "taste")));
    let sources = BTreeMap::from(sources);
    let text = r#"{"sources": [{"source": "taste"}, {"source": "popular"}, {"source": "trending"}, {"source": "latest"}],
        "blend": {"ranks": {"weights": {"taste": 0.8, "popular": 0.3, "trending": 0.3, "latest": 0.3}}}}"#;
    let models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &schema() };
    let pipeline = Pipeline::new(&spec(text), &models).unwrap();
    let include = [2, 3, 4, 5, 6, 7, 8, 9];
    let among = Allowed::new(ITEMS as usize, include);
    let ranked = World { allowed: Some(&among), include: &include, ..world() };
    let known = Request { items: vec![1], weights: vec![1.0], times: vec![NOW], ..Request::default() };
    let explained = Wanted { explain: true, ..wanted(8) };
    let answer = ask(&pipeline, known.clone(), explained, &ranked).unwrap();
    assert_eq!(rows(&answer), [2, 3, 5, 7, 8, 9, 4, 6], "his taste, and behind it what is popular");
    for item in &answer.items {
        let sum: f32 = item.explanation.as_ref().unwrap().contributions.iter().map(|share| share.value).sum();
        assert!((sum - item.score).abs() < 1e-5, "the reasons add up: {sum} {}", item.score);
    }
    let nobody = ask(&pipeline, Request::default(), wanted(8), &ranked).unwrap();
    assert_eq!(rows(&nobody), popular, "of whom nothing is known gets what everybody likes");
    let list = ask(&pipeline, known, wanted(8), &World { include: &[], ..ranked }).unwrap();
    assert_eq!(rows(&list)[0], 9, "a list is still a mixture");
}
