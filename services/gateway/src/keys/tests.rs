use std::fs;

use attune_store::{
    StoreKind,
    guard::{Fault, Faults, Guard, Guarded, Settings},
};
use tempfile::TempDir;

use super::{records::OVERLAP_MAX, text::is_well_formed, *};

/// Rows in a folder, and what goes wrong with them.
struct Rows {
    folder: TempDir,
    rows: Arc<dyn Relational>,
    faults: Arc<Faults>,
}

async fn rows() -> Rows {
    let (folder, faults) = (tempfile::tempdir().unwrap(), Arc::<Faults>::default());
    let sqlite = attune_store::embedded::relational::open(&folder.path().join("relational.db")).await.unwrap();
    let guard = Guard::new(StoreKind::Relational, "sqlite", Settings::embedded()).with_faults(Arc::clone(&faults));
    let inner: Arc<dyn Relational> = Arc::new(sqlite);
    Rows { folder, rows: Arc::new(Guarded::new(inner, guard)), faults }
}

impl Rows {
    async fn open(&self) -> Result<(KeyStore, Option<NewKey>), KeyStoreError> {
        KeyStore::open(Arc::clone(&self.rows), self.folder.path()).await
    }

    /// Another process on the same rows, with the same secret, that believes what it read for so long.
    async fn another(&self, fresh: Duration) -> KeyStore {
        let secret = HashSecret::open(&self.folder.path().join(FOLDER), false).unwrap();
        KeyStore::new(Arc::clone(&self.rows), secret, Lives { fresh, ..Lives::default() })
    }
}

fn code(outcome: Result<Caller, ApiError>) -> ErrorCode {
    outcome.unwrap_err().code
}

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_key_is_recognisable_and_checks_itself() {
    let rows = rows().await;
    let (store, key) = rows.open().await.unwrap();
    let key = key.unwrap();
    assert!(key.secret.starts_with(text::PREFIX) && is_well_formed(&key.secret));
    let caller = store.verify(&key.secret).await.unwrap();
    assert_eq!((&*caller.id, &*caller.tenant), (key.id.as_str(), DEFAULT_TENANT));

    let flipped = if key.secret.as_bytes()[10] == b'x' { "y" } else { "x" };
    let mistyped = format!("{}{flipped}{}", &key.secret[..10], &key.secret[11..]);
    assert!(!is_well_formed(&mistyped));
    assert_eq!(code(store.verify(&mistyped).await), ErrorCode::Unauthenticated);
    assert!(!format!("{key:?}").contains(&key.secret));
}

#[tokio::test]
async fn another_servers_key_is_unknown() {
    let (here, there) = (rows().await, rows().await);
    let (store, _) = here.open().await.unwrap();
    let other = there.open().await.unwrap().1.unwrap();
    assert!(is_well_formed(&other.secret));
    for nonsense in ["", "att_", "\u{e9}", &"a".repeat(1_000), &other.secret] {
        assert_eq!(code(store.verify(nonsense).await), ErrorCode::Unauthenticated, "{nonsense}");
    }
}

#[tokio::test]
async fn the_admin_key_is_made_once_and_survives_a_restart() {
    let rows = rows().await;
    let first = rows.open().await.unwrap().1.expect("a first start makes a key");
    let (again, none) = rows.open().await.unwrap();
    assert!(none.is_none() && again.verify(&first.secret).await.is_ok());
    let log = rows.rows.audit(&default_tenant(), PageRequest::first(10)).await.unwrap().rows;
    assert_eq!((log[0].entry.action.as_str(), log.len()), ("key.create", 1));
}

#[tokio::test]
async fn of_two_first_starts_one_makes_the_key() {
    let rows = rows().await;
    let tenant = default_tenant();
    let start = || KeyStore::in_memory(Arc::clone(&rows.rows), &tenant);
    let (a, b) = tokio::join!(start(), start());
    let kept = rows.rows.keys(&default_tenant(), PageRequest::first(10)).await.unwrap().rows.len();
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), kept);
    assert!(kept >= 1);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_servers_user_may_read_the_secret() {
    use std::os::unix::fs::PermissionsExt;
    let rows = rows().await;
    rows.open().await.unwrap();
    let path = rows.folder.path().join(FOLDER).join(secret::FILE);
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_lost_secret_is_told_and_not_replaced() {
    let rows = rows().await;
    let path = rows.folder.path().join(FOLDER).join(secret::FILE);
    let check = || KeyStore::check(&*rows.rows, rows.folder.path());
    assert!(!check().await.unwrap() && !path.exists(), "a look makes none");
    rows.open().await.unwrap();
    assert!(check().await.unwrap());
    fs::write(&path, "short").unwrap();
    assert!(matches!(rows.open().await, Err(KeyStoreError::Damaged { .. })));
    assert!(matches!(check().await, Err(KeyStoreError::Damaged { .. })));
    fs::remove_file(&path).unwrap();
    assert!(matches!(rows.open().await, Err(KeyStoreError::Damaged { .. })));
    assert!(matches!(check().await, Err(KeyStoreError::Damaged { .. })));
    assert!(!path.exists());
}

/// The file as an earlier version wrote it, and the key in it.
fn write_key_file(folder: &Path, key: &str) {
    let secret = HashSecret::open(folder, true).unwrap();
    let hash = text::hex(&secret.hash(key));
    let entry = format!(r#"{{"id":"key_old","name":"admin","scopes":["admin"],"hash":"{hash}","created_unix_s":7}}"#);
    fs::write(folder.join("keys.json"), format!(r#"{{"version":1,"keys":[{entry}]}}"#)).unwrap();
}

#[tokio::test]
async fn the_keys_of_a_file_are_taken_over_once() {
    let rows = rows().await;
    let (folder, key) = (rows.folder.path().join(FOLDER), text::new_key().unwrap());
    write_key_file(&folder, &key);
    let (store, new) = rows.open().await.unwrap();
    assert!(new.is_none(), "the old admin key is enough");
    assert_eq!(&*store.verify(&key).await.unwrap().id, "key_old");
    assert_eq!(store.key(&default_tenant(), "key_old").await.unwrap().created_ms, 7_000);
    assert!(!folder.join("keys.json").exists() && folder.join("keys.json.imported").exists());

    // Killed between the store and the file: the next start finds the file again.
    fs::rename(folder.join("keys.json.imported"), folder.join("keys.json")).unwrap();
    store.revoke("test", &default_tenant(), "key_old").await.unwrap();
    let (store, new) = rows.open().await.unwrap();
    assert!(new.is_none());
    assert_eq!(code(store.verify(&key).await), ErrorCode::Unauthenticated, "a revoked key stays so");
}

#[tokio::test]
async fn a_damaged_file_is_told_and_left_as_it_is() {
    let rows = rows().await;
    let folder = rows.folder.path().join(FOLDER);
    fs::create_dir(&folder).unwrap();
    for damage in [r#"{"version":1,"keys":[{]}"#, r#"{"version":2,"keys":[]}"#, "{}"] {
        fs::write(folder.join("keys.json"), damage).unwrap();
        assert!(matches!(rows.open().await, Err(KeyStoreError::Damaged { .. })), "{damage}");
        assert_eq!(fs::read_to_string(folder.join("keys.json")).unwrap(), damage);
    }
}

#[tokio::test]
async fn a_revoked_key_ends_here_at_once_and_elsewhere_when_it_is_asked_for_again() {
    let rows = rows().await;
    let (store, key) = rows.open().await.unwrap();
    let (key, tenant) = (key.unwrap(), default_tenant());
    let (asks_always, believes) = (rows.another(Duration::ZERO).await, rows.another(HOUR).await);
    for store in [&store, &asks_always, &believes] {
        assert!(store.verify(&key.secret).await.is_ok());
    }
    store.revoke("test", &tenant, &key.id).await.unwrap();
    assert_eq!(code(store.verify(&key.secret).await), ErrorCode::Unauthenticated);
    assert_eq!(code(asks_always.verify(&key.secret).await), ErrorCode::Unauthenticated);
    assert!(believes.verify(&key.secret).await.is_ok());
    store.revoke("test", &tenant, &key.id).await.unwrap();
    assert_eq!(store.revoke("test", &tenant, "key_none").await.unwrap_err().code, ErrorCode::Absent);
}

#[tokio::test]
async fn a_key_that_is_known_outlives_the_store_for_a_while_and_a_new_one_is_not_guessed_at() {
    let rows = rows().await;
    let (_, key) = rows.open().await.unwrap();
    let key = key.unwrap();
    let store = rows.another(Duration::ZERO).await;
    assert!(store.verify(&key.secret).await.is_ok());
    for fault in [Fault::Silent, Fault::Fail(ErrorKind::Unavailable)] {
        rows.faults.from_now_on(fault);
        assert!(store.verify(&key.secret).await.is_ok(), "{fault:?}");
        let stranger = rows.another(Duration::ZERO).await;
        assert_eq!(code(stranger.verify(&key.secret).await), ErrorCode::Unavailable, "{fault:?}");
        rows.faults.clear();
    }
}

#[tokio::test]
async fn many_requests_with_a_new_key_are_one_lookup() {
    let rows = rows().await;
    let (_, key) = rows.open().await.unwrap();
    let (key, store) = (key.unwrap(), rows.another(HOUR).await);
    // Only the first answer comes: whoever asked a second time would fail.
    rows.faults.plan(Some("key_of"), Fault::Late(Duration::from_millis(20)), 1);
    rows.faults.plan(Some("key_of"), Fault::Fail(ErrorKind::Internal), u32::MAX);
    let requests = (0..50).map(|_| store.verify(&key.secret));
    assert!(futures::future::join_all(requests).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn what_has_ended_is_refused_and_what_would_have_ended_is_not_made() {
    let rows = rows().await;
    let (store, _) = rows.open().await.unwrap();
    let tenant = default_tenant();
    let spec = |expires_ms| KeySpec { expires_ms, ..KeySpec::new("short", &[Scope::Read]) };
    let past = clock::wall_ms() - 1;
    let refused = store.create("test", &tenant, spec(Some(past))).await.unwrap_err();
    assert_eq!((refused.code, refused.fields[0].pointer.as_str()), (ErrorCode::Invalid, "/expires_at"));
    let short = store.create("test", &tenant, spec(Some(clock::wall_ms() + 3_600_000))).await.unwrap();
    assert!(store.verify(&short.secret).await.is_ok());
    // Whoever made this row has seen the time pass.
    let row = store.key(&tenant, &short.id).await.unwrap();
    let expect = Expect::Version(row.version);
    let ended = ApiKey { expires_ms: Some(past), ..row };
    rows.rows.commit(&tenant, vec![Write::PutApiKey { key: ended, expect }]).await.unwrap();
    assert_eq!(code(rows.another(HOUR).await.verify(&short.secret).await), ErrorCode::Unauthenticated);

    for (title, scopes) in [("", &[Scope::Read][..]), (&"x".repeat(1_000), &[Scope::Read]), ("none", &[])] {
        let refused = store.create("test", &tenant, KeySpec::new(title, scopes)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Invalid, "{title}");
    }
    let nowhere = "nobody".parse().unwrap();
    let refused = store.create("test", &nowhere, KeySpec::new("a", &[Scope::Read])).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Absent);
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_the_overlap_and_no_longer() {
    let rows = rows().await;
    let (store, _) = rows.open().await.unwrap();
    let tenant = default_tenant();
    let old = store.create("test", &tenant, KeySpec::new("app", &[Scope::Read, Scope::Write])).await.unwrap();
    assert!(store.verify(&old.secret).await.is_ok());
    let new = store.rotate("test", &tenant, &old.id, HOUR).await.unwrap();
    let (before, after) = (store.verify(&old.secret).await.unwrap(), store.verify(&new.secret).await.unwrap());
    assert_eq!((before.scopes, before.tenant), (after.scopes, after.tenant));
    let ends_ms = store.key(&tenant, &old.id).await.unwrap().expires_ms.unwrap();
    assert!((1..=3_600_000).contains(&(ends_ms - clock::wall_ms())));
    assert_eq!(store.key(&tenant, &new.id).await.unwrap().expires_ms, None);

    let newest = store.rotate("test", &tenant, &new.id, Duration::ZERO).await.unwrap();
    assert_eq!(code(store.verify(&new.secret).await), ErrorCode::Unauthenticated);
    assert!(store.verify(&newest.secret).await.is_ok());
    let again = store.rotate("test", &tenant, &new.id, HOUR).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::Conflict);
    let for_ever = store.rotate("test", &tenant, &newest.id, OVERLAP_MAX + HOUR).await.unwrap_err();
    assert_eq!(for_ever.code, ErrorCode::Invalid);
}

#[tokio::test]
async fn the_last_use_is_noted_behind_the_request() {
    let rows = rows().await;
    let (store, key) = rows.open().await.unwrap();
    let key = key.unwrap();
    let used = async || store.key(&default_tenant(), &key.id).await.unwrap().used_ms;
    assert_eq!(used().await, None);
    store.verify(&key.secret).await.unwrap();
    while used().await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let first = used().await;
    rows.another(Duration::ZERO).await.verify(&key.secret).await.unwrap();
    store.verify(&key.secret).await.unwrap();
    assert_eq!(used().await, first, "within a minute once");
}

#[tokio::test]
async fn a_request_with_a_known_key_asks_no_store() {
    const REQUESTS: usize = 10_000;
    let rows = rows().await;
    let (_, key) = rows.open().await.unwrap();
    let (key, store) = (key.unwrap(), rows.another(HOUR).await);
    let limiter = crate::limits::Limiter::new(crate::RateLimits::default(), None);
    store.verify(&key.secret).await.unwrap();
    // Whoever asked would wait for ever.
    rows.faults.from_now_on(Fault::Silent);
    let mut times = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let begun = std::time::Instant::now();
        let caller = store.verify(&key.secret).await.unwrap();
        let left = limiter.caller(&caller).await.expect("ten thousand a second are allowed, and twice that at once");
        limiter.show(left, &mut http::HeaderMap::new());
        times.push(begun.elapsed());
    }
    times.sort();
    // Reported, not asserted: this is not an optimised build.
    eprintln!("key, rates and headers: p50 {:?}, p99 {:?}", times[REQUESTS / 2], times[REQUESTS * 99 / 100]);
}
