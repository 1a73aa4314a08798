//! Too much work, and callers that make no sense.

use std::sync::Arc;

use attune_api::ErrorCode;
use attune_api::recommendation::Recommendation;
use attune_api::rest::recommendation::RecommendRequest;
use attune_recommendation::RecommendationConfig;

use crate::shop::{Shop, call, config};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_work_that_is_too_much() {
    let shop = Shop::empty(RecommendationConfig { threads: 1, queue_max: 1, ..config() }).await;
    let service = Arc::clone(&shop.service);
    let lists = (0..400).map(|_| {
        let service = service.clone();
        tokio::spawn(async move { service.recommend(&call(), RecommendRequest::default()).await.map(|_| ()) })
    });
    let lists: Vec<_> = lists.collect();
    let mut refused = 0;
    for list in lists {
        match list.await.unwrap() {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.code, ErrorCode::Overloaded);
                assert!(error.retry_after.is_some());
                refused += 1;
            }
        }
    }
    assert!(refused < 400, "some are answered");
    let strange = attune_api::Call { tenant: "No Tenant".into(), ..call() };
    let error = shop.service.recommend(&strange, RecommendRequest::default()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Invalid);
}
