//! Real servers to test against, where there are any.
//!
//! `ATTUNE_TEST_POSTGRES`, `ATTUNE_TEST_REDIS`, `ATTUNE_TEST_ELASTICSEARCH`, `ATTUNE_TEST_MONGODB`, `ATTUNE_TEST_KAFKA`
//! and `ATTUNE_TEST_S3` name one each by its URI. Without one the tests that need it are skipped, which is said where the
//! test harness does not swallow it; with `ATTUNE_TEST_ALL=1`, as `make test-services` sets it, they fail.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Mutex;

/// The URI of a server, for example of `ATTUNE_TEST_REDIS`.
pub fn server(variable: &'static str) -> Option<String> {
    if let Ok(uri) = std::env::var(variable) {
        return Some(uri);
    }
    assert!(std::env::var_os("ATTUNE_TEST_ALL").is_none(), "{variable} names no server: `make services` starts one");
    static SAID: Mutex<Option<HashSet<&str>>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if said.get_or_insert_default().insert(variable) {
        let _unread = writeln!(std::io::stderr(), "skipped: {variable} is not set (see `make test-services`)");
    }
    None
}

/// A tenant that nobody else has.
pub fn tenant() -> attune_store::Tenant {
    format!("t{:016x}", rand::random::<u64>()).parse().expect("letters and digits")
}
