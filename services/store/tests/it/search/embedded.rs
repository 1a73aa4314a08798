//! What only an index in a folder can suffer.

use std::fs;
use std::path::Path;

use attune_store::embedded::search::TantivySearch;

use super::*;
use crate::small_disk::SmallDisk;

async fn filled(folder: &Path, tenant: &Tenant) {
    let search = TantivySearch::open(folder).await.unwrap();
    search.begin(tenant, &schema()).await.unwrap();
    search.publish(tenant).await.unwrap();
    write(&search, tenant, [put("a", "word", "")]).await;
    write(&search, tenant, [put("b", "word", "")]).await;
}

#[tokio::test]
async fn what_was_written_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = servers::tenant();
    filled(folder.path(), &tenant).await;
    let search = TantivySearch::open(folder.path()).await.unwrap();
    assert_eq!(found(&search, &tenant, &text("word")).await, ["a", "b"]);
    let stale = search.write(&tenant, &[Change::Put(put("a", "other", ""))]).await.unwrap();
    assert_eq!((stale.applied, stale.stale), (0, 1));
}

#[tokio::test]
async fn a_damaged_index_is_named_and_built_anew_beside_the_others() {
    for damage in [flip_a_byte, cut_short, remove] {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, other) = (servers::tenant(), servers::tenant());
        filled(folder.path(), &tenant).await;
        filled(folder.path(), &other).await;
        damage(&folder.path().join(tenant.as_str()).join("1"));

        let search = TantivySearch::open(folder.path()).await.unwrap();
        let error = search.search(&tenant, &all()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Corrupt, "{error}");
        assert!(error.detail.contains("build a new one"), "{error}");
        assert_eq!(kind(search.write(&tenant, &[Change::Put(put("c", "", ""))]).await), ErrorKind::Corrupt);
        assert_eq!(found(&search, &other, &all()).await, ["a", "b"]);

        assert_eq!(search.indices(&tenant).await.unwrap().live, None);
        search.begin(&tenant, &schema()).await.unwrap();
        write(&search, &tenant, [put("c", "", "")]).await;
        search.publish(&tenant).await.unwrap();
        assert_eq!(found(&search, &tenant, &all()).await, ["c"]);
    }
}

/// The largest file of an index.
fn largest(index: &Path) -> std::path::PathBuf {
    let files =
        fs::read_dir(index).unwrap().flatten().filter(|file| file.path().extension().is_some_and(|end| end == "store"));
    files.map(|file| file.path()).max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
}

fn flip_a_byte(index: &Path) {
    let path = largest(index);
    let mut bytes = fs::read(&path).unwrap();
    bytes[5] ^= 1;
    replace(&path, &bytes);
}

fn cut_short(index: &Path) {
    let path = largest(index);
    let bytes = fs::read(&path).unwrap();
    replace(&path, &bytes[..bytes.len() / 2]);
}

fn remove(index: &Path) {
    fs::remove_file(largest(index)).unwrap();
}

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_folder_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), &servers::tenant()).await;
    fs::write(folder.path().join("format"), "2").unwrap();
    let error = TantivySearch::open(folder.path()).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::TooNew, "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("format")).unwrap(), "2");
}

#[tokio::test]
async fn a_folder_is_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let first = TantivySearch::open(folder.path()).await.unwrap();
    let error = TantivySearch::open(folder.path()).await.unwrap_err();
    assert!(error.detail.contains("another process has"), "{error}");
    drop(first);
    TantivySearch::open(folder.path()).await.unwrap();
}

#[tokio::test]
async fn what_a_change_left_behind_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let tenant = servers::tenant();
    filled(folder.path(), &tenant).await;
    let index = |number: &str| folder.path().join(tenant.as_str()).join(number);
    fs::create_dir(index("2")).unwrap();
    fs::write(index("2").join("half"), "").unwrap();
    let search = TantivySearch::open(folder.path()).await.unwrap();
    assert_eq!(found(&search, &tenant, &all()).await, ["a", "b"]);
    assert!(index("1").exists() && !index("2").exists());
}

#[tokio::test]
async fn a_full_disk_keeps_a_write_whole_or_not_at_all_and_goes_on_when_there_is_room() {
    const WRITES_MAX: usize = 1_000;
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let (tenant, folder) = (servers::tenant(), disk.path().join("search"));
    filled(&folder, &tenant).await;
    let search = TantivySearch::open(&folder).await.unwrap();
    let batch = |n: usize| {
        let changes =
            (0..10).map(|i| Change::Put(put(&format!("{n:04}-{i}"), "batch", &noise(1_000 * n + 100 * i, 100))));
        changes.collect::<Vec<_>>()
    };
    search.write(&tenant, &batch(0)).await.unwrap();
    let filler = disk.fill();
    let mut acknowledged = 1;
    let error = loop {
        match search.write(&tenant, &batch(acknowledged)).await {
            Ok(_) if acknowledged < WRITES_MAX => acknowledged += 1,
            Ok(_) => panic!("a full disk takes {WRITES_MAX} writes"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, ErrorKind::Full, "{error}");
    // More than a writer keeps in memory, so that it meets the disk before the commit.
    let large: Vec<Change> =
        (0..80).map(|i| Change::Put(put(&format!("l{i}"), "", &noise(i * 8_000, 8_000)))).collect();
    assert_eq!(kind(search.write(&tenant, &large).await), ErrorKind::Full);
    assert_eq!(kind(search.begin(&tenant, &schema()).await), ErrorKind::Full);
    // What was there is still found, and of the refused write nothing.
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 2 + 10 * acknowledged as u64);

    fs::remove_file(filler).unwrap();
    search.write(&tenant, &batch(acknowledged)).await.unwrap();
    search.begin(&tenant, &schema()).await.unwrap();
    search.abandon(&tenant).await.unwrap();
    drop(search);
    let search = TantivySearch::open(&folder).await.unwrap();
    assert_eq!(search.search(&tenant, &all()).await.unwrap().matches, 2 + 10 * (acknowledged as u64 + 1));
}

/// Words that occur once, so that they take room.
fn noise(first: usize, words: usize) -> String {
    (first..first + words).map(|word| format!("w{:x} ", word.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect()
}
