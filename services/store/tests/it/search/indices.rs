//! Indices that come and go.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use attune_store::search::Indices;

use super::*;

pub async fn a_tenant_begins_with_nothing(search: &dyn Search) {
    let tenant = servers::tenant();
    assert_eq!(search.indices(&tenant).await.unwrap(), Indices::default());
    assert_eq!(kind(search.search(&tenant, &all()).await), ErrorKind::NotFound);
    assert_eq!(kind(search.write(&tenant, &[Change::Put(put("a", "", ""))]).await), ErrorKind::NotFound);
    assert_eq!(kind(search.publish(&tenant).await), ErrorKind::NotFound);
    search.abandon(&tenant).await.unwrap();
    search.erase(&tenant).await.unwrap();
    // The first index is searched only once it is published.
    search.begin(&tenant, &schema()).await.unwrap();
    search.write(&tenant, &[Change::Put(put("a", "", ""))]).await.unwrap();
    assert_eq!(kind(search.search(&tenant, &all()).await), ErrorKind::NotFound);
    search.publish(&tenant).await.unwrap();
    assert_eq!(found(search, &tenant, &all()).await, ["a"]);
}

/// Entries are written, changed and searched all the time while everything is written anew. No search finds fewer than
/// there are, and nothing that is written meanwhile is lost.
pub async fn a_new_index_takes_over_without_a_gap(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let entries: Vec<Entry> = (0..50).map(|number| put(&format!("old-{number}"), "old", "")).collect();
    write(search, &tenant, entries.clone()).await;
    let is_done = AtomicBool::new(false);
    // The source of truth, where a document is before the index hears of it.
    let truth = Mutex::new(Vec::new());
    let searching = async {
        let mut searches = 0;
        while !is_done.load(Ordering::Relaxed) {
            assert_eq!(search.search(&tenant, &text("old")).await.unwrap().matches, 50);
            searches += 1;
        }
        searches
    };
    let writing = async {
        let mut written = 0;
        while !is_done.load(Ordering::Relaxed) {
            let new = put(&format!("new-{written}"), "new", "");
            truth.lock().unwrap().push(new.clone());
            let new = Change::Put(new);
            let changed =
                Change::Put(Entry { version: written + 2, ..put("old-7", "old", &format!("change{written}")) });
            search.write(&tenant, &[new, changed]).await.unwrap();
            written += 1;
        }
        written
    };
    let rebuilding = async {
        for _ in 0..2 {
            search.begin(&tenant, &schema()).await.unwrap();
            // A replay of the truth, in which here and there is something old.
            let new = truth.lock().unwrap().clone();
            let all: Vec<Change> = entries.iter().cloned().chain(new).map(Change::Put).collect();
            for changes in all.chunks(10) {
                search.write(&tenant, changes).await.unwrap();
            }
            search.publish(&tenant).await.unwrap();
        }
        is_done.store(true, Ordering::Relaxed);
    };
    let (searches, written, ()) = tokio::join!(searching, writing, rebuilding);
    search.refresh(&tenant).await.unwrap();
    assert!(searches > 0 && written > 0);
    let new = search.search(&tenant, &text("new")).await.unwrap();
    assert_eq!(new.matches, written, "of {written} written during the change");
    assert_eq!(found(search, &tenant, &text(&format!("change{}", written - 1))).await, ["old-7"]);
}

pub async fn a_new_index_has_a_schema_of_its_own(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let entry = Entry {
        attributes: vec![
            ("price".into(), number(3.0)),
            ("size".into(), keyword("xl")),
            ("colour".into(), keyword("red")),
        ],
        ..put("a", "", "")
    };
    write(search, &tenant, [entry.clone()]).await;
    assert_eq!(kind(search.search(&tenant, &filter(r#"size == "xl""#)).await), ErrorKind::Invalid);
    // The price is a keyword now, the size is there, and the colour is not.
    let next = Schema::new([("price", Kind::Keyword), ("size", Kind::Keyword)]).unwrap();
    search.begin(&tenant, &next).await.unwrap();
    let indices = search.indices(&tenant).await.unwrap();
    assert_eq!(indices, Indices { live: Some(schema()), building: Some(next.clone()) });
    search.write(&tenant, &[Change::Put(entry)]).await.unwrap();
    assert_eq!(found(search, &tenant, &filter("price == 3")).await, ["a"]);
    search.publish(&tenant).await.unwrap();
    assert_eq!(found(search, &tenant, &filter(r#"size == "xl" and not price in ["3"]"#)).await, ["a"]);
    assert_eq!(kind(search.search(&tenant, &filter(r#"colour == "red""#)).await), ErrorKind::Invalid);
    assert_eq!(search.indices(&tenant).await.unwrap(), Indices { live: Some(next), building: None });
}

pub async fn one_new_index_at_a_time(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    search.begin(&tenant, &schema()).await.unwrap();
    assert_eq!(kind(search.begin(&tenant, &schema()).await), ErrorKind::Conflict);
    search.publish(&tenant).await.unwrap();
    assert_eq!(kind(search.publish(&tenant).await), ErrorKind::NotFound);
    search.begin(&tenant, &schema()).await.unwrap();
}

pub async fn an_abandoned_index_leaves_the_live_one(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    write(search, &tenant, [put("a", "", "")]).await;
    search.begin(&tenant, &schema()).await.unwrap();
    search.abandon(&tenant).await.unwrap();
    write(search, &tenant, [put("b", "", "")]).await;
    assert_eq!(found(search, &tenant, &all()).await, ["a", "b"]);
    search.begin(&tenant, &schema()).await.unwrap();
    search.publish(&tenant).await.unwrap();
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 0);
}

pub async fn tenants_do_not_see_each_other(search: &dyn Search) {
    let (ours, theirs) = (begun(search, &schema()).await, begun(search, &schema()).await);
    write(search, &ours, [put("a", "ours", "")]).await;
    write(search, &theirs, [put("a", "theirs", ""), put("b", "theirs", "")]).await;
    assert_eq!(search.search(&ours, &text("theirs")).await.unwrap().matches, 0);
    assert_eq!(found(search, &ours, &all()).await, ["a"]);
    search.write(&theirs, &[Change::Delete { id: "a".into(), version: 2 }]).await.unwrap();
    search.erase(&theirs).await.unwrap();
    assert_eq!(found(search, &ours, &text("ours")).await, ["a"]);
    // Nor does one whose name goes on where the other's ends.
    let longer: Tenant = format!("{ours}-live").parse().unwrap();
    search.begin(&longer, &schema()).await.unwrap();
    search.publish(&longer).await.unwrap();
    assert_eq!(search.search(&longer, &all()).await.unwrap().matches, 0);
    search.erase(&longer).await.unwrap();
    assert_eq!(found(search, &ours, &all()).await, ["a"]);
}

pub async fn an_erased_tenant_has_nothing(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    write(search, &tenant, [put("a", "", "")]).await;
    search.begin(&tenant, &schema()).await.unwrap();
    search.erase(&tenant).await.unwrap();
    assert_eq!(search.indices(&tenant).await.unwrap(), Indices::default());
    assert_eq!(kind(search.search(&tenant, &all()).await), ErrorKind::NotFound);
    search.begin(&tenant, &schema()).await.unwrap();
    search.publish(&tenant).await.unwrap();
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 0);
}

pub async fn the_store_says_what_it_is(search: &dyn Search) {
    let health = search.health().await.unwrap();
    assert!(!health.server.is_empty() && health.version.contains(|c: char| c.is_ascii_digit()), "{health:?}");
}
