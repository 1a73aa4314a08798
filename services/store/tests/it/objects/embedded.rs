//! The embedded object store: the suite, and the faults of a disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use attune_store::embedded::objects::{DAMAGED, LocalObjects, PRESIGNED_PATH};
use attune_store::objects::*;
use attune_store::{ErrorKind, StoreError, Tenant};
use bytes::Bytes;
use tempfile::TempDir;

use super::{body, keys, pattern, put, read};
use crate::disk::{ALL_UNSYNCED, SimDisk};
use crate::servers::tenant as new_tenant;

const URL: &str = "http://127.0.0.1:8080/";

async fn open() -> Option<(LocalObjects, TempDir)> {
    let folder = TempDir::new().unwrap();
    Some((LocalObjects::open(folder.path(), URL).await.unwrap(), folder))
}

objects_suite!(open);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_hold_what_lies_below_an_object() {
    let (objects, _folder) = open().await.unwrap();
    super::suite::lists_hold_what_lies_below_an_object(&objects, &new_tenant()).await;
}

async fn on(disk: &SimDisk) -> LocalObjects {
    LocalObjects::open_on(Arc::new(disk.clone()), URL).await.unwrap()
}

/// What a process was told: by key, the bytes that were acknowledged last; `None` after a delete.
type Told = BTreeMap<String, Option<Vec<u8>>>;

/// A process that puts, replaces, uploads and deletes until the power ends. `doing` is the key of the last call.
async fn live(disk: &SimDisk, tenant: &Tenant, told: &mut Told, doing: &mut String) -> Result<(), StoreError> {
    let objects = LocalObjects::open_on(Arc::new(disk.clone()), URL).await?;
    for round in 0..3_u8 {
        for key in ["a", "a/b", "deep/er/c"] {
            *doing = key.to_owned();
            let bytes = pattern(1_000 + usize::from(round) * 7);
            objects.put(tenant, key, bytes.clone().into(), Condition::None).await?;
            told.insert(key.to_owned(), Some(bytes));
        }
        *doing = "up".to_owned();
        let mut upload = objects.upload(tenant, "up").await?;
        upload.write(Bytes::from(vec![round; 500])).await?;
        upload.write(Bytes::from(vec![round; 300])).await?;
        upload.finish(Condition::None).await?;
        told.insert("up".to_owned(), Some(vec![round; 800]));
        *doing = "a/b".to_owned();
        objects.delete(tenant, "a/b").await?;
        told.insert("a/b".to_owned(), None);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_at_any_step_leaves_whole_objects() {
    let tenant = new_tenant();
    let whole = SimDisk::default();
    live(&whole, &tenant, &mut Told::new(), &mut String::new()).await.unwrap();
    let steps = whole.steps();
    assert!(steps > 60, "{steps} steps are too few to be a life");
    for step in 0..steps {
        let disk = SimDisk::default();
        disk.start(Some(step));
        let (mut told, mut doing) = (Told::new(), String::new());
        assert!(live(&disk, &tenant, &mut told, &mut doing).await.is_err(), "step {step}");
        for unsynced in ALL_UNSYNCED {
            let disk = disk.fork();
            disk.crash(unsynced);
            let objects = on(&disk).await;
            for (key, bytes) in &told {
                let found = match read(&objects, &tenant, key).await {
                    Ok(found) => Some(found),
                    Err(error) if error.kind == ErrorKind::NotFound => None,
                    Err(error) => panic!("cut before step {step} ({unsynced:?}): {error}"),
                };
                // What was being done may be done, as a whole.
                assert!(found == *bytes || *key == doing, "cut before step {step} ({unsynced:?}): {key}");
            }
            for key in keys(&objects, &tenant, "", 100).await {
                read(&objects, &tenant, &key).await.unwrap();
            }
            put(&objects, &tenant, "deep/er/c", "after").await.unwrap();
            assert_eq!(read(&objects, &tenant, "deep/er/c").await.unwrap(), b"after");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_is_synced_before_it_is_acknowledged() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let objects = on(&disk).await;
    for number in 0..10 {
        let (syncs, bytes) = (disk.syncs(), format!("the bytes of object {number}"));
        put(&objects, &tenant, &format!("k{}", number % 3), bytes.clone()).await.unwrap();
        assert!(disk.syncs() > syncs && disk.has_durable(bytes.as_bytes()));
        disk.fail_sync(disk.syncs() + 1);
        put(&objects, &tenant, &format!("k{}", number % 3), "lost").await.unwrap_err();
        assert_eq!(read(&objects, &tenant, &format!("k{}", number % 3)).await.unwrap(), bytes.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_is_found() {
    let (whole, tenant) = (SimDisk::default(), new_tenant());
    put(&on(&whole).await, &tenant, "k", pattern(200_000)).await.unwrap();
    put(&on(&whole).await, &tenant, "other", "fine").await.unwrap();
    let name = format!("{tenant}/data/=k");
    let length = whole.lengths()[&name];
    for at in (0..length).step_by(997).chain(length - 80..length) {
        let disk = whole.fork();
        disk.flip(&name, at);
        let objects = on(&disk).await;
        let error = read(&objects, &tenant, "k").await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Corrupt | ErrorKind::TooNew), "byte {at}: {error}");
        // A range elsewhere is still read.
        if (65_536..200_000).contains(&at) {
            let range = objects.get(&tenant, "k", Some(10..60_000)).await.unwrap();
            assert!(body(range).await.unwrap() == pattern(200_000)[10..60_000]);
        }
        let listed = objects.list(&tenant, "", None, 10).await.unwrap().objects;
        assert_eq!(listed.len(), 2);
        assert!(listed[0].version == DAMAGED || at < length - 56, "byte {at}");
        assert_eq!(read(&objects, &tenant, "other").await.unwrap(), b"fine");
        put(&objects, &tenant, "k", "mended").await.unwrap();
        assert_eq!(read(&objects, &tenant, "k").await.unwrap(), b"mended");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_and_got_over() {
    let (disk, tenant) = (SimDisk::default(), new_tenant());
    let objects = on(&disk).await;
    put(&objects, &tenant, "k", "before").await.unwrap();
    let used = disk.used();
    disk.set_room(Some(used + 1_000));
    assert_eq!(put(&objects, &tenant, "k", vec![1; 5_000]).await.unwrap_err().kind, ErrorKind::Full);
    let mut upload = objects.upload(&tenant, "up").await.unwrap();
    assert_eq!(upload.write(Bytes::from(vec![1; 5_000])).await.unwrap_err().kind, ErrorKind::Full);
    assert_eq!(upload.finish(Condition::None).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(disk.used(), used, "what did not fit is removed");
    assert_eq!(read(&objects, &tenant, "k").await.unwrap(), b"before");
    disk.set_room(None);
    put(&objects, &tenant, "k", vec![1; 5_000]).await.unwrap();
    assert_eq!(keys(&objects, &tenant, "", 10).await, ["k"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presigned_addresses_carry_a_token_that_outlives_a_restart() {
    let (objects, folder) = open().await.unwrap();
    let tenant = new_tenant();
    let presigned = objects.presign(&tenant, "a/ü", Access::Put, Duration::from_secs(60)).await.unwrap();
    let token = presigned.url.strip_prefix(&format!("{}{PRESIGNED_PATH}", URL.trim_end_matches('/'))).unwrap();
    let expected = Grant { tenant, key: "a/ü".into(), access: Access::Put, expires_ms: presigned.expires_ms };
    assert_eq!(objects.grant(token).unwrap(), expected);
    drop(objects);
    let again = LocalObjects::open(folder.path(), URL).await.unwrap();
    assert_eq!(again.grant(token).unwrap(), expected);
    let (other, _folder) = open().await.unwrap();
    assert_eq!(other.grant(token).unwrap_err().kind, ErrorKind::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_folder_keep_conditions() {
    let (one, folder) = open().await.unwrap();
    let two = LocalObjects::open(folder.path(), URL).await.unwrap();
    let tenant = new_tenant();
    for round in 0..20 {
        let key = format!("k{round}");
        let (first, second) = tokio::join!(
            one.put(&tenant, &key, Bytes::from("one"), Condition::Absent),
            two.put(&tenant, &key, Bytes::from("two"), Condition::Absent)
        );
        assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_and_another_stores_folder_are_refused() {
    let (objects, folder) = open().await.unwrap();
    drop(objects);
    let path = folder.path().join("format.json");
    let ours = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, ours.replace("\"format\": 1", "\"format\": 2")).unwrap();
    let error = LocalObjects::open(folder.path(), URL).await.err().unwrap();
    assert!(error.kind == ErrorKind::TooNew && error.detail.contains("format 2"), "{error}");
    std::fs::write(&path, ours.replace("objects", "events")).unwrap();
    let error = LocalObjects::open(folder.path(), URL).await.err().unwrap();
    assert!(error.kind == ErrorKind::Invalid && error.detail.contains("folder of its own"), "{error}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_may_read_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let (_objects, folder) = open().await.unwrap();
    let mode = std::fs::metadata(folder.path().join("secret")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
