//! Items are found by words, by meaning and by both, as soon as they are written, and not when they are hidden.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use attune_api::ErrorCode;
use attune_api::content::{Condition, Content};
use serde_json::{Value, json};

use crate::support::{Fixture, body, call, ids, tenant};

async fn films(fixture: &Fixture) {
    let films = [
        ("alien", "Alien", "horror in space", json!({"genres": ["horror", "sci-fi"], "year": 1979})),
        ("heat", "Heat", "a good film with cops", json!({"genres": ["crime"], "year": 1995})),
        ("up", "Up", "a happy film with a dog", json!({"genres": ["animation"], "year": 2009})),
        ("coco", "Coco", "a happy film with music", json!({"genres": ["animation", "music"], "year": 2017})),
    ];
    let films = films.map(|(id, title, text, attributes)| {
        (id.to_owned(), body(json!({"title": title, "text": text, "attributes": attributes})))
    });
    for saved in fixture.service.put_many(&call(), films.to_vec()).await.unwrap() {
        saved.unwrap();
    }
    fixture.settled().await;
}

#[tokio::test]
async fn words_filters_facets_and_pages() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    let answer = fixture.search(json!({"q": "happy film", "facets": "genres", "filter": "year > 2000", "k": 1})).await;
    assert_eq!((answer.hits.len(), answer.matches), (1, 2));
    let counts: Vec<(&str, u64)> =
        answer.facets[0].values.iter().map(|value| (value.value.as_str(), value.count)).collect();
    assert_eq!(counts, [("animation", 2), ("music", 1)]);
    let highlight = answer.hits[0].highlight.as_ref().unwrap();
    let marked: Vec<&str> = highlight.marks.iter().map(|(start, end)| &highlight.text[*start..*end]).collect();
    assert_eq!(marked, ["happy", "film"]);
    let next =
        fixture.search(json!({"q": "happy film", "filter": "year > 2000", "k": 1, "cursor": answer.next_cursor})).await;
    assert_eq!((next.hits.len(), next.next_cursor.as_deref()), (1, None));
    assert_ne!(ids(&next), ids(&answer));
    let typo = fixture.search(json!({"q": "hapy"})).await;
    assert!(typo.approximate && typo.hits.len() == 2);
    assert_eq!(fixture.found(json!({"filter": "genres == \"crime\""})).await, ["heat"]);
}

#[tokio::test]
async fn meaning_finds_by_the_filter_too_and_pages() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    let all = fixture.search(json!({"q": "happy dog", "mode": "semantic", "facets": "genres"})).await;
    assert_eq!((all.hits.len(), all.matches, all.next_cursor.clone()), (4, 4, None));
    assert!(all.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
    let mut paged = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..4 {
        let page = fixture.search(json!({"q": "happy dog", "mode": "semantic", "k": 1, "cursor": cursor})).await;
        paged.extend(ids(&page));
        cursor = json!(page.next_cursor);
    }
    assert_eq!((paged, cursor), (ids(&all), Value::Null));
    let animated =
        fixture.found(json!({"q": "space", "mode": "semantic", "filter": "genres in [\"animation\"]"})).await;
    assert_eq!(animated.iter().collect::<std::collections::BTreeSet<_>>().len(), 2);
    let both = fixture.search(json!({"q": "happy dog", "mode": "hybrid", "k": 4})).await;
    assert_eq!(both.hits[0].item.id, "up", "the one that both find");
}

#[tokio::test]
async fn a_write_is_found_within_a_second_and_a_hidden_one_at_once_not_any_more() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    let written = Instant::now();
    fixture.put("solaris", json!({"title": "Solaris"})).await;
    while fixture.found(json!({"q": "solaris"})).await.is_empty() {
        assert!(written.elapsed() < Duration::from_secs(60), "it is never found");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for change in [
        json!({"hidden": true}),
        json!({"hidden": false, "published_at": "2999-01-01"}),
        json!({"published_at": null, "expires_at": 1}),
    ] {
        fixture.service.patch(&call(), "solaris", change, Condition::None).await.unwrap();
        for mode in ["text", "semantic", "hybrid"] {
            let found = fixture.found(json!({"q": "solaris", "mode": mode})).await;
            assert!(!found.contains(&"solaris".to_owned()), "{mode}");
        }
    }
}

#[tokio::test]
async fn times_come_and_go_without_a_write() {
    let fixture = Fixture::new().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    fixture.put("early", json!({"title": "early bird", "expires_at": now + 2.0})).await;
    fixture.put("late", json!({"title": "late bird", "published_at": now + 2.0})).await;
    fixture.settled().await;
    let records = || async {
        let mut reader = fixture
            .stores
            .events
            .read(&tenant(), &[attune_store::events::Position { partition: 0, offset: 0 }])
            .await
            .unwrap();
        reader.poll(1_000, Duration::from_millis(1)).await.unwrap().len()
    };
    let before = records().await;
    if SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() < now + 2.0 {
        assert_eq!(fixture.found(json!({"q": "bird"})).await, ["early"]);
    }
    while fixture.found(json!({"q": "bird"})).await != ["late"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while records().await < before + 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_attribute_that_comes_later_is_filtered_and_counted() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    fixture.put("new", json!({"title": "Newcomer", "attributes": {"mood": "calm"}})).await;
    let found = fixture.search(json!({"filter": "mood == \"calm\"", "facets": "mood"})).await;
    assert_eq!(found.facets[0].attribute, "mood");
    fixture.settled().await;
    let found = fixture.search(json!({"filter": "mood == \"calm\"", "facets": "mood"})).await;
    assert_eq!((ids(&found), found.facets[0].values[0].count), (vec!["new".to_owned()], 1));
    assert_eq!(fixture.found(json!({"q": "film", "mode": "semantic", "filter": "mood == \"calm\""})).await, ["new"]);
}

#[tokio::test]
async fn a_lost_index_is_made_again() {
    let fixture = Fixture::new().await;
    assert!(fixture.found(json!({"q": "anything"})).await.is_empty(), "nothing is there yet");
    films(&fixture).await;
    fixture.stores.search.erase(&tenant()).await.unwrap();
    assert_eq!(fixture.found(json!({"q": "alien"})).await, ["alien"]);
    fixture.put("b", json!({"title": "Aliens"})).await;
    fixture.settled().await;
    assert_eq!(fixture.found(json!({"q": "aliens"})).await, ["b"]);
}

#[tokio::test]
async fn bad_searches_are_told_where() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    let theirs = fixture.search(json!({"q": "happy film", "k": 1})).await.next_cursor;
    for (bad, pointer) in [
        (json!({"filter": "year >"}), "/filter"),
        (json!({"filter": "nothing == 1"}), "/filter"),
        (json!({"facets": "genres,nothing"}), "/facets"),
        (json!({"facets": "year"}), "/facets"),
        (json!({"k": 0}), "/k"),
        (json!({"k": 1001}), "/k"),
        (json!({"cursor": "p1"}), "/cursor"),
        (json!({"q": "happy dog", "cursor": theirs}), "/cursor"),
        (json!({"q": "x", "mode": "semantic", "cursor": "e1"}), "/cursor"),
        (json!({"mode": "semantic"}), "/q"),
        (json!({"q": "x".repeat(2_000)}), "/q"),
    ] {
        let error = fixture.try_search(bad.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid, "{bad}: {error}");
        assert_eq!(error.fields[0].pointer, pointer, "{bad}");
    }
}

/// A filter means the same in the index of words and in the scan of embeddings.
#[tokio::test]
async fn words_and_meaning_filter_alike() {
    let fixture = Fixture::new().await;
    films(&fixture).await;
    fixture.put("bare", json!({"title": "nothing is known"})).await;
    fixture.settled().await;
    for filter in [
        "year > 1990",
        "not (year > 1990)",
        "year != 1979",
        "genres in [\"animation\", \"crime\"]",
        "genres not in [\"animation\"]",
        "not (genres == \"music\") and year <= 2009",
        "review_count == 0 and not hidden",
        "sentiment > 0",
        "published < \"2999-01-01\"",
    ] {
        let sorted = |mut ids: Vec<String>| {
            ids.sort_unstable();
            ids
        };
        let by_words = sorted(fixture.found(json!({ "filter": filter })).await);
        let by_meaning = sorted(fixture.found(json!({"q": "film", "mode": "semantic", "filter": filter})).await);
        assert_eq!(by_words, by_meaning, "{filter}");
    }
}
