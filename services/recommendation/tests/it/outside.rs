//! Services of the shop's own as sources: heard beside the others, and missed without harm.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use attune_api::content::Condition;
use attune_api::definitions::{Defined, Definitions};
use attune_api::outside::{HISTORY_MAX, Outside, OutsideError, Wait};
use attune_api::recommendation::Recommendation;
use attune_api::rest::definitions::DefinitionBody;
use attune_api::rest::outside::{OutsideItem, OutsideRequest, OutsideTask};
use attune_api::rest::recommendation::{Context, HistoryEvent, RankRequest, RecommendRequest, RecommendResponse};
use attune_api::{Call, ErrorCode};
use serde_json::{Value, json};

use crate::shop::{Shop, call, codes, config, film, id, ids};

/// What an address answers; one that is not here never does.
type Answers = BTreeMap<&'static str, Result<Vec<OutsideItem>, OutsideError>>;

/// Answers as it is told, and remembers what it was asked.
#[derive(Default)]
struct Script {
    answers: Mutex<Answers>,
    asked: Mutex<Vec<OutsideRequest>>,
}

#[async_trait::async_trait]
impl Outside for Script {
    fn check(&self, _: &str, _: &str) -> Result<(), String> {
        Ok(())
    }

    async fn ask(&self, url: &str, request: &OutsideRequest, wait: Wait) -> Result<Vec<OutsideItem>, OutsideError> {
        self.asked.lock().unwrap().push(request.clone());
        let answer = self.answers.lock().unwrap().get(url).cloned();
        if let Some(answer) = answer {
            return answer;
        }
        tokio::time::sleep_until((Instant::now() + wait.at_most).min(wait.until).into()).await;
        Err(OutsideError::Late(wait.at_most))
    }
}

impl Script {
    fn answer(&self, url: &'static str, items: &[(String, f64)]) {
        let item = |(item_id, score): &(String, f64)| OutsideItem {
            item_id: item_id.clone(),
            score: *score,
            reason: Some(format!("{item_id} is ours")),
        };
        self.answers.lock().unwrap().insert(url, Ok(items.iter().map(item).collect()));
    }

    fn fail(&self, url: &'static str, error: OutsideError) {
        self.answers.lock().unwrap().insert(url, Err(error));
    }

    fn last(&self) -> OutsideRequest {
        self.asked.lock().unwrap().last().unwrap().clone()
    }
}

async fn open() -> (Shop, Arc<Script>) {
    let script = Arc::new(Script::default());
    (Shop::with_services(script.clone()).await, script)
}

async fn define(shop: &Shop, name: &str, spec: Value) {
    let body = DefinitionBody { spec, enabled: true };
    shop.service.define(&call(), Defined::Pipeline, name, body, Condition::None).await.unwrap();
    let ask = || RecommendRequest { pipeline: Some(name.to_owned()), ..RecommendRequest::default() };
    shop.until("it is served", async || shop.service.recommend(&call(), ask()).await.is_ok()).await;
}

async fn list(shop: &Shop, pipeline: &str, user: &str) -> RecommendResponse {
    let (user_id, pipeline) = (Some(user.to_owned()), Some(pipeline.to_owned()));
    shop.ask(RecommendRequest { user_id, pipeline, explain: Some(true), ..RecommendRequest::default() }).await
}

/// Popular films, and those of a service, which count for more.
fn proposing(timeout_ms: u64) -> Value {
    json!({
        "sources": [{"source": "popular"}, {"source": "ours", "candidates": 4}],
        "blend": {"ranks": {"weights": {"popular": 0.001, "ours": 1.0}}},
        "outside": {"ours": {"url": "propose", "timeout_ms": timeout_ms}},
    })
}

/// Popular films in an order that a service gives.
fn scoring() -> Value {
    json!({
        "sources": [{"source": "popular", "candidates": 20}, {"source": "judge", "candidates": 8}],
        "blend": {"ranks": {"weights": {"popular": 0.001, "judge": 1.0}}},
        "outside": {"judge": {"url": "score", "task": "score"}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_service_proposes_is_in_the_list_says_why_and_is_logged() {
    let (mut shop, script) = open().await;
    shop.act("ada", "click", 4).await;
    shop.put(attune_api::catalogue::Entry { is_hidden: true, version: 2, ..film(6) }).await;
    shop.until("film 6 is hidden", async || !ids(&shop.ask(all()).await).contains(&"film-6")).await;
    let items = [(id(3), 0.5), ("nowhere".to_owned(), 9.0), (id(4), 8.0), (id(6), 7.0), (id(29), 0.75), (id(3), 6.0)];
    script.answer("propose", &items);
    define(&shop, "mine", proposing(50)).await;
    let list = list(&shop, "mine", "ada").await;
    // What was seen, hidden, unknown or there already is left out; it costs the list nothing.
    assert_eq!((&ids(&list)[..2], list.degraded), (&["film-29", "film-3"][..], false), "{list:?}");
    assert_eq!(codes(&list), ["items_unknown"]);
    assert!(list.notes[0].detail.starts_with("ours: 1 of the items"), "{:?}", list.notes);
    assert!(list.sources["ours"] > 0.0 && list.sources["popular"] > 0.0);
    let first = list.items[0].explain.as_ref().unwrap();
    let said = first.sources.iter().find(|said| said.source == "ours").unwrap();
    assert_eq!((said.reason.as_str(), said.rank, said.score), ("outside", 1, 0.75));
    assert_eq!(said.detail.as_deref(), Some("film-29 is ours"));
    assert!(first.contributions.iter().any(|one| one.name == "ours" && one.value > 0.5), "{first:?}");

    shop.stop().await;
    let exposures = shop.exposures().await;
    let (_, shown) = exposures.iter().find(|(_, shown)| shown.request_id == list.request_id).unwrap();
    let place = shown.feature_names.iter().position(|name| name == "ours").unwrap();
    assert_eq!((shown.items[0].features[place], shown.items[1].features[place]), (Some(0.75), Some(0.5)));
    assert_eq!(shown.items[2].features[place], None);
}

fn all() -> RecommendRequest {
    RecommendRequest { k: Some(30), ..RecommendRequest::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_told_for_whom_and_where_a_list_is() {
    let (shop, script) = open().await;
    script.answer("propose", &[]);
    define(&shop, "mine", proposing(50)).await;
    let pipeline = Some("mine".to_owned());
    let context =
        Some(Context { surface: Some("home".into()), item_id: Some(id(7)), session_item_ids: Some(vec![id(1); 150]) });
    let ask = RecommendRequest { pipeline: pipeline.clone(), context, ..RecommendRequest::default() };
    let list = shop.ask(RecommendRequest { user_id: Some("ada".into()), k: Some(9), ..ask.clone() }).await;
    assert_eq!((codes(&list), list.degraded), (vec![], false), "nothing to say is no fault");
    let told = script.last();
    assert_eq!((told.request_id, told.k, told.user_id.as_deref()), (list.request_id.clone(), 9, Some("ada")));
    assert_eq!((told.tenant.as_str(), told.pipeline.as_str(), told.source.as_str()), ("shop", "mine", "ours"));
    assert_eq!((told.task, told.surface.as_deref(), told.item_id), (OutsideTask::Propose, Some("home"), Some(id(7))));
    assert_eq!((told.session_item_ids.len(), told.item_ids), (HISTORY_MAX, None));

    shop.ask(RecommendRequest { cursor: list.next_cursor, k: Some(9), ..ask.clone() }).await;
    assert_eq!(script.last().k, 18, "the first nine are not in the second page");

    shop.ask(RecommendRequest { anonymous_id: Some("device".into()), ..ask.clone() }).await;
    let told = script.last();
    assert_eq!((told.user_id, told.anonymous_id.as_deref(), told.k), (None, Some("device"), 10));
    let event = |number| HistoryEvent { item_id: id(number), ..HistoryEvent::default() };
    shop.ask(RecommendRequest { history: Some((0..150).map(event).collect()), k: Some(1), ..ask }).await;
    let told = script.last();
    let history = told.history.unwrap();
    assert_eq!((told.k, history.len(), history[0].item_id.as_str()), (4, HISTORY_MAX, "film-50"));

    // The caller's own items are the only ones that count.
    script.answer("propose", &[(id(11), 1.0), (id(2), 3.0), (id(5), 2.0)]);
    let rank = RankRequest { item_ids: vec![id(1), id(5), id(2)], pipeline, ..RankRequest::default() };
    let ranked = shop.service.rank(&call(), rank).await.unwrap();
    assert_eq!(ids(&ranked), ["film-2", "film-5", "film-1"]);
    assert_eq!(script.last().item_ids.unwrap(), [id(1), id(5), id(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_scores_what_the_others_propose() {
    let (mut shop, script) = open().await;
    script.answer("score", &[]);
    define(&shop, "judged", scoring()).await;
    let before = list(&shop, "judged", "ada").await;
    let told = script.last();
    assert_eq!((told.task, told.k), (OutsideTask::Score, 8));
    let candidates = told.item_ids.unwrap();
    assert_eq!(candidates.len(), 8);
    assert!(ids(&before)[..8].iter().all(|item| candidates.iter().any(|known| known == item)), "{candidates:?}");

    // The other way around; one of which it says nothing comes last of them, and one that it was not asked about not at all.
    let mut scores: Vec<(String, f64)> =
        candidates.iter().zip(0..).map(|(item, n)| (item.clone(), f64::from(n))).collect();
    let silent = scores.remove(7).0;
    scores.push(("film-0x".into(), 100.0));
    script.answer("score", &scores);
    let list = list(&shop, "judged", "ada").await;
    let expected: Vec<&str> = candidates[..7].iter().rev().map(String::as_str).collect();
    assert_eq!((&ids(&list)[..7], list.degraded), (&expected[..], false));
    assert!(ids(&list)[7..].contains(&silent.as_str()) && codes(&list) == ["no_history"], "{:?}", list.notes);
    let said = &list.items[0].explain.as_ref().unwrap().sources;
    assert!(
        said.iter().any(|said| said.source == "judge" && said.reason == "outside" && said.score == 6.0),
        "{said:?}"
    );
    shop.stop().await;
    let exposures = shop.exposures().await;
    let (_, shown) = exposures.iter().find(|(_, shown)| shown.request_id == list.request_id).unwrap();
    let place = shown.feature_names.iter().position(|name| name == "judge").unwrap();
    assert_eq!(shown.items[0].features[place], Some(6.0), "a feature like those of other sources");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_services_a_list_is_made_by_the_others() {
    let (shop, script) = open().await;
    let spec = json!({
        "sources": [{"source": "popular"}, {"source": "ours"}, {"source": "judge"}],
        "blend": {"ranks": {"weights": {"popular": 0.2, "ours": 0.4, "judge": 0.4}}},
        "outside": {"ours": {"url": "propose", "timeout_ms": 5}, "judge": {"url": "score", "task": "score", "timeout_ms": 5}},
    });
    define(&shop, "mine", spec).await;
    define(&shop, "plain", json!({"sources": [{"source": "popular"}]})).await;
    let plain = list(&shop, "plain", "zoe").await;
    let failed = |why: &str| OutsideError::Failed(why.to_owned());
    // Both hang at first.
    let list_of = async || list(&shop, "mine", "zoe").await;
    let late = list_of().await;
    assert_eq!((codes(&late), late.degraded), (vec!["no_history", "source_late", "source_late"], true));
    script.fail("propose", failed("answered 500 Internal Server Error"));
    script.fail("score", OutsideError::NotAsked("is not asked: 5 of its last 5 calls failed".into()));
    let ill = list_of().await;
    assert_eq!((codes(&ill), ill.degraded), (vec!["no_history", "source_failed", "source_failed"], true));
    assert_eq!(ill.notes[1].detail, "ours: it answered 500 Internal Server Error");
    assert_eq!(ill.notes[2].detail, "judge: it is not asked: 5 of its last 5 calls failed");
    for list in [late, ill] {
        let scores = |list: &RecommendResponse| list.items.iter().map(|item| item.score).collect::<Vec<f32>>();
        assert_eq!((ids(&list), scores(&list)), (ids(&plain), scores(&plain)));
        assert!(!list.sources.contains_key("ours"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_gets_his_list_in_his_time_though_a_service_hangs() {
    let (mut shop, _script) = open().await;
    define_slow(&shop).await;
    let soon = || Call { deadline: Some(Instant::now() + Duration::from_secs(4)), ..call() };
    let hanging = |filter: Option<&str>| RecommendRequest {
        pipeline: Some("mine".into()),
        filter: filter.map(str::to_owned),
        ..RecommendRequest::default()
    };
    let begun = Instant::now();
    let late = shop.service.recommend(&soon(), hanging(None)).await.unwrap();
    assert!(late.degraded && late.items.len() == 10 && begun.elapsed() >= Duration::from_secs(3), "{late:?}");
    // A request that makes no sense waits for nobody.
    let begun = Instant::now();
    let error = shop.service.recommend(&soon(), hanging(Some("genre =="))).await.unwrap_err();
    assert_eq!((error.code, begun.elapsed() < Duration::from_secs(3)), (ErrorCode::Invalid, true));

    // Nobody may be asked any more: what was defined before is served without.
    shop.outside = None;
    shop.restart(config()).await;
    let list = list(&shop, "mine", "zoe").await;
    assert!(list.degraded && list.items.len() == 10);
    assert!(list.notes.iter().any(|note| note.detail == "ours: it is not asked: no host may be asked from here"));
    let body = DefinitionBody { spec: proposing(50), enabled: true };
    let refused = shop.service.define(&call(), Defined::Pipeline, "mine", body, Condition::None).await.unwrap_err();
    assert_eq!(refused.fields[0].pointer, "/spec/outside/ours/url");
}

/// It may take as long as it likes, and is not waited for here.
async fn define_slow(shop: &Shop) {
    let body = DefinitionBody { spec: proposing(600_000), enabled: true };
    shop.service.define(&call(), Defined::Pipeline, "mine", body, Condition::None).await.unwrap();
    let ask = || RecommendRequest { pipeline: Some("mine".into()), ..RecommendRequest::default() };
    shop.until("it is served", async || {
        let at_once = Call { deadline: Some(Instant::now() + Duration::from_millis(50)), ..call() };
        let asked = shop.service.recommend(&at_once, ask()).await;
        asked.is_ok_and(|list| list.degraded)
    })
    .await;
}
