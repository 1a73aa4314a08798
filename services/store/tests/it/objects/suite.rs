//! What every object store does.

use std::time::Duration;

use attune_store::objects::*;
use attune_store::{ErrorKind, Tenant};
use bytes::Bytes;
use futures::future::join_all;

use super::{body, keys, pattern, put, read};
use crate::servers::tenant as new_tenant;

/// Stamps the suite for a backend: `$open` gives a store, or `None` where there is no server for it.
macro_rules! conformance {
    ($($name:ident)*) => {
        /// All behaviours of the suite, for one backend.
        macro_rules! objects_suite {
            ($open:path) => { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some((objects, _keep)) = $open().await {
                        $crate::objects::suite::$name(&objects, &$crate::servers::tenant()).await;
                    }
                }
            )* };
        }
    };
}

conformance! {
    what_is_put_is_read
    a_missing_object_is_not_found
    a_put_replaces_and_changes_the_version
    ranges_are_read
    large_objects_are_read_in_pieces
    tenants_cannot_see_each_other
    odd_keys_are_kept_apart
    keys_that_cannot_be_are_refused
    an_object_may_be_the_beginning_of_another
    lists_come_in_the_order_of_bytes
    lists_keep_to_the_prefix
    listing_while_writing_misses_nothing
    an_absent_condition_has_one_winner
    a_version_condition_has_one_winner
    an_upload_is_seen_when_it_is_finished
    a_large_upload_is_put_together
    an_upload_keeps_conditions
    an_upload_that_is_given_up_leaves_nothing
    a_reader_keeps_what_it_began_to_read
    deleting_is_idempotent
    limits_are_refused
    presigned_addresses_have_limits
}

pub async fn what_is_put_is_read(objects: &dyn Objects, tenant: &Tenant) {
    for bytes in [0, 1, 65_535, 65_536, 65_537, 300_000] {
        let key = format!("size/{bytes}");
        let about = put(objects, tenant, &key, pattern(bytes)).await.unwrap();
        assert_eq!((about.bytes, about.key.as_str()), (bytes as u64, key.as_str()));
        let head = objects.head(tenant, &key).await.unwrap();
        assert_eq!((&head.key, head.bytes, &head.version), (&about.key, about.bytes, &about.version));
        assert!(!head.version.is_empty() && head.modified_ms > 1_600_000_000_000);
        let reading = objects.get(tenant, &key, None).await.unwrap();
        assert_eq!(
            (reading.about.bytes, &reading.about.version, reading.range.clone()),
            (bytes as u64, &about.version, 0..bytes as u64)
        );
        assert!(body(reading).await.unwrap() == pattern(bytes), "{bytes} bytes");
    }
}

pub async fn a_missing_object_is_not_found(objects: &dyn Objects, tenant: &Tenant) {
    let kinds = [
        objects.get(tenant, "a/b", None).await.err().unwrap().kind,
        objects.get(tenant, "a/b", Some(0..1)).await.err().unwrap().kind,
        objects.head(tenant, "a/b").await.unwrap_err().kind,
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 3]);
    assert_eq!(objects.list(tenant, "", None, 10).await.unwrap(), Page { objects: vec![], next: None });
}

pub async fn a_put_replaces_and_changes_the_version(objects: &dyn Objects, tenant: &Tenant) {
    let first = put(objects, tenant, "k", "one").await.unwrap();
    let second = put(objects, tenant, "k", "another").await.unwrap();
    assert_ne!(first.version, second.version);
    assert_eq!(read(objects, tenant, "k").await.unwrap(), b"another");
    assert_eq!(keys(objects, tenant, "", 10).await, ["k"]);
}

pub async fn ranges_are_read(objects: &dyn Objects, tenant: &Tenant) {
    let all = pattern(200_000);
    put(objects, tenant, "k", all.clone()).await.unwrap();
    for range in [0..1, 5..10, 65_530..65_540, 65_536..131_072, 0..200_000, 199_999..200_000, 150_000..900_000] {
        let reading = objects.get(tenant, "k", Some(range.clone())).await.unwrap();
        let expected = range.start..range.end.min(200_000);
        assert_eq!((reading.range.clone(), reading.about.bytes), (expected.clone(), 200_000));
        assert!(body(reading).await.unwrap() == all[expected.start as usize..expected.end as usize], "{range:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    for range in [200_000..200_001, 10..10, 20..10, 999_999..u64::MAX] {
        assert_eq!(
            objects.get(tenant, "k", Some(range.clone())).await.err().unwrap().kind,
            ErrorKind::Invalid,
            "{range:?}"
        );
    }
}

pub async fn large_objects_are_read_in_pieces(objects: &dyn Objects, tenant: &Tenant) {
    use futures::StreamExt;
    let all = pattern(5 << 20);
    put(objects, tenant, "k", all.clone()).await.unwrap();
    let mut pieces = objects.get(tenant, "k", None).await.unwrap().body;
    let (mut found, mut count) = (Vec::new(), 0);
    while let Some(piece) = pieces.next().await {
        found.extend_from_slice(&piece.unwrap());
        count += 1;
    }
    assert!(found == all && count > 1, "{count} pieces");
}

pub async fn tenants_cannot_see_each_other(objects: &dyn Objects, tenant: &Tenant) {
    let other = new_tenant();
    put(objects, tenant, "same", "mine").await.unwrap();
    put(objects, &other, "same", "theirs").await.unwrap();
    put(objects, tenant, "only/mine", "x").await.unwrap();
    assert_eq!(read(objects, &other, "same").await.unwrap(), b"theirs");
    assert_eq!(objects.head(&other, "only/mine").await.unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(keys(objects, &other, "", 10).await, ["same"]);
    objects.delete(&other, "same").await.unwrap();
    assert_eq!(read(objects, tenant, "same").await.unwrap(), b"mine");
}

pub async fn odd_keys_are_kept_apart(objects: &dyn Objects, tenant: &Tenant) {
    let parts = [
        "a b",
        "a+b",
        "a%20b",
        "a%2Bb",
        "%",
        "=x",
        "+x",
        "ü",
        "u\u{308}",
        "日本",
        "🦀",
        "~",
        "'\"`",
        "<&>",
        "#?",
        "a:b",
        "[*]",
        "...",
        ".x",
        "-",
        "A",
        "a",
        &"x".repeat(KEY_PART_BYTES_MAX),
        "\\",
        "{}|^",
    ];
    let mut expected: Vec<String> =
        parts.iter().flat_map(|part| [part.to_string(), format!("in/{part}/side")]).collect();
    for key in &expected {
        put(objects, tenant, key, key.clone()).await.unwrap();
    }
    expected.sort();
    assert_eq!(keys(objects, tenant, "", 7).await, expected);
    for key in &expected {
        assert_eq!(read(objects, tenant, key).await.unwrap(), key.as_bytes(), "{key:?}");
        assert_eq!(objects.head(tenant, key).await.unwrap().bytes, key.len() as u64);
    }
}

pub async fn keys_that_cannot_be_are_refused(objects: &dyn Objects, tenant: &Tenant) {
    let long = "x".repeat(KEY_PART_BYTES_MAX + 1);
    let longest = format!("{}/x", "x".repeat(100)).repeat(6);
    for key in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b", "a\nb", "\u{7f}", &long, &longest] {
        let kinds = [
            put(objects, tenant, key, "x").await.unwrap_err().kind,
            objects.upload(tenant, key).await.err().unwrap().kind,
            objects.get(tenant, key, None).await.err().unwrap().kind,
            objects.head(tenant, key).await.unwrap_err().kind,
            objects.delete(tenant, key).await.unwrap_err().kind,
            objects.presign(tenant, key, Access::Get, Duration::from_secs(60)).await.unwrap_err().kind,
        ];
        assert_eq!(kinds, [ErrorKind::Invalid; 6], "{key:?}");
    }
}

pub async fn an_object_may_be_the_beginning_of_another(objects: &dyn Objects, tenant: &Tenant) {
    for key in ["a/b/c", "a/b", "a"] {
        put(objects, tenant, key, key).await.unwrap();
    }
    for key in ["a", "a/b", "a/b/c"] {
        assert_eq!(read(objects, tenant, key).await.unwrap(), key.as_bytes());
    }
    objects.delete(tenant, "a/b").await.unwrap();
    assert_eq!(read(objects, tenant, "a").await.unwrap(), b"a");
    assert_eq!(read(objects, tenant, "a/b/c").await.unwrap(), b"a/b/c");
}

/// Not in the list above: there is a server that does not.
pub async fn lists_hold_what_lies_below_an_object(objects: &dyn Objects, tenant: &Tenant) {
    let expected = ["a", "a-b", "a/b", "a/b/c", "a0"];
    for key in expected {
        put(objects, tenant, key, key).await.unwrap();
    }
    for page in [1, 2, 3, 10] {
        assert_eq!(keys(objects, tenant, "", page).await, expected, "pages of {page}");
    }
}

pub async fn lists_come_in_the_order_of_bytes(objects: &dyn Objects, tenant: &Tenant) {
    let mut expected = ["a-b", "a/b", "a.b", "A", "a0", "a/0", "a/c/d", "a/b-c", "b", "B", "z/z/z", "a/b.c", "~", "é"];
    join_all(expected.iter().map(|key| put(objects, tenant, key, "x")))
        .await
        .into_iter()
        .for_each(|one| drop(one.unwrap()));
    expected.sort_unstable();
    for page in [1, 2, 3, 5, 100] {
        assert_eq!(keys(objects, tenant, "", page).await, expected, "pages of {page}");
    }
    for (place, key) in expected.iter().enumerate() {
        let behind = objects.list(tenant, "", Some(key), 100).await.unwrap();
        let behind: Vec<String> = behind.objects.into_iter().map(|about| about.key).collect();
        assert_eq!(behind, expected[place + 1..], "behind {key}");
    }
    let behind_none = objects.list(tenant, "", Some("a/a"), 1).await.unwrap();
    assert_eq!(behind_none.objects[0].key, "a/b");
}

pub async fn lists_keep_to_the_prefix(objects: &dyn Objects, tenant: &Tenant) {
    for key in ["lake/day=1/x", "lake/day=1/y", "lake/day=10/x", "lake/day=2/x", "lakes", "models/m"] {
        put(objects, tenant, key, "x").await.unwrap();
    }
    assert_eq!(keys(objects, tenant, "lake/day=1", 2).await, ["lake/day=1/x", "lake/day=1/y", "lake/day=10/x"]);
    assert_eq!(keys(objects, tenant, "lake/day=1/", 1).await, ["lake/day=1/x", "lake/day=1/y"]);
    assert_eq!(keys(objects, tenant, "lake", 2).await.len(), 5);
    assert_eq!(keys(objects, tenant, "models/m", 2).await, ["models/m"]);
    assert!(keys(objects, tenant, "nothing", 2).await.is_empty());
    let past = objects.list(tenant, "lake/", Some("models"), 10).await.unwrap();
    assert!(past.objects.is_empty());
    assert_eq!(objects.list(tenant, "", None, 2).await.unwrap().objects[0].bytes, 1);
}

pub async fn listing_while_writing_misses_nothing(objects: &dyn Objects, tenant: &Tenant) {
    let stay: Vec<String> = (0..40).map(|number| format!("stay/{number:03}")).collect();
    for key in &stay {
        put(objects, tenant, key, "x").await.unwrap();
    }
    let write = async {
        for number in 0..20 {
            put(objects, tenant, &format!("stay/{number:03}-more"), "x").await.unwrap();
            put(objects, tenant, &format!("come/{number}"), "x").await.unwrap();
            objects.delete(tenant, &format!("come/{number}")).await.unwrap();
        }
    };
    let list = async { keys(objects, tenant, "", 3).await };
    let ((), found) = tokio::join!(write, list);
    let found: Vec<&String> = found.iter().filter(|key| stay.contains(key)).collect();
    assert_eq!(found, stay.iter().collect::<Vec<_>>());
}

pub async fn an_absent_condition_has_one_winner(objects: &dyn Objects, tenant: &Tenant) {
    let tries = (0..8).map(|number| objects.put(tenant, "k", Bytes::from(format!("{number}")), Condition::Absent));
    let tries = join_all(tries).await;
    let won: Vec<usize> = (0..8).filter(|&number| tries[number].is_ok()).collect();
    assert_eq!(won.len(), 1, "{tries:?}");
    for lost in tries.iter().filter_map(|one| one.as_ref().err()) {
        assert_eq!(lost.kind, ErrorKind::Conflict, "{lost}");
    }
    assert_eq!(read(objects, tenant, "k").await.unwrap(), format!("{}", won[0]).as_bytes());
    objects.delete(tenant, "k").await.unwrap();
    objects.put(tenant, "k", Bytes::from("again"), Condition::Absent).await.unwrap();
}

pub async fn a_version_condition_has_one_winner(objects: &dyn Objects, tenant: &Tenant) {
    let mut version = put(objects, tenant, "k", "start").await.unwrap().version;
    for round in 0..5 {
        let tries = (0..4).map(|number| {
            let condition = Condition::Version(version.clone());
            objects.put(tenant, "k", Bytes::from(format!("{round} {number}")), condition)
        });
        let tries = join_all(tries).await;
        let won: Vec<&About> = tries.iter().filter_map(|one| one.as_ref().ok()).collect();
        assert_eq!(won.len(), 1, "{tries:?}");
        assert!(tries.iter().filter_map(|one| one.as_ref().err()).all(|lost| lost.kind == ErrorKind::Conflict));
        version = won[0].version.clone();
        assert_eq!(objects.head(tenant, "k").await.unwrap().version, version);
    }
    let error = objects.put(tenant, "missing", Bytes::from("x"), Condition::Version(version)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
}

pub async fn an_upload_is_seen_when_it_is_finished(objects: &dyn Objects, tenant: &Tenant) {
    let mut upload = objects.upload(tenant, "up").await.unwrap();
    upload.write(Bytes::from("one ")).await.unwrap();
    upload.write(Bytes::new()).await.unwrap();
    upload.write(Bytes::from("two")).await.unwrap();
    assert_eq!(objects.head(tenant, "up").await.unwrap_err().kind, ErrorKind::NotFound);
    assert!(keys(objects, tenant, "", 10).await.is_empty());
    let about = upload.finish(Condition::None).await.unwrap();
    assert_eq!((about.bytes, about.key.as_str()), (7, "up"));
    assert_eq!(read(objects, tenant, "up").await.unwrap(), b"one two");
    let empty = objects.upload(tenant, "empty").await.unwrap().finish(Condition::None).await.unwrap();
    assert_eq!(empty.bytes, 0);
}

pub async fn a_large_upload_is_put_together(objects: &dyn Objects, tenant: &Tenant) {
    let all = Bytes::from(pattern(19 << 20));
    let mut upload = objects.upload(tenant, "up").await.unwrap();
    for piece in all.chunks(1_234_567) {
        upload.write(all.slice_ref(piece)).await.unwrap();
    }
    assert_eq!(objects.head(tenant, "up").await.unwrap_err().kind, ErrorKind::NotFound);
    let about = upload.finish(Condition::None).await.unwrap();
    assert_eq!(about.bytes, all.len() as u64);
    assert_eq!(objects.head(tenant, "up").await.unwrap().version, about.version);
    assert!(read(objects, tenant, "up").await.unwrap() == all);
    let range = objects.get(tenant, "up", Some(8_388_600..8_388_620)).await.unwrap();
    assert!(body(range).await.unwrap() == all[8_388_600..8_388_620]);
}

pub async fn an_upload_keeps_conditions(objects: &dyn Objects, tenant: &Tenant) {
    for bytes in [10, 9 << 20] {
        let key = format!("up-{bytes}");
        let begin = async |content: u8| {
            let mut upload = objects.upload(tenant, &key).await.unwrap();
            upload.write(Bytes::from(vec![content; bytes])).await.unwrap();
            upload
        };
        let (first, second) = (begin(1).await, begin(2).await);
        let won = first.finish(Condition::Absent).await.unwrap();
        assert_eq!(second.finish(Condition::Absent).await.unwrap_err().kind, ErrorKind::Conflict);
        let changed = begin(3).await.finish(Condition::Version(won.version.clone())).await.unwrap();
        let stale = begin(4).await.finish(Condition::Version(won.version)).await.unwrap_err();
        assert_eq!(stale.kind, ErrorKind::Conflict, "{stale}");
        assert_eq!(objects.head(tenant, &key).await.unwrap().version, changed.version);
        assert!(read(objects, tenant, &key).await.unwrap() == vec![3; bytes]);
    }
}

pub async fn an_upload_that_is_given_up_leaves_nothing(objects: &dyn Objects, tenant: &Tenant) {
    for bytes in [10, 9 << 20] {
        let mut aborted = objects.upload(tenant, "up").await.unwrap();
        aborted.write(Bytes::from(vec![1; bytes])).await.unwrap();
        aborted.abort().await.unwrap();
        let mut dropped = objects.upload(tenant, "up").await.unwrap();
        dropped.write(Bytes::from(vec![1; bytes])).await.unwrap();
        drop(dropped);
    }
    assert!(keys(objects, tenant, "", 10).await.is_empty());
}

pub async fn a_reader_keeps_what_it_began_to_read(objects: &dyn Objects, tenant: &Tenant) {
    let all = pattern(3 << 20);
    put(objects, tenant, "k", all.clone()).await.unwrap();
    let reading = objects.get(tenant, "k", None).await.unwrap();
    put(objects, tenant, "k", vec![9; 3 << 20]).await.unwrap();
    // All of the old one, or a broken answer: never a mixture.
    if let Ok(found) = body(reading).await {
        assert!(found == all);
    }
    assert!(read(objects, tenant, "k").await.unwrap() == vec![9; 3 << 20]);
}

pub async fn deleting_is_idempotent(objects: &dyn Objects, tenant: &Tenant) {
    objects.delete(tenant, "never/was").await.unwrap();
    put(objects, tenant, "k", "x").await.unwrap();
    objects.delete(tenant, "k").await.unwrap();
    objects.delete(tenant, "k").await.unwrap();
    assert_eq!(objects.head(tenant, "k").await.unwrap_err().kind, ErrorKind::NotFound);
}

pub async fn limits_are_refused(objects: &dyn Objects, tenant: &Tenant) {
    let error = put(objects, tenant, "k", vec![0; PUT_BYTES_MAX + 1]).await.unwrap_err();
    assert!(error.kind == ErrorKind::TooLarge && error.detail.contains("in pieces"), "{error}");
    for limit in [0, PAGE_MAX + 1] {
        assert_eq!(objects.list(tenant, "", None, limit).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    assert_eq!(objects.list(tenant, "\0", None, 1).await.unwrap_err().kind, ErrorKind::Invalid);
}

pub async fn presigned_addresses_have_limits(objects: &dyn Objects, tenant: &Tenant) {
    for time in [Duration::ZERO, Duration::from_millis(999), PRESIGNED_MAX + Duration::from_secs(1)] {
        let error = objects.presign(tenant, "k", Access::Get, time).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{time:?}");
    }
    let get = objects.presign(tenant, "k", Access::Get, Duration::from_secs(60)).await.unwrap();
    let put = objects.presign(tenant, "k", Access::Put, Duration::from_secs(60)).await.unwrap();
    assert!(get.url.starts_with("http") && get.url != put.url);
    assert_eq!(objects.grant("forged").unwrap_err().kind, ErrorKind::Denied);
}
