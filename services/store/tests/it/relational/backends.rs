//! The backends of `Relational`.

use std::time::Duration;

use attune_store::relational::Relational;
use attune_store::{embedded, network};
use tempfile::TempDir;

use crate::servers::server;

pub struct Fixture {
    pub store: Box<dyn Relational>,
    _folder: Option<TempDir>,
}

pub async fn sqlite() -> Option<Fixture> {
    let folder = tempfile::tempdir().unwrap();
    let store = embedded::relational::open(&folder.path().join("of our/attune?#%.db")).await.unwrap();
    Some(Fixture { store: Box::new(store), _folder: Some(folder) })
}

pub async fn postgres() -> Option<Fixture> {
    let url = server("ATTUNE_TEST_POSTGRES")?.parse().unwrap();
    let store = network::relational::open(&url, 4, Duration::from_secs(30)).await.unwrap();
    Some(Fixture { store: Box::new(store), _folder: None })
}
