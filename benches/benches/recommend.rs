//! What a recommendation costs, networks and stores aside: five sources over 100,000 items, with a filter, on one thread.
//!
//! - `sources`: each source by itself, 100 candidates within a filter that every second item fulfils, 1,000 items seen;
//! - `retrieve`: the filter and all five of them, one after the other;
//! - `list`: all stages, to 20 items with rules, diversity and Thompson sampling.
//!
//! ```text
//! cargo bench -p attune-benches --bench recommend
//! ```

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use attune_ranking::attributes::{Kind, Schema, Value};
use attune_ranking::filter::{Filter, parse};
use attune_ranking::index::{Index, Item, Metric, View};
use attune_ranking::pipeline::{Models, Pipeline, PipelineSpec, Wanted, World};
use attune_ranking::retrieve::{
    Checked, Factors, Latest, Ranked, Related, RelatedOptions, Request, Scratch, Semantic, Source, Taste, Trends,
};
use attune_ranking::score::{Examples, LogisticBlend, LogisticOptions};
use attune_ranking::train::{Als, AlsOptions, AlsParts, Popular, SparseParts};
use criterion::{Criterion, criterion_group, criterion_main};

const ITEMS: u32 = 100_000;
const FACTORS: usize = 64;
const CONTENT: usize = 384;
const CENTRES: u64 = 1_000;
const NEIGHBOURS: u32 = 100;
const NOW: i64 = 1_800_000_000;

const SPEC: &str = r#"{
    "sources": [{"source": "factors"}, {"source": "neighbours"}, {"source": "semantic"}, {"source": "trending"},
                {"source": "latest"}],
    "blend": {"model": {"name": "blend"}},
    "rules": [{"name": "two of a brand", "effect": {"quota": {"attribute": "brand", "at_most": 2}}},
              {"name": "cheap", "filter": "price < 10", "effect": {"boost": {"factor": 1.2}}}],
    "diversity": {"amount": 0.2},
    "exploration": {"thompson": {"pool": 50}}
}"#;

/// A number from -1 to 1 that only depends on these.
fn noise(one: u64, two: u64) -> f32 {
    let mut mixed = one.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(two.wrapping_mul(0xd1b5_4a32_d192_ed03));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
}

/// Around centres, as vectors of real items are.
fn vectors(width: usize, salt: u64) -> Vec<f32> {
    let of_item = |item: u64| {
        let centre = (noise(item, salt) + 1.0).mul_add(CENTRES as f32 / 2.0, 0.0) as u64;
        (0..width as u64)
            .map(move |at| noise(centre + 1, at ^ salt << 32) + 0.7 * noise(item + CENTRES, at ^ salt << 32))
    };
    (0..u64::from(ITEMS)).flat_map(of_item).collect()
}

fn schema() -> Schema {
    Schema::new([("brand", Kind::Keyword), ("price", Kind::Number)]).expect("names are fine")
}

fn view(metric: Metric, vectors: &[f32], width: usize) -> View {
    let index = Index::new(width, metric, schema()).expect("a width that is possible");
    let item = |(row, vector): (u32, &[f32])| Item {
        row,
        vector: vector.to_vec(),
        attributes: vec![
            ("brand".into(), Value::Keyword(format!("brand {}", row * 7 % 500))),
            ("price".into(), Value::Number(f64::from(row % 100))),
        ],
    };
    index.upsert((0..).zip(vectors.chunks(width)).map(item).collect(), 2).expect("items that fit");
    index.view()
}

fn links() -> SparseParts {
    let row = |item: u32| {
        let mut row: Vec<u32> = (1..=NEIGHBOURS).map(|step| (item + step * step * 31) % ITEMS).collect();
        row.sort_unstable();
        row.dedup();
        row
    };
    let (mut offsets, mut columns) = (vec![0], Vec::new());
    for item in 0..ITEMS {
        columns.extend(row(item));
        offsets.push(columns.len() as u64);
    }
    let values = columns.iter().map(|column| 1.0 / (1.0 + (column % 50) as f32)).collect();
    SparseParts { offsets, columns, values }
}

struct Shop {
    contents: View,
    pipeline: Pipeline,
}

fn shop() -> Shop {
    let (items, users) = (vectors(FACTORS, 1), vec![0.1; FACTORS]);
    let options = AlsOptions { factors: FACTORS, ..AlsOptions::default() };
    let factors = view(Metric::InnerProduct, &items, FACTORS);
    let popular = Popular::from_scores((0..ITEMS).map(|row| (row % 1_009) as f32).collect());
    let als = Als::from_parts(AlsParts { options, users, items, popular, weight_scale: 1.0 }).expect("parts that fit");
    let contents = view(Metric::Cosine, &vectors(CONTENT, 2), CONTENT);
    let mut trends = Trends::new(86_400.0).expect("above 0");
    (0..ITEMS).for_each(|row| trends.add(row, 1.0, NOW - i64::from(row * 7_919 % 600_000), NOW).expect("finite"));
    let published = (0..ITEMS).map(|row| (row, NOW - i64::from(row * 6_133 % 9_999_991)));
    let sources: BTreeMap<String, Arc<dyn Source>> = [
        ("factors", Arc::new(Factors::new(Arc::new(als), factors, Taste::History).expect("one width")) as _),
        ("neighbours", Arc::new(Related::new(Arc::new(links()), RelatedOptions::default()).expect("links")) as _),
        ("semantic", Arc::new(Semantic::new(contents.clone(), Default::default())) as _),
        ("trending", Arc::new(Ranked::trending(&trends)) as _),
        ("latest", Arc::new(Latest::new(published, 7.0)) as _),
    ]
    .into_iter()
    .map(|(name, source): (&str, Arc<dyn Source>)| (name.to_owned(), source))
    .collect();
    let spec: PipelineSpec = serde_json::from_str(SPEC).expect("a description");
    let by_ranks = PipelineSpec { blend: Default::default(), exploration: Default::default(), ..spec.clone() };
    let schema = schema();
    let mut models = Models { sources: &sources, blends: &BTreeMap::new(), schema: &schema };
    let names = Pipeline::new(&by_ranks, &models).expect("a pipeline").features().to_vec();
    let mut examples = Examples::new(&names);
    for example in 0..2_000_u64 {
        let row: Vec<f32> = (0..names.len() as u64).map(|at| noise(example, at)).collect();
        examples.push(&row, row[0] > noise(example, 99), example, 1.0).expect("a row that fits");
    }
    let (blend, _) = LogisticBlend::train("bench", &examples, &LogisticOptions::default()).expect("both sides");
    let blends = BTreeMap::from([("blend".to_owned(), Arc::new(blend))]);
    models.blends = &blends;
    Shop { pipeline: Pipeline::new(&spec, &models).expect("a pipeline"), contents }
}

/// 50 events, and 1,000 items seen.
fn request() -> Checked {
    let items: Vec<u32> = (0..50).map(|step| step * 1_999 % ITEMS).collect();
    let request = Request {
        weights: vec![1.0; items.len()],
        times: (0..50).map(|step| NOW - 5_000 + 100 * step).collect(),
        excluded: (0..1_000).map(|step| step * 97 % ITEMS).collect(),
        items,
        ..Request::default()
    };
    request.check().expect("a request that fits")
}

fn bench(criterion: &mut Criterion) {
    let (shop, requests) = (shop(), [request()]);
    let filter = parse("price < 50").and_then(|filter| Filter::check(&filter, &schema())).expect("a filter");
    let allowed = shop.contents.rows(Some(&filter));
    let world = World { catalogue: &shop.contents, allowed: Some(&allowed), include: &[], now: NOW, threads: 1 };
    let wanted = [Wanted { k: 20, diversity: None, seed: 1, explain: false }];
    let mut scratch = Scratch::default();
    let mut group = criterion.benchmark_group("sources");
    for (number, name) in shop.pipeline.sources().iter().enumerate() {
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(shop.pipeline.retrieve(number, &requests, &wanted, &world, &mut scratch)));
        });
    }
    group.bench_function("the filter", |bencher| bencher.iter(|| black_box(shop.contents.rows(Some(&filter)))));
    group.finish();
    criterion.bench_function("retrieve", |bencher| {
        bencher.iter(|| {
            let allowed = shop.contents.rows(Some(&filter));
            let world = World { allowed: Some(&allowed), ..world };
            for source in 0..shop.pipeline.sources().len() {
                black_box(shop.pipeline.retrieve(source, &requests, &wanted, &world, &mut scratch));
            }
        });
    });
    criterion.bench_function("list", |bencher| {
        bencher.iter(|| {
            let allowed = shop.contents.rows(Some(&filter));
            let world = World { allowed: Some(&allowed), ..world };
            black_box(shop.pipeline.recommend(&requests, &wanted, &world, &|_| Vec::new(), &mut scratch))
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
