//! What is in a list, and what is said of it.

use attune_api::ErrorCode;
use attune_api::log::{Event, Record};
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{
    Context, HistoryEvent, RankRequest, RecommendRequest, SimilarRequest, TrendingRequest,
};
use attune_store::relational::PersonId;

use crate::shop::{Shop, call, codes, id, ids, is_war};

#[tokio::test(flavor = "multi_thread")]
async fn three_clicks_change_a_new_users_list_at_once() {
    let shop = Shop::open().await;
    let before = shop.list("zoe").await;
    assert_eq!((before.items.len(), codes(&before), before.degraded), (10, vec!["no_history"], false));
    let reasons = before.items.iter().flat_map(|item| &item.explain.as_ref().unwrap().sources);
    assert!(reasons.clone().all(|said| ["popular", "trending", "latest"].contains(&said.reason.as_str())));
    assert!(before.items.iter().any(|item| !is_war(&item.item_id)), "everybody likes both");

    for number in [0, 6, 12] {
        shop.act("zoe", "click", number).await;
    }
    let after = shop.list("zoe").await;
    assert_eq!((after.items.len(), after.degraded), (10, false));
    let war = after.items.iter().filter(|item| is_war(&item.item_id)).count();
    assert!(war >= 8, "{:?}", ids(&after));
    assert!([0, 6, 12].iter().all(|number| !ids(&after).contains(&id(*number).as_str())), "seen");
    assert!(codes(&after).is_empty());
    let because = &after.items[0].explain.as_ref().unwrap().sources;
    let clicked = [0, 6, 12].map(id);
    assert!(because.iter().any(|said| said.item_id.as_ref().is_some_and(|item| clicked.contains(item))), "{because:?}");
    assert!(after.sources.values().sum::<f32>() > 0.99);
    assert_ne!(before.request_id, after.request_id);

    // Disliking one kind brings the other back.
    for number in [2, 4, 8, 10, 14] {
        shop.act("zoe", "dislike", number).await;
    }
    let sorry = shop.list("zoe").await;
    assert!(sorry.items.iter().filter(|item| is_war(&item.item_id)).count() < war, "{:?}", ids(&sorry));
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_served_by_what_they_say() {
    let shop = Shop::open().await;
    let click = |number| HistoryEvent { item_id: id(number), ..HistoryEvent::default() };
    let history = Some(vec![click(1), click(3), click(99)]);
    let list = shop.ask(RecommendRequest { history, k: Some(8), ..RecommendRequest::default() }).await;
    assert!(ids(&list).iter().filter(|item| !is_war(item)).count() >= 6, "{:?}", ids(&list));
    assert!(!ids(&list).contains(&"film-1"));
    assert_eq!(codes(&list), ["items_unknown"]);

    let looking = Context { item_id: Some(id(5)), ..Context::default() };
    let list = shop.ask(RecommendRequest { context: Some(looking), ..RecommendRequest::default() }).await;
    assert!(!ids(&list).contains(&"film-5") && !is_war(&list.items[0].item_id), "{:?}", ids(&list));

    let session = Context { session_item_ids: Some(vec![id(4), id(8)]), ..Context::default() };
    let list = shop.ask(RecommendRequest { context: Some(session), ..RecommendRequest::default() }).await;
    assert!(list.sources.contains_key("session"), "{:?}", list.sources);
    assert!(is_war(&list.items[0].item_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_exclusions_hold_within_the_search() {
    let shop = Shop::open().await;
    shop.act("ada", "click", 0).await;
    let request = RecommendRequest {
        user_id: Some("ada".into()),
        filter: Some(r#"genre == "love" and year >= 1995"#.into()),
        exclude_ids: Some(vec![id(29), "never heard of".into()]),
        ..RecommendRequest::default()
    };
    let list = shop.ask(request.clone()).await;
    assert_eq!(list.items.len(), 2, "{:?}", ids(&list));
    assert!(ids(&list).iter().all(|item| ["film-25", "film-27"].contains(item)));
    assert_eq!(codes(&list), ["filter_too_narrow"]);
    for (filter, word) in [("genre == ", "column 10"), ("gnre == \"war\"", "did you mean"), ("year == \"x\"", "number")]
    {
        let request = RecommendRequest { filter: Some(filter.into()), ..request.clone() };
        let error = shop.service.recommend(&call(), request).await.unwrap_err();
        assert_eq!((error.code, &*error.fields[0].pointer), (ErrorCode::Invalid, "/filter"));
        assert!(error.detail.contains(word), "{error}");
    }
    let request = RecommendRequest { pipeline: Some("odd".into()), ..request };
    let error = shop.service.recommend(&call(), request).await.unwrap_err();
    assert!(error.detail.contains("there are default"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_items_are_ordered_and_neighbours_found() {
    let shop = Shop::open().await;
    shop.act("ada", "click", 0).await;
    shop.act("ada", "click", 2).await;
    let item_ids = vec![id(1), id(4), id(3), id(2), id(6), "nothing".into()];
    let rank = RankRequest { user_id: Some("ada".into()), item_ids, ..RankRequest::default() };
    let list = shop.service.rank(&call(), rank.clone()).await.unwrap();
    assert_eq!(list.items.len(), 5, "{:?}", ids(&list));
    assert!(is_war(ids(&list)[0]) && !is_war(ids(&list)[4]), "{:?}", ids(&list));
    assert!(ids(&list).contains(&"film-2"), "what was seen can be ranked");
    assert!(codes(&list).contains(&"items_unknown"));
    let short = shop.service.rank(&call(), RankRequest { k: Some(2), ..rank }).await.unwrap();
    assert_eq!(ids(&short), ids(&list)[..2]);

    let similar = |item_id: String| SimilarRequest { item_id, k: Some(5), ..SimilarRequest::default() };
    let list = shop.service.similar(&call(), similar(id(3))).await.unwrap();
    assert!(list.items.len() == 5 && ids(&list).iter().all(|item| !is_war(item)), "{:?}", ids(&list));
    assert!(codes(&list).is_empty());
    let error = shop.service.similar(&call(), similar("nothing".into())).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Absent);

    for person in 0..9 {
        shop.act(&format!("fan-{person}"), "like", 29).await;
    }
    let ask = TrendingRequest { k: Some(3), ..TrendingRequest::default() };
    shop.until("film 29 rises", async || {
        let list = shop.service.trending(&call(), ask.clone()).await.unwrap();
        list.items[0].item_id == "film-29"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_person_is_known_joined_and_forgotten() {
    let shop = Shop::open().await;
    let device = || PersonId::Anonymous("device".into());
    for number in [1, 3, 7] {
        shop.act_as(device(), "click", number).await;
    }
    let anonymous = RecommendRequest { anonymous_id: Some("device".into()), ..RecommendRequest::default() };
    let list = shop.ask(anonymous.clone()).await;
    assert!(!ids(&list).contains(&"film-1") && !is_war(&list.items[0].item_id), "{:?}", ids(&list));

    let (from, user) = (shop.subject(device()).await, shop.subject(PersonId::User("bea".into())).await);
    shop.append(&user, Record::Join { from }).await;
    shop.until("bea has what the device did", async || codes(&shop.list("bea").await).is_empty()).await;
    assert!(!ids(&shop.list("bea").await).contains(&"film-1"));

    shop.append(&user, Record::Tombstone).await;
    shop.cache.clear(&shop.tenant, &attune_api::log::recent_list(&user)).await.unwrap();
    shop.until("bea is forgotten", async || codes(&shop.list("bea").await) == ["no_history"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_list_is_logged_with_what_it_was_made_of() {
    let mut shop = Shop::open().await;
    let unknown = shop.list("nobody").await;
    shop.act("ada", "click", 0).await;
    let surface = Some(Context { surface: Some("home".into()), ..Context::default() });
    let known = shop
        .ask(RecommendRequest { user_id: Some("ada".into()), context: surface, ..RecommendRequest::default() })
        .await;
    shop.stop().await;
    let exposures = shop.exposures().await;
    let of = |request_id: &str| exposures.iter().find(|(_, exposure)| exposure.request_id == request_id).unwrap();
    assert_eq!(of(&unknown.request_id).0, format!("list/{}", unknown.request_id));
    let (subject, exposure) = of(&known.request_id);
    assert_eq!(*subject, shop.subject(PersonId::User("ada".into())).await);
    assert_eq!((exposure.surface.as_deref(), &*exposure.pipeline), (Some("home"), "default"));
    let shown: Vec<&str> = exposure.items.iter().map(|item| item.item_id.as_str()).collect();
    assert_eq!(shown, ids(&known));
    assert!(exposure.items.iter().all(|item| item.propensity == 1.0), "nothing was explored");
    assert!(exposure.items.iter().all(|item| item.features.len() == exposure.feature_names.len()));
    assert!(exposure.feature_names.contains(&"semantic".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_lists_is_told_and_logged_with_the_next() {
    let shop = Shop::open().await;
    let surface = Some("home".to_owned());
    let context = Some(Context { surface, ..Context::default() });
    let ask = RecommendRequest { context, k: Some(3), explain: Some(true), ..RecommendRequest::default() };
    let first = shop.ask(ask.clone()).await;
    let (top, list) = (first.items[0].item_id.clone(), first.request_id.clone());
    let before = first.items[0].explain.as_ref().unwrap().stats;
    let all = RecommendRequest { k: Some(30), ..ask };
    let stats = async || {
        let list = shop.ask(all.clone()).await;
        let item = list.items.into_iter().find(|item| item.item_id == top).unwrap();
        item.explain.unwrap().stats
    };
    shop.until("the list counts", async || stats().await.exposures > before.exposures).await;
    let event = |id: &str, kind: &str| Event {
        event_id: id.to_owned(),
        r#type: kind.to_owned(),
        item_id: Some(top.clone()),
        request_id: Some(list.clone()),
        ..Event::default()
    };
    let subject = shop.subject(PersonId::User("zoe".into())).await;
    for (id, kind) in [("s-1", "click"), ("s-1", "click"), ("s-2", "purchase")] {
        shop.append(&subject, Record::Event(event(id, kind))).await;
    }
    shop.until("what became of it counts", async || stats().await.conversions > 0).await;
    let stats = stats().await;
    assert_eq!((stats.clicks, stats.conversions), (before.clicks + 1, 1), "once each");
    let mut logged = None;
    shop.until("a list is logged with the rates", async || {
        shop.ask(all.clone()).await;
        for (_, exposure) in shop.exposures().await {
            let place = exposure.feature_names.iter().position(|name| name == "click_rate").unwrap();
            let rates = exposure.items.iter().filter(|item| item.item_id == top);
            logged = rates.filter_map(|item| item.features[place]).next_back().or(logged);
        }
        logged.is_some_and(|rate| rate > 0.0)
    })
    .await;
}
