//! Documents put in batches, read, changed, found and gone through, behind their guard, by one caller.
//!
//! `cargo bench --package attune-benches --bench store_documents [-- MONGODB]`: SQLite in a temporary folder (of `TMPDIR`:
//! mind that it may be in memory, where a sync costs nothing) and, where a URI such as `mongodb://127.0.0.1:17017/attune`
//! names it, MongoDB, each under a tenant of its own.

mod times;

use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_store::documents::{Collection, Documents, Put};
use attune_store::embedded::documents::SqliteDocuments;
use attune_store::guard::{Guard, Guarded, Settings};
use attune_store::network::documents::MongoDocuments;
use attune_store::{Expect, PageRequest, StoreKind, Tenant};
use serde_json::{Value, json};

const DOCUMENTS: usize = 10_000;
const BATCHES: [usize; 2] = [100, 1_000];
/// Documents of one owner.
const OWNED: usize = 20;
const CALLS: usize = 1_000;
const COLLECTION: Collection = Collection { name: "bench", lookups: &["owner"] };

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("documents.db");
    let sqlite: Arc<dyn Documents> = Arc::new(SqliteDocuments::open(&path).await.expect("a file of its own"));
    times::say(&format!("{DOCUMENTS} documents of {} bytes, in {}", document(0).to_string().len(), path.display()));
    run(&Guarded::new(sqlite, Guard::new(StoreKind::Documents, "sqlite", Settings::embedded()))).await;
    // Cargo adds a flag of its own.
    let Some(uri) = std::env::args().skip(1).find(|one| !one.starts_with('-')) else { return };
    times::say(&format!("\n{uri}"));
    let opened = MongoDocuments::open(&uri.parse().expect("a URI"), 4, Duration::from_secs(5)).await;
    let mongodb: Arc<dyn Documents> = Arc::new(opened.expect("MongoDB answers"));
    // One caller cannot overload it: a slow call is a figure, and no failure.
    let settings = Settings { attempt_max: Duration::from_secs(60), ..Settings::default() };
    run(&Guarded::new(mongodb, Guard::new(StoreKind::Documents, "mongodb", settings))).await;
}

fn id(number: usize) -> String {
    format!("document-{number:06}")
}

/// About as large as an item with a line of text.
fn document(number: usize) -> Value {
    let text = format!("number {number}, {}", "some words that tell what this is about, ".repeat(8));
    json!({"owner": format!("owner-{}", number / OWNED), "title": id(number), "text": text, "price": number % 100})
}

async fn run(documents: &dyn Documents) {
    let tenant: Tenant = format!("bench-{:08x}", rand::random::<u32>()).parse().expect("letters and digits");
    for batch in BATCHES {
        let begun = Instant::now();
        for first in (0..DOCUMENTS).step_by(batch) {
            let put = |number| Put { id: id(number), body: document(number), expect: Expect::Any };
            let kept =
                documents.put(&tenant, COLLECTION, (first..first + batch).map(put).collect()).await.expect("put");
            assert!(kept.iter().all(Result::is_ok));
        }
        let rate = DOCUMENTS as f64 / begun.elapsed().as_secs_f64();
        times::say(&format!("put in batches of {batch:<5} {rate:>10.0} documents/s"));
    }
    let place = |number: usize| number * 7_919 % DOCUMENTS;
    times::time("get one", CALLS, async |number| {
        let got = documents.get(&tenant, COLLECTION, &[&id(place(number))]).await.expect("get");
        assert!(got[0].is_some());
    })
    .await;
    times::time("get 100 at once", CALLS / 10, async |number| {
        let ids: Vec<String> = (0..100).map(|one| id(place(number * 100 + one))).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert!(documents.get(&tenant, COLLECTION, &ids).await.expect("get").iter().all(Option::is_some));
    })
    .await;
    times::time("put one", CALLS, async |number| {
        let put = Put { id: id(place(number)), body: document(place(number)), expect: Expect::Any };
        assert!(documents.put(&tenant, COLLECTION, vec![put]).await.expect("put")[0].is_ok());
    })
    .await;
    times::time("patch one", CALLS, async |number| {
        let patch = json!({ "price": number });
        documents.patch(&tenant, COLLECTION, &id(place(number)), &patch, Expect::Any).await.expect("patch");
    })
    .await;
    times::time("find the 20 of an owner", CALLS, async |number| {
        let owner = format!("owner-{}", place(number) / OWNED);
        let found = documents.find(&tenant, COLLECTION, "owner", &owner, PageRequest::first(100)).await.expect("find");
        assert_eq!(found.rows.len(), OWNED);
    })
    .await;
    let (begun, mut page, mut read) = (Instant::now(), PageRequest::first(1_000), 0);
    loop {
        let found = documents.scan(&tenant, COLLECTION, page).await.expect("scan");
        read += found.rows.len();
        let Some(next) = found.next else { break };
        page = PageRequest { after: Some(next), rows: 1_000 };
    }
    assert_eq!(read, DOCUMENTS);
    let rate = DOCUMENTS as f64 / begun.elapsed().as_secs_f64();
    times::say(&format!("scan in pages of 1000     {rate:>10.0} documents/s"));
    documents.clear(&tenant, COLLECTION).await.expect("clear");
}
