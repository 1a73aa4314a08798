//! Words.

use super::*;

async fn films(search: &dyn Search) -> Tenant {
    let tenant = begun(search, &schema()).await;
    let entries = [
        put("sea", "The Old Man and the Sea", "An old fisherman and a great fish."),
        put("river", "A River", "The fisherman goes down the river to the sea, and to the sea again, one long day."),
        put("desert", "Über die Wüste", "Sand."),
    ];
    write(search, &tenant, entries).await;
    tenant
}

pub async fn every_word_has_to_be_there(search: &dyn Search) {
    let tenant = films(search).await;
    for (words, expected) in [
        ("fisherman", &["river", "sea"][..]),
        ("FISHERMAN man", &["sea"]),
        ("fisherman desert", &[]),
        ("river, sea!", &["river"]),
        ("über", &["desert"]),
        ("WÜSTE sand", &["desert"]),
    ] {
        assert_eq!(found(search, &tenant, &text(words)).await, expected, "{words}");
    }
}

pub async fn a_title_counts_twice(search: &dyn Search) {
    let tenant = films(search).await;
    let page = search.search(&tenant, &text("sea")).await.unwrap();
    assert_eq!(page.hits.iter().map(|hit| hit.id.as_str()).collect::<Vec<_>>(), ["sea", "river"]);
    assert!(page.hits[0].score > page.hits[1].score && page.hits[1].score > 0.0, "{page:?}");
}

pub async fn nearly_the_same_words_are_found_where_none_is_the_same(search: &dyn Search) {
    let tenant = films(search).await;
    for (words, expected) in [
        ("fishermen", &["river", "sea"][..]),
        ("fihserman", &["river", "sea"]),
        ("rivver", &["river"]),
        ("fishxxman", &["river", "sea"]),
        ("fixxxxman", &[]),
        ("oz", &[]),
    ] {
        let page = search.search(&tenant, &text(words)).await.unwrap();
        assert_eq!(ids(&page), expected, "{words}");
        assert_eq!(page.is_approximate, !expected.is_empty(), "{words}");
    }
    // One letter off another word, and there as it is.
    let page = search.search(&tenant, &text("sand")).await.unwrap();
    assert_eq!((ids(&page), page.is_approximate), (vec!["desert"], false));
}

pub async fn words_are_shown_where_they_are(search: &dyn Search) {
    let tenant = films(search).await;
    let shown = |words: &str| Query { highlight: true, ..text(words) };
    let page = search.search(&tenant, &shown("fisherman river")).await.unwrap();
    let fragment = page.hits[0].fragment.as_ref().unwrap();
    let marked: Vec<&str> = fragment.marks.iter().map(|mark| &fragment.text[mark.clone()]).collect();
    assert_eq!(marked, ["fisherman", "river"]);
    let page = search.search(&tenant, &shown("wüste")).await.unwrap();
    let fragment = page.hits[0].fragment.as_ref().unwrap();
    assert_eq!(&fragment.text[fragment.marks[0].clone()], "Wüste");
    let page = search.search(&tenant, &text("fisherman")).await.unwrap();
    assert!(page.hits.iter().all(|hit| hit.fragment.is_none()));
}

pub async fn an_empty_text_chooses_nothing_and_one_without_words_finds_nothing(search: &dyn Search) {
    let tenant = films(search).await;
    assert_eq!(search.search(&tenant, &text(" ")).await.unwrap().matches, 3);
    assert_eq!(search.search(&tenant, &text("?!")).await.unwrap().matches, 0);
}
