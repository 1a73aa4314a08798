//! What every backend of [`Search`] does alike: one behaviour a function, stamped for each backend.

mod embedded;
mod filters;
mod indices;
mod pages;
mod texts;
mod versions;

use attune_ranking::attributes::{Kind, Schema, Value};
use attune_ranking::filter::parse;
use attune_store::search::{Change, Entry, Page, Query, Search};
use attune_store::{ErrorKind, StoreError, Tenant};

use crate::servers;

/// A backend, and what has to live as long as it.
pub struct Backend {
    pub search: Box<dyn Search>,
    _folder: Option<tempfile::TempDir>,
}

async fn tantivy() -> Option<Backend> {
    let folder = tempfile::tempdir().unwrap();
    let search = attune_store::embedded::search::TantivySearch::open(&folder.path().join("search")).await.unwrap();
    Some(Backend { search: Box::new(search), _folder: Some(folder) })
}

async fn elasticsearch() -> Option<Backend> {
    use attune_store::network::search::{ElasticsearchOptions, ElasticsearchSearch};
    let uri = servers::server("ATTUNE_TEST_ELASTICSEARCH")?;
    // The scheme of the store says over which protocol of the network it speaks.
    let url = uri.replacen("elasticsearchs://", "https://", 1).replacen("elasticsearch://", "http://", 1);
    let search = ElasticsearchSearch::new(ElasticsearchOptions::new(url.parse().unwrap())).unwrap();
    Some(Backend { search: Box::new(search), _folder: None })
}

macro_rules! conform {
    ($backend:ident: $($module:ident::$behaviour:ident),* $(,)?) => {
        mod $backend {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $behaviour() {
                    if let Some(backend) = super::$backend().await {
                        super::$module::$behaviour(backend.search.as_ref()).await;
                    }
                }
            )*
        }
    };
}

macro_rules! conform_all {
    ($($backend:ident),*) => {
        $(
            conform! { $backend:
                filters::the_table_of_truth_holds,
                filters::there_is_no_third_value,
                filters::attributes_have_any_names,
                filters::what_does_not_fit_the_schema_is_refused,
                filters::facets_count_everything_that_matches,
                texts::every_word_has_to_be_there,
                texts::a_title_counts_twice,
                texts::nearly_the_same_words_are_found_where_none_is_the_same,
                texts::words_are_shown_where_they_are,
                texts::an_empty_text_chooses_nothing_and_one_without_words_finds_nothing,
                pages::every_hit_is_on_one_page_by_relevance,
                pages::every_hit_is_on_one_page_by_attribute,
                pages::pages_by_attribute_stay_while_others_are_written,
                versions::the_newest_version_stays_in_whatever_order_they_come,
                versions::concurrent_writers_lose_nothing,
                versions::ids_are_any_text,
                versions::what_is_too_large_is_refused_whole,
                indices::a_tenant_begins_with_nothing,
                indices::a_new_index_takes_over_without_a_gap,
                indices::a_new_index_has_a_schema_of_its_own,
                indices::one_new_index_at_a_time,
                indices::an_abandoned_index_leaves_the_live_one,
                indices::tenants_do_not_see_each_other,
                indices::an_erased_tenant_has_nothing,
                indices::the_store_says_what_it_is,
            }
        )*
    };
}

conform_all!(tantivy, elasticsearch);

/// The attributes of most tests.
pub fn schema() -> Schema {
    Schema::new([("colour", Kind::Keyword), ("price", Kind::Number), ("tags", Kind::KeywordList)]).unwrap()
}

/// A tenant with an empty live index.
pub async fn begun(search: &dyn Search, schema: &Schema) -> Tenant {
    let tenant = servers::tenant();
    search.begin(&tenant, schema).await.unwrap();
    search.publish(&tenant).await.unwrap();
    tenant
}

pub fn put(id: &str, title: &str, text: &str) -> Entry {
    Entry { id: id.into(), version: 1, title: title.into(), text: text.into(), attributes: vec![] }
}

pub async fn write(search: &dyn Search, tenant: &Tenant, entries: impl IntoIterator<Item = Entry>) {
    let changes: Vec<Change> = entries.into_iter().map(Change::Put).collect();
    let written = search.write(tenant, &changes).await.unwrap();
    assert_eq!((written.applied, written.stale), (changes.len(), 0));
    search.refresh(tenant).await.unwrap();
}

pub fn all() -> Query {
    Query { hits_max: 100, ..Query::default() }
}

pub fn text(text: &str) -> Query {
    Query { text: text.into(), ..all() }
}

pub fn filter(filter: &str) -> Query {
    Query { filter: Some(parse(filter).unwrap()), ..all() }
}

/// The ids of the hits, sorted.
pub fn ids(page: &Page) -> Vec<&str> {
    let mut ids: Vec<&str> = page.hits.iter().map(|hit| hit.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

pub async fn found(search: &dyn Search, tenant: &Tenant, query: &Query) -> Vec<String> {
    ids(&search.search(tenant, query).await.unwrap()).into_iter().map(str::to_owned).collect()
}

pub fn kind<T: std::fmt::Debug>(result: Result<T, StoreError>) -> ErrorKind {
    result.unwrap_err().kind
}

pub fn number(value: f64) -> Value {
    Value::Number(value)
}

pub fn keyword(value: &str) -> Value {
    Value::Keyword(value.into())
}
