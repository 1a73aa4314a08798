//! Search in a folder over 100,000 items: how long writing them takes, and each kind of query.
//!
//! `cargo bench --package attune-benches --bench store_search [-- ELASTICSEARCH]`; where a URL such as
//! `http://127.0.0.1:19200` names it, in Elasticsearch, too, under a tenant of its own. Words are drawn by Zipf's law, so
//! that a query has common and rare ones as real ones do. The figures are for one caller; facets count every match.

mod times;

use std::time::Instant;

use attune_ranking::attributes::{Kind, Schema, Value};
use attune_ranking::filter::parse;
use attune_store::Tenant;
use attune_store::embedded::search::TantivySearch;
use attune_store::network::search::{ElasticsearchOptions, ElasticsearchSearch};
use attune_store::search::{CHANGES_MAX, Change, Entry, FacetQuery, Order, Query, Search};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const ITEMS: u64 = 100_000;
const QUERIES: usize = 2_000;
const VOCABULARY: f64 = 50_000.0;

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(&TantivySearch::open(folder.path()).await.expect("the folder"), QUERIES).await;
    // Cargo adds a flag of its own.
    let Some(url) = std::env::args().skip(1).find(|one| !one.starts_with('-')) else { return };
    times::say(&format!("\n{url}"));
    let options = ElasticsearchOptions::new(url.parse().expect("http://HOST:PORT"));
    run(&ElasticsearchSearch::new(options).expect("a client"), QUERIES / 4).await;
}

async fn run(search: &dyn Search, queries: usize) {
    let tenant: Tenant = format!("bench-{:08x}", rand::random::<u32>()).parse().expect("letters and digits");
    let mut random = StdRng::seed_from_u64(1);
    let schema =
        [("category", Kind::Keyword), ("price", Kind::Number), ("tags", Kind::KeywordList), ("new", Kind::Boolean)];
    search.begin(&tenant, &Schema::new(schema).expect("names")).await.expect("begin");
    search.publish(&tenant).await.expect("publish");

    let begun = Instant::now();
    let mut entries = (0..ITEMS).map(|number| Change::Put(entry(number, &mut random)));
    loop {
        let changes: Vec<Change> = entries.by_ref().take(CHANGES_MAX).collect();
        if changes.is_empty() {
            break;
        }
        search.write(&tenant, &changes).await.expect("write");
    }
    search.refresh(&tenant).await.expect("refresh");
    let seconds = begun.elapsed().as_secs_f64();
    times::say(&format!("write      {ITEMS} items in {seconds:.1} s, {:.0} items/s", ITEMS as f64 / seconds));
    times::say(&format!("resident   {} MiB", resident_bytes() >> 20));
    for name in ["words", "filter", "facets", "typo", "sorted", "deep page"] {
        let asked: Vec<Query> = (0..queries).map(|_| query(name, &mut random)).collect();
        times::time(name, queries, async |number| {
            search.search(&tenant, &asked[number]).await.expect("search");
        })
        .await;
    }
    search.erase(&tenant).await.expect("erase");
}

fn entry(number: u64, random: &mut StdRng) -> Entry {
    let words = |count: usize, random: &mut StdRng| (0..count).map(|_| word(random)).collect::<Vec<_>>().join(" ");
    let tags = (0..3).map(|_| format!("tag{}", random.random_range(0..500))).collect();
    Entry {
        id: format!("item-{number}"),
        version: 1,
        title: words(4, random),
        text: words(40, random),
        attributes: vec![
            ("category".to_owned(), Value::Keyword(format!("category{}", random.random_range(0..40)))),
            ("price".to_owned(), Value::Number(random.random_range(1.0..100.0))),
            ("tags".to_owned(), Value::Keywords(tags)),
            ("new".to_owned(), Value::Boolean(random.random_bool(0.1))),
        ],
    }
}

/// The word of a rank that is drawn by Zipf's law, spelt in syllables.
fn word(random: &mut StdRng) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ter", "san", "vu", "ren", "do", "pel", "gri", "no", "sha", "bel", "fo", "qui", "zan"];
    let mut rank = VOCABULARY.powf(random.random::<f64>()) as usize;
    let mut word = String::new();
    while rank > 0 {
        word.push_str(SYLLABLES[rank % 16]);
        rank /= 16;
    }
    word
}

fn query(name: &str, random: &mut StdRng) -> Query {
    let two_words = format!("{} {}", word(random), word(random));
    let filter = || parse(r#"price < 30 and not new and category in ["category1", "category2", "category3"]"#).ok();
    let facet = |attribute: &str| FacetQuery { attribute: attribute.to_owned(), values_max: 20 };
    let plain = Query { text: two_words, hits_max: 20, highlight: true, ..Query::default() };
    match name {
        "words" => plain,
        "filter" => Query { filter: filter(), ..plain },
        "facets" => {
            Query { facets: vec![facet("category"), facet("tags"), facet("new")], text: String::new(), ..plain }
        }
        "typo" => Query { text: format!("{}x", word(random)), ..plain },
        "sorted" => {
            let order = Order::By { attribute: "price".to_owned(), descending: true };
            Query { order, filter: filter(), text: String::new(), ..plain }
        }
        _ => Query { text: word(random), hits_max: 1_000, highlight: false, ..plain },
    }
}

/// Memory of this process in RAM; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).map_or(0, |kib| kib << 10)
}
