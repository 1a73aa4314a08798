//! Reviews: kept, judged, counted exactly, hidden by a moderator.

use attune_api::ErrorCode;
use attune_api::content::Content;
use attune_api::rest::content::{Review, ReviewBody, ReviewPatch};
use serde_json::json;

use crate::support::{Fixture, call};

async fn review(fixture: &Fixture, item: &str, text: &str) -> Review {
    let body = ReviewBody { text: text.into(), user_id: Some("ann".into()), rating: Some(4.0) };
    fixture.service.add_review(&call(), item, body).await.unwrap()
}

/// What the sentiment of an item has to be, from its reviews themselves.
fn expected(reviews: &[Review]) -> Option<f64> {
    let polarity = |review: &Review| {
        let scores = &review.sentiment.as_ref().unwrap().scores;
        f64::from(scores["positive"]) - f64::from(scores["negative"])
    };
    let parts: i64 = reviews.iter().map(|review| (polarity(review) * 1e6).round() as i64).sum();
    (!reviews.is_empty()).then(|| parts as f64 / 1e6 / (reviews.len() as f64 + 5.0))
}

#[tokio::test]
async fn reviews_are_judged_and_counted_into_item_index_and_catalogue() {
    let fixture = Fixture::new().await;
    let version = fixture.put("a", json!({"title": "a film"})).await.item.version;
    fixture.put("b", json!({"title": "b film"})).await;
    let mut reviews = Vec::new();
    for text in ["very good", "bad", "it was sad", "a happy film"] {
        reviews.push(review(&fixture, "a", text).await);
    }
    let judged = reviews[0].sentiment.as_ref().unwrap();
    assert!((judged.scores.values().sum::<f32>() - 1.0).abs() < 1e-4 && judged.scores.contains_key(&judged.label));
    fixture.settled().await;
    let item = fixture.service.item(&call(), "a").await.unwrap();
    assert_eq!((item.review_count, item.sentiment), (4, expected(&reviews)));
    assert_eq!(item.version, version, "who edits the item is not disturbed");
    assert_eq!(fixture.found(json!({"filter": "review_count >= 4"})).await, ["a"]);
    let filter =
        format!("sentiment >= {} and sentiment <= {}", item.sentiment.unwrap() - 1e-9, item.sentiment.unwrap() + 1e-9);
    assert_eq!(fixture.found(json!({"q": "film", "mode": "semantic", "filter": filter})).await, ["a"]);
    let entries =
        attune_api::catalogue::Catalogue::entries(&fixture.service, &call(), &["a".to_owned()]).await.unwrap();
    assert_eq!(entries[0].as_ref().unwrap().attributes["sentiment"], json!(item.sentiment.unwrap()));
}

#[tokio::test]
async fn a_hidden_review_is_neither_shown_nor_counted() {
    let fixture = Fixture::new().await;
    fixture.put("a", json!({"title": "a film"})).await;
    fixture.put("b", json!({"title": "b film"})).await;
    let (first, second) = (review(&fixture, "a", "very good").await, review(&fixture, "a", "bad").await);
    let hide = ReviewPatch { hidden: Some(true), moderated: Some(true) };
    let service = &fixture.service;
    let hidden = service.moderate(&call(), "a", &first.id, hide).await.unwrap();
    assert!(hidden.hidden && hidden.moderated && hidden.body == first.body);
    fixture.settled().await;
    let item = service.item(&call(), "a").await.unwrap();
    assert_eq!((item.review_count, item.sentiment), (1, expected(std::slice::from_ref(&second))));
    let caller = call();
    let list = |with_hidden| service.reviews(&caller, "a", None, 10, with_hidden);
    assert_eq!(list(false).await.unwrap().reviews, std::slice::from_ref(&second));
    let all = list(true).await.unwrap().reviews;
    assert_eq!(all, [second, hidden.clone()], "the newest first");
    let elsewhere = service.moderate(&call(), "b", &hidden.id, hide).await.unwrap_err();
    assert_eq!(elsewhere.code, ErrorCode::Absent, "it is no review of that item");
    let show = ReviewPatch { hidden: Some(false), moderated: None };
    service.moderate(&call(), "a", &hidden.id, show).await.unwrap();
    fixture.settled().await;
    assert_eq!(service.item(&call(), "a").await.unwrap().review_count, 2);
}

#[tokio::test]
async fn reviews_page_and_have_bounds() {
    let fixture = Fixture::new().await;
    fixture.put("a", json!({"title": "a film"})).await;
    for number in 0..5 {
        review(&fixture, "a", &format!("good {number}")).await;
    }
    let (mut texts, mut cursor) = (Vec::new(), None);
    loop {
        let page = fixture.service.reviews(&call(), "a", cursor.as_deref(), 2, false).await.unwrap();
        texts.extend(page.reviews.into_iter().map(|review| review.body.text));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(texts, ["good 4", "good 3", "good 2", "good 1", "good 0"]);
    let service = &fixture.service;
    assert_eq!(service.reviews(&call(), "a", Some("%"), 2, false).await.unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(service.reviews(&call(), "a", None, 0, false).await.unwrap_err().code, ErrorCode::Invalid);
    assert_eq!(service.reviews(&call(), "x", None, 1, false).await.unwrap_err().code, ErrorCode::Absent);
    let say = |text: &str, user: &str| {
        let body = ReviewBody { text: text.to_owned(), user_id: Some(user.to_owned()), rating: None };
        async move { service.add_review(&call(), "a", body).await.unwrap_err().fields[0].pointer.clone() }
    };
    assert_eq!(say(" ", "ann").await, "/text");
    assert_eq!(say(&"x".repeat(300_000), "ann").await, "/text");
    assert_eq!(say("fine", "").await, "/user_id");
    let elsewhere = ReviewBody { text: "good".into(), ..ReviewBody::default() };
    assert_eq!(service.add_review(&call(), "x", elsewhere).await.unwrap_err().code, ErrorCode::Absent);
}

#[tokio::test]
async fn a_trend_comes_with_the_eleventh_review_and_is_filtered_by() {
    let fixture = Fixture::new().await;
    fixture.put("a", json!({"title": "a film"})).await;
    fixture.put("b", json!({"title": "b film"})).await;
    for _ in 0..10 {
        review(&fixture, "a", "bad").await;
    }
    fixture.settled().await;
    assert_eq!(fixture.service.item(&call(), "a").await.unwrap().sentiment_trend, None);
    for _ in 0..10 {
        review(&fixture, "a", "very good").await;
    }
    fixture.settled().await;
    let item = fixture.service.item(&call(), "a").await.unwrap();
    let all = fixture.service.reviews(&call(), "a", None, 100, false).await.unwrap().reviews;
    let mean = |text: &str| {
        let of: Vec<Review> = all.iter().filter(|review| review.body.text == text).cloned().collect();
        expected(&of).unwrap() * (of.len() as f64 + 5.0) / of.len() as f64
    };
    let (good, bad) = (mean("very good"), mean("bad"));
    // Ten of each with five of the mean of both: two thirds of the difference.
    let trend = item.sentiment_trend.unwrap();
    assert!((trend - (good - bad) * 10.0 / 15.0).abs() < 1e-5, "{trend} {good} {bad}");
    let above = format!("sentiment_trend > {}", trend - 1e-6);
    assert_eq!(fixture.found(json!({"q": "film", "filter": above})).await, ["a"]);
}
