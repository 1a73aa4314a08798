//! Pipelines, rules and experiments, written through the service and seen in its lists.

use attune_api::content::Condition;
use attune_api::definitions::{Defined, Definitions};
use attune_api::recommendation::Recommendation;
use attune_api::rest::definitions::DefinitionBody;
use attune_api::rest::recommendation::RecommendRequest;
use attune_api::{ApiError, ErrorCode};
use attune_recommendation::Recommender;
use attune_store::PageRequest;
use serde_json::{Value, json};

use crate::shop::{Shop, call, config, id, ids};

pub async fn define(shop: &Shop, kind: Defined, name: &str, spec: Value) -> Result<u64, ApiError> {
    let body = DefinitionBody { spec, enabled: true };
    let saved = shop.service.define(&call(), kind, name, body, Condition::None).await?;
    Ok(saved.definition.version)
}

async fn ask(shop: &Shop, pipeline: Option<&str>, user: &str) -> Result<(String, Vec<String>), ApiError> {
    let request = RecommendRequest {
        user_id: Some(user.to_owned()),
        pipeline: pipeline.map(str::to_owned),
        ..RecommendRequest::default()
    };
    let list = shop.service.recommend(&call(), request).await?;
    let items = ids(&list).into_iter().map(str::to_owned).collect();
    Ok((list.pipeline, items))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_is_served_changed_kept_and_deleted() {
    let mut shop = Shop::open().await;
    let newest = json!({"sources": [{"source": "latest"}]});
    let first = define(&shop, Defined::Pipeline, "newest", newest.clone()).await.unwrap();
    shop.until("it is served", async || ask(&shop, Some("newest"), "zoe").await.is_ok()).await;
    let (name, list) = ask(&shop, Some("newest"), "zoe").await.unwrap();
    assert_eq!(name, "newest");

    // A bad one changes nothing.
    let bad =
        define(&shop, Defined::Pipeline, "newest", json!({"sources": [{"source": "lattest"}]})).await.unwrap_err();
    assert_eq!((bad.code, bad.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/spec/sources/0/source"));
    let kept = shop.service.definition(&call(), Defined::Pipeline, "newest").await.unwrap();
    assert_eq!((kept.version, &kept.spec), (first, &newest));

    let stale = Condition::Version(first + 1);
    let body = DefinitionBody { spec: newest.clone(), enabled: true };
    let refused = shop.service.define(&call(), Defined::Pipeline, "newest", body.clone(), stale).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PreconditionFailed);
    let saved =
        shop.service.define(&call(), Defined::Pipeline, "newest", body, Condition::Version(first)).await.unwrap();
    assert!(saved.definition.version > first && !saved.is_new);

    // A rule in its lists alone.
    let last = list.last().unwrap().clone();
    let pin = json!({"item_ids": [last], "pipelines": ["newest"], "effect": {"pin": {"position": 1}}});
    define(&shop, Defined::Rule, "up", pin).await.unwrap();
    shop.until("the rule counts", async || ask(&shop, Some("newest"), "zoe").await.unwrap().1[0] == last).await;
    assert_ne!(ask(&shop, None, "zoe").await.unwrap().1[0], last);

    shop.restart(config()).await;
    let (_, again) = ask(&shop, Some("newest"), "zoe").await.unwrap();
    assert_eq!(again[0], last, "what was defined is there from the first list on");

    let needed = shop.service.undefine(&call(), Defined::Pipeline, "newest", Condition::None).await.unwrap_err();
    assert_eq!(needed.code, ErrorCode::Conflict, "{needed}");
    shop.service.undefine(&call(), Defined::Rule, "up", Condition::None).await.unwrap();
    shop.service.undefine(&call(), Defined::Pipeline, "newest", Condition::None).await.unwrap();
    shop.until("it is gone", async || ask(&shop, Some("newest"), "zoe").await.is_err()).await;
    let gone = shop.service.undefine(&call(), Defined::Pipeline, "newest", Condition::None).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::Absent);

    let audit = shop.relational.audit(&shop.tenant, PageRequest::first(10)).await.unwrap();
    let done: Vec<&str> = audit.rows.iter().rev().map(|row| row.entry.action.as_str()).collect();
    assert_eq!(done, ["pipeline.put", "pipeline.put", "rule.put", "rule.delete", "pipeline.delete"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_serve_the_same_and_follow_each_other() {
    let shop = Shop::open().await;
    let (other, following) = shop.replica();
    let ask = async |service: &Recommender, who: &str| {
        let request = RecommendRequest { user_id: Some(who.to_owned()), ..RecommendRequest::default() };
        service.recommend(&call(), request).await.map(|list| list.pipeline)
    };
    shop.until("the other one is ready", async || ask(&other, "u").await.is_ok()).await;
    define(&shop, Defined::Pipeline, "newest", json!({"sources": [{"source": "latest"}]})).await.unwrap();
    let arms = json!([
        {"name": "as it was", "share": 0.5, "pipeline": "default"},
        {"name": "new", "share": 0.5, "pipeline": "newest"},
    ]);
    define(&shop, Defined::Experiment, "novelty", json!({ "arms": arms })).await.unwrap();
    let carried_out = async |service: &Recommender| {
        let mut served = Vec::new();
        for number in 0..10 {
            served.push(ask(service, &format!("user-{number}")).await.unwrap());
        }
        served.contains(&"newest".to_owned())
    };
    shop.until("the experiment is carried out", async || carried_out(&shop.service).await).await;
    shop.until("the other replica follows", async || carried_out(&other).await).await;
    for number in 0..200 {
        let who = format!("user-{number}");
        assert_eq!(ask(&shop.service, &who).await.unwrap(), ask(&other, &who).await.unwrap(), "{who}");
    }
    following.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_experiment_chooses_and_every_list_says_once_what_it_chose() {
    let shop = Shop::open().await;
    define(&shop, Defined::Pipeline, "newest", json!({"sources": [{"source": "latest"}]})).await.unwrap();
    let arms = json!([
        {"name": "as it was", "share": 0.5, "pipeline": "default"},
        {"name": "new", "share": 0.5, "pipeline": "newest"},
    ]);
    define(&shop, Defined::Experiment, "novelty", json!({ "arms": arms })).await.unwrap();
    let clash = define(&shop, Defined::Experiment, "other", json!({ "arms": arms })).await.unwrap_err();
    assert_eq!(clash.fields[0].pointer, "/spec/pipeline");
    let people: Vec<String> = (0..40).map(|number| format!("someone-{number}")).collect();
    shop.until("both arms are served", async || {
        let mut served = Vec::new();
        for who in &people {
            served.push(ask(&shop, None, who).await.unwrap().0);
        }
        served.contains(&"newest".to_owned()) && served.contains(&"default".to_owned())
    })
    .await;
    // Before he did anything, and after: the arm is the same.
    let before = ask(&shop, None, "someone-1").await.unwrap().0;
    shop.act("someone-1", "click", 3).await;
    assert_eq!(ask(&shop, None, "someone-1").await.unwrap().0, before);
    let nobody = shop.ask(RecommendRequest::default()).await;
    assert_eq!(nobody.pipeline, "default");

    let request = RecommendRequest { user_id: Some("someone-1".into()), ..RecommendRequest::default() };
    let list = shop.ask(request).await;
    assert!(!list.items.iter().any(|item| item.item_id == id(3)));
    shop.until("the list is logged", async || {
        shop.exposures().await.iter().any(|(_, exposure)| exposure.request_id == list.request_id)
    })
    .await;
    let exposures = shop.exposures().await;
    let of_list: Vec<_> = exposures.iter().filter(|(_, shown)| shown.request_id == list.request_id).collect();
    assert_eq!(of_list.len(), 1, "once a list");
    let arm = of_list[0].1.experiment.as_ref().unwrap();
    assert_eq!((arm.experiment.as_str(), arm.arm == "new"), ("novelty", list.pipeline == "newest"));
    let of_nobody = exposures.iter().find(|(_, shown)| shown.request_id == nobody.request_id);
    assert!(of_nobody.is_none_or(|(_, shown)| shown.experiment.is_none()));
}
