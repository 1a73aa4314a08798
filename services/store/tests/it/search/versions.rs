//! Writes that come in any order, from many, of anything.

use attune_store::search::{CHANGES_MAX, ID_BYTES_MAX, TEXT_BYTES_MAX, Written};
use rand::seq::SliceRandom;

use super::*;

fn delete(id: &str, version: u64) -> Change {
    Change::Delete { id: id.into(), version }
}

pub async fn the_newest_version_stays_in_whatever_order_they_come(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    // The last version of each is the one that is named.
    let put_at = |id: &str, version: u64| Change::Put(Entry { version, ..put(id, &format!("v{version}"), "") });
    let mut changes = vec![
        put_at("kept", 1),
        put_at("kept", 2),
        delete("kept", 3),
        put_at("kept", 4),
        put_at("gone", 1),
        put_at("gone", 2),
        delete("gone", 3),
    ];
    for round in 0..4 {
        changes.shuffle(&mut rand::rng());
        for change in &changes {
            search.write(&tenant, std::slice::from_ref(change)).await.unwrap();
        }
        search.refresh(&tenant).await.unwrap();
        assert_eq!(found(search, &tenant, &all()).await, ["kept"], "round {round}: {changes:?}");
        assert_eq!(found(search, &tenant, &text("v4")).await, ["kept"]);
        assert_eq!(search.search(&tenant, &text("v2")).await.unwrap().matches, 0);
    }
    // In one write, too, and what is stale is counted.
    let written = search.write(&tenant, &[put_at("one", 2), put_at("one", 1), put_at("one", 3)]).await.unwrap();
    assert_eq!(written, Written { applied: 2, stale: 1 });
    search.refresh(&tenant).await.unwrap();
    assert_eq!(found(search, &tenant, &text("v3")).await, ["one"]);
}

pub async fn concurrent_writers_lose_nothing(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let tenant = &tenant;
    let writers = (0..8).map(|writer| async move {
        for batch in 0..5 {
            let own = (0..4).map(|number| Change::Put(put(&format!("{writer}-{batch}-{number}"), "own", "")));
            let version = writer * 100 + batch + 1;
            let shared = Change::Put(Entry { version, ..put("shared", &format!("w{version}"), "") });
            search.write(tenant, &own.chain([shared]).collect::<Vec<_>>()).await.unwrap();
        }
    });
    futures::future::join_all(writers).await;
    search.refresh(tenant).await.unwrap();
    assert_eq!(search.search(tenant, &text("own")).await.unwrap().matches, 8 * 5 * 4);
    assert_eq!(found(search, tenant, &text("w705")).await, ["shared"]);
}

pub async fn ids_are_any_text(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let long = "ß".repeat(ID_BYTES_MAX / 2);
    let odd = ["a b", "a\0b", "\u{1F3AC}", "../x", "\"quoted\"\n", "null", "{}", "é", "e\u{301}", "_id", long.as_str()];
    let entries = odd.map(|id| Entry { attributes: vec![("colour".into(), keyword(id))], ..put(id, id, "") });
    write(search, &tenant, entries).await;
    let mut expected = odd.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(found(search, &tenant, &all()).await, expected);
    let one = Query {
        filter: Some(attune_ranking::filter::Expr::In(
            "colour".into(),
            vec![attune_ranking::filter::Scalar::Text("a\0b".into()).into()],
        )),
        ..all()
    };
    assert_eq!(found(search, &tenant, &one).await, ["a\0b"]);
    let deletions: Vec<Change> = odd.iter().map(|id| delete(id, 2)).collect();
    search.write(&tenant, &deletions).await.unwrap();
    search.refresh(&tenant).await.unwrap();
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 0);
}

pub async fn what_is_too_large_is_refused_whole(search: &dyn Search) {
    let tenant = begun(search, &schema()).await;
    let fine = Change::Put(put("fine", "", ""));
    let attribute = |name: &str, value: Value| Entry { attributes: vec![(name.into(), value)], ..put("a", "", "") };
    for (entry, expected) in [
        (put("", "", ""), ErrorKind::Invalid),
        (put(&"x".repeat(ID_BYTES_MAX + 1), "", ""), ErrorKind::Invalid),
        (put("a", "", &"x".repeat(TEXT_BYTES_MAX + 1)), ErrorKind::TooLarge),
        (Entry { version: u64::MAX, ..put("a", "", "") }, ErrorKind::Invalid),
        (attribute("price", number(f64::NAN)), ErrorKind::Invalid),
        (attribute("colour", keyword(&"x".repeat(2_000))), ErrorKind::Invalid),
    ] {
        let error = search.write(&tenant, &[fine.clone(), Change::Put(entry)]).await.unwrap_err();
        assert_eq!(error.kind, expected, "{error}");
        assert!(error.detail.starts_with("change 1: "), "{error}");
    }
    let many = vec![fine; CHANGES_MAX + 1];
    assert_eq!(kind(search.write(&tenant, &many).await), ErrorKind::TooLarge);
    search.refresh(&tenant).await.unwrap();
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 0);
    // What is just not too large is taken.
    let largest = put(&"x".repeat(ID_BYTES_MAX), "", &"word ".repeat(TEXT_BYTES_MAX / 5));
    write(search, &tenant, [largest]).await;
}
