//! Snapshots, and what a start makes without one.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use attune_api::log::Record;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::{RecommendRequest, TrendingRequest};
use attune_ranking::data::Worth;
use attune_recommendation::RecommendationConfig;
use attune_store::embedded::events::Log;
use attune_store::events::{EventLog, Settings};
use attune_store::relational::{PersonId, Write};

use crate::shop::{Shop, call, config, ids};

/// What each source but those that fade says of each film, to everybody and to two people.
async fn said(shop: &Shop) -> BTreeMap<(&'static str, String, String), i64> {
    let mut said = BTreeMap::new();
    for user in ["", "person-3", "zoe"] {
        let user_id = Some(user.to_owned()).filter(|user| !user.is_empty());
        let ask = RecommendRequest { user_id, k: Some(30), explain: Some(true), ..RecommendRequest::default() };
        for item in shop.ask(ask).await.items {
            for reason in item.explain.unwrap().sources {
                if ["popular", "related", "semantic"].contains(&reason.source.as_str()) {
                    let score = (1e4 * reason.score).round() as i64;
                    said.insert((user, item.item_id.clone(), reason.source), score);
                }
            }
        }
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_goes_on_from_the_snapshot_or_replays() {
    let mut shop = Shop::open().await;
    shop.act("zoe", "click", 2).await;
    shop.stop().await;
    shop.start(config()).await;
    let all = said(&shop).await;
    assert!(all.len() > 100, "{}", all.len());
    shop.restart(config()).await;
    assert_eq!(said(&shop).await, all);

    shop.stop().await;
    shop.act("zoe", "dislike", 4).await;
    shop.start(config()).await;
    assert!(!ids(&shop.list("zoe").await).contains(&"film-4"), "the tail of the log counts");
    let all = said(&shop).await;

    shop.stop().await;
    let path = shop.folder.path().join("recommendation/shop/state.bin");
    let mut damaged = fs::read(&path).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&path, damaged).unwrap();
    shop.start(config()).await;
    assert_eq!(said(&shop).await, all, "the log says the same again");

    // Other weights make another state: the log is folded again, and nothing is imported twice.
    let other = RecommendationConfig { seen: vec!["purchase".into()], ..config() };
    shop.restart(other).await;
    let ask = RecommendRequest { user_id: Some("zoe".into()), k: Some(30), ..RecommendRequest::default() };
    assert!(ids(&shop.ask(ask).await).contains(&"film-2"), "clicked films return");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_after_the_log_lost_its_end_counts() {
    let mut shop = Shop::open().await;
    shop.stop().await;
    shop.log = Arc::new(Log::open(&shop.folder.path().join("restored"), Settings::default()).await.unwrap());
    shop.start(config()).await;
    let next = shop.log.bounds(&shop.tenant).await.unwrap()[0].next;
    assert!(next > 120, "it goes on behind what the snapshot knows, at {next}");
    let popular = async |shop: &Shop| said(shop).await.get(&("", "film-2".to_owned(), "popular".to_owned())).copied();
    let was = popular(&shop).await;
    for person in 0..5 {
        shop.act(&format!("newcomer-{person}"), "purchase", 2).await;
    }
    shop.until("five purchases count", async || popular(&shop).await > was).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_makes_the_same_state_and_brings_nobody_back() {
    let mut shop = Shop::open().await;
    shop.act("zoe", "click", 2).await;
    let forgotten = shop.subject(PersonId::User("person-3".into())).await;
    shop.append(&forgotten, Record::Tombstone).await;
    shop.act("zoe", "rating", 5).await;
    shop.stop().await;
    // The snapshot is behind the log, as after a kill.
    shop.act("zoe", "purchase", 4).await;
    let folder = shop.folder.path().join("recommendation");
    let replay = async || {
        attune_recommendation::replay(&*shop.log, &shop.tenant, &config(), Worth::default(), &folder).await.unwrap()
    };
    let first = replay().await;
    assert_eq!(first.before, Ok(first.digest));
    assert_eq!((first.events, first.users), (123, 20), "zoe has come, and one has gone");
    fs::remove_dir_all(&folder).unwrap();
    let second = replay().await;
    assert_eq!((second.digest, second.before), (first.digest, Err("there is none yet".to_owned())));
    shop.start(config()).await;
    let list = shop.ask(RecommendRequest { user_id: Some("person-3".into()), ..RecommendRequest::default() }).await;
    assert!(crate::shop::codes(&list).contains(&"no_history"), "{list:?}");
    let seen = ["film-2", "film-4", "film-5"];
    assert!(ids(&shop.list("zoe").await).iter().all(|id| !seen.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_down_while_a_tenant_was_deleted_forgets_it_at_its_start() {
    let mut shop = Shop::open().await;
    // Another replica, which had the tenant too and goes on with others.
    let (another, following) = shop.replica();
    shop.until("the other replica answers", async || {
        another.trending(&call(), TrendingRequest::default()).await.is_ok()
    })
    .await;
    following.stop().await;
    shop.stop().await;
    let of = |folder: &str| shop.folder.path().join(folder).join("recommendation");
    let (ours, theirs) = (of("."), of("another"));
    let others = theirs.join("not a tenant");
    fs::create_dir(&others).unwrap();
    assert!(ours.join("shop/state.bin").is_file() && theirs.join("shop/state.bin").is_file());

    // Started again with its tenant still there, a replica keeps what it has.
    let (_, following) = shop.replica();
    following.stop().await;
    assert!(theirs.join("shop/state.bin").is_file());
    shop.relational.commit(&shop.tenant, vec![Write::DeleteTenant]).await.unwrap();
    let (_, following) = shop.replica();
    shop.until("the snapshot goes", async || !theirs.join("shop").exists()).await;
    following.stop().await;
    assert!(others.is_dir() && !theirs.join("shop").exists(), "nobody follows it, and nothing else goes");
    assert!(ours.join("shop/state.bin").is_file(), "the folder of another replica is its own");
}
