//! The backends of `Documents`.

use std::io::Write;
use std::time::Duration;

use attune_store::documents::Documents;
use attune_store::embedded::documents::SqliteDocuments;
use attune_store::network::documents::MongoDocuments;
use tempfile::TempDir;

use crate::servers::server;

pub struct Fixture {
    pub store: Box<dyn Documents>,
    is_atomic: bool,
    _folder: Option<TempDir>,
}

impl Fixture {
    /// Whether a document is changed atomically. Where it is not, the test of that name is skipped, which is said.
    pub fn is_atomic(&self, test: &str) -> bool {
        if !self.is_atomic {
            skip_on_ferret(test, "its updates of one document are not atomic");
        }
        self.is_atomic
    }
}

pub fn skip_on_ferret(test: &str, why: &str) {
    let _unread = writeln!(std::io::stderr(), "skipped: {test}: the server is FerretDB, not MongoDB: {why}");
}

pub async fn sqlite() -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteDocuments::open(&folder.path().join("of our/documents?#%.db")).await.unwrap();
    Some(Fixture { store: Box::new(store), is_atomic: true, _folder: Some(folder) })
}

pub async fn mongodb() -> Option<Fixture> {
    let url = server("ATTUNE_TEST_MONGODB")?.parse().unwrap();
    let store = MongoDocuments::open(&url, 16, Duration::from_secs(60)).await.unwrap();
    let is_atomic = store.is_atomic();
    Some(Fixture { store: Box::new(store), is_atomic, _folder: None })
}
