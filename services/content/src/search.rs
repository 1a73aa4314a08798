//! Finding items: by words, by meaning, or by both.
//!
//! What is hidden, not published yet or expired is left out by the filter itself, and looked at again in the documents
//! that are answered: an index that lags behind cannot show what has just been hidden.

use std::collections::{HashMap, HashSet};
use std::hash::Hasher;
use std::time::{Duration, Instant};

use attune_api::content::{SEARCH_HITS_DEFAULT, SEARCH_HITS_MAX};
use attune_api::error::quoted;
use attune_api::rest::content::{Facet, FacetValue, Highlight, Hit, SearchAnswer, SearchMode, SearchRequest};
use attune_api::{ApiError, Call, ErrorCode};
use attune_ranking::attributes::{Kind, Schema};
use attune_ranking::filter::{Expr, Filter, Literal, Operator, Scalar, parse};
use attune_store::search::{FACETS_MAX, FacetQuery, Fragment, Page, QUERY_BYTES_MAX, Query};
use attune_store::{ErrorKind, StoreError};
use fnv::FnvHasher;

use crate::engine::{self, no_embedder};
use crate::shared::{OfTenant, Shared, defect, off_thread, tenant_of};
use crate::time::{now_micros, rfc3339};

/// How many values of a facet are answered.
const FACET_VALUES: usize = 20;
/// How far down a list by meaning, or by both, pages go.
const DEPTH_MAX: usize = SEARCH_HITS_MAX;
/// How many of each list are joined first. What they lack comes behind it, so that an order of two lists does not depend on
/// how much of it is asked for.
const JOINED_FIRST: usize = 100;
/// Of reciprocal rank fusion (Cormack, Clarke and Buettcher 2009).
const FUSION_RANK: f32 = 60.0;
/// How long a search waits for an index that has an attribute which was first used a moment ago.
const GROWTH_WAIT_MAX: Duration = Duration::from_secs(5);
const GROWTH_POLL: Duration = Duration::from_millis(20);

/// A search, checked.
struct Plan {
    text: String,
    filter: Expr,
    facets: Vec<FacetQuery>,
    hits_max: usize,
}

/// Ids with their scores, the best first.
type Ranking = Vec<(String, f32)>;

impl Shared {
    /// Finds items that are shown now.
    pub async fn find(
        self: &std::sync::Arc<Self>,
        call: &Call,
        request: SearchRequest,
    ) -> Result<SearchAnswer, ApiError> {
        let of = self.of(&tenant_of(call)?)?;
        self.loaded(&of).await?;
        let mut schema = self.schema(&of.tenant).await?.schema();
        let plan = match plan(&request, &schema) {
            // Another replica may have added the attribute.
            Err(error) if error.code == ErrorCode::Invalid => {
                schema = self.schemas.read(self.stores.relational.as_ref(), &of.tenant).await?.schema();
                plan(&request, &schema)?
            }
            planned => planned?,
        };
        let mark = mark_of(&request);
        let cursor = request.cursor.as_deref().map(|cursor| cursor.strip_prefix(&mark).ok_or_else(no_cursor));
        let cursor = cursor.transpose()?;
        let mut answer = match request.mode {
            SearchMode::Text => self.by_words(&of, plan, cursor).await?,
            SearchMode::Semantic | SearchMode::Hybrid => {
                if plan.text.trim().is_empty() {
                    let detail = "a search by meaning needs a text: say what is looked for, or leave out `mode`";
                    return Err(ApiError::at(ErrorCode::Invalid, "/q", detail));
                }
                self.by_meaning(call, &of, plan, cursor, request.mode).await?
            }
        };
        answer.next_cursor = answer.next_cursor.map(|next| mark + &next);
        Ok(answer)
    }

    async fn by_words(
        self: &std::sync::Arc<Self>,
        of: &std::sync::Arc<OfTenant>,
        plan: Plan,
        cursor: Option<&str>,
    ) -> Result<SearchAnswer, ApiError> {
        let after = cursor.map(str::parse).transpose();
        let after = after.map_err(|_: attune_store::search::CursorError| no_cursor())?;
        let query = Query {
            text: plan.text,
            filter: Some(plan.filter),
            facets: plan.facets,
            after,
            hits_max: plan.hits_max,
            highlight: true,
            ..Query::default()
        };
        let page = self.ask_index(of, &query).await?;
        let mut fragments: HashMap<String, Fragment> = HashMap::new();
        let mut ranking = Ranking::with_capacity(page.hits.len());
        for hit in page.hits {
            if let Some(fragment) = hit.fragment {
                fragments.insert(hit.id.clone(), fragment);
            }
            ranking.push((hit.id, hit.score));
        }
        Ok(SearchAnswer {
            hits: self.hits(of, ranking, fragments).await?,
            matches: page.matches,
            facets: facets(page.facets),
            approximate: page.is_approximate,
            next_cursor: page.next.map(|cursor| cursor.to_string()),
        })
    }

    async fn by_meaning(
        self: &std::sync::Arc<Self>,
        call: &Call,
        of: &std::sync::Arc<OfTenant>,
        plan: Plan,
        cursor: Option<&str>,
        mode: SearchMode,
    ) -> Result<SearchAnswer, ApiError> {
        let start = cursor.map_or(Ok(0), place)?;
        let depth = (start + plan.hits_max).min(DEPTH_MAX);
        let joined = if depth <= JOINED_FIRST { JOINED_FIRST } else { DEPTH_MAX };
        let nearest = self.nearest(call, of, &plan, if mode == SearchMode::Hybrid { joined } else { depth });
        let words = Query {
            text: plan.text.clone(),
            filter: Some(plan.filter.clone()),
            hits_max: joined,
            highlight: true,
            ..Query::default()
        };
        // What is counted is what may be found: by meaning, all that the filter allows.
        let counts =
            Query { filter: Some(plan.filter.clone()), facets: plan.facets.clone(), hits_max: 0, ..Query::default() };
        let by_words = async {
            match mode {
                SearchMode::Hybrid => self.ask_index(of, &words).await,
                _ => Ok(Page::default()),
            }
        };
        let (nearest, words, counts) = tokio::try_join!(nearest, by_words, self.ask_index(of, &counts))?;
        let fragments = words.hits.iter().filter_map(|hit| Some((hit.id.clone(), hit.fragment.clone()?))).collect();
        let ranking = match mode {
            SearchMode::Hybrid => join([nearest, words.hits.into_iter().map(|hit| (hit.id, hit.score)).collect()]),
            _ => nearest,
        };
        let found = ranking.len();
        let page: Ranking = ranking.into_iter().skip(start).take(plan.hits_max).collect();
        let end = start + page.len();
        let has_more = end < found.max(counts.matches as usize).min(DEPTH_MAX) && !page.is_empty();
        Ok(SearchAnswer {
            hits: self.hits(of, page, fragments).await?,
            matches: counts.matches,
            facets: facets(counts.facets),
            approximate: words.is_approximate,
            next_cursor: has_more.then(|| format!("p{end}")),
        })
    }

    async fn nearest(&self, call: &Call, of: &OfTenant, plan: &Plan, k: usize) -> Result<Ranking, ApiError> {
        let live = of.live.clone().ok_or_else(no_embedder)?;
        let vector = self.engine.embed(vec![plan.text.clone()], engine::of_call(call)).await?.pop().unwrap_or_default();
        let filter = plan.filter.clone();
        let found = off_thread(move || live.nearest(&vector, k, &filter)).await?.map_err(defect)?;
        // No item that has an embedding has the attribute yet: then no comparison with it holds, but `not` might.
        let found = match found {
            Some(found) => found,
            None => {
                let schema = self.schema(&of.tenant).await?;
                of.apply(&schema, Vec::new()).await?;
                return Err(growing());
            }
        };
        Ok(found.into_iter().map(|(id, score)| (id.to_string(), score)).collect())
    }

    /// Asks the search index; waits for it where it lacks an attribute that was used a moment ago, and makes it again
    /// where it is gone.
    async fn ask_index(
        self: &std::sync::Arc<Self>,
        of: &std::sync::Arc<OfTenant>,
        query: &Query,
    ) -> Result<Page, ApiError> {
        let begun = Instant::now();
        let (mut is_remade, mut is_asked_again) = (false, false);
        loop {
            match self.stores.search.search(&of.tenant, query).await {
                Err(error) if is_lost(&error) && !is_remade => {
                    tracing::warn!(tenant = %of.tenant, %error, "the search index is made anew from the documents");
                    self.remake_index(of).await?;
                    is_remade = true;
                }
                Err(error) if error.kind == ErrorKind::Invalid && !is_asked_again => {
                    // An index that took the old one's place since then has what this one lacked.
                    is_asked_again = !self.is_behind(of).await?;
                    if is_asked_again {
                        continue;
                    }
                    if begun.elapsed() > GROWTH_WAIT_MAX {
                        return Err(growing());
                    }
                    let schema = self.schema(&of.tenant).await?;
                    self.provide_index(of, &schema).await?;
                    tokio::time::sleep(GROWTH_POLL).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    async fn is_behind(&self, of: &OfTenant) -> Result<bool, ApiError> {
        let live = self.stores.search.indices(&of.tenant).await?.live;
        Ok(live != Some(self.schema(&of.tenant).await?.schema()))
    }

    /// The items of a ranking, as far as they are there and shown.
    async fn hits(
        &self,
        of: &OfTenant,
        ranking: Ranking,
        mut fragments: HashMap<String, Fragment>,
    ) -> Result<Vec<Hit>, ApiError> {
        let ids: Vec<String> = ranking.iter().map(|(id, _)| id.clone()).collect();
        let items = self.items(&of.tenant, &ids).await?;
        let now = now_micros();
        let shown = ranking.into_iter().zip(items).filter_map(|((id, score), item)| {
            let item = item.filter(|item| item.body.is_shown(now))?;
            let highlight = fragments.remove(&id).map(|fragment| Highlight {
                marks: fragment.marks.iter().map(|mark| (mark.start, mark.end)).collect(),
                text: fragment.text,
            });
            Some(Hit { score, highlight, item: item.item() })
        });
        Ok(shown.collect())
    }
}

fn is_lost(error: &StoreError) -> bool {
    matches!(error.kind, ErrorKind::NotFound | ErrorKind::Corrupt)
}

fn growing() -> ApiError {
    let detail = "an attribute of this search was first used a moment ago, and is not indexed yet: try again";
    ApiError::new(ErrorCode::Unavailable, detail).retry_after(Duration::from_secs(1))
}

fn plan(request: &SearchRequest, schema: &Schema) -> Result<Plan, ApiError> {
    let invalid = |pointer: &str, detail: String| Err(ApiError::at(ErrorCode::Invalid, pointer, detail));
    if request.q.len() > QUERY_BYTES_MAX {
        return invalid("/q", format!("{} bytes, a query has at most {QUERY_BYTES_MAX}", request.q.len()));
    }
    let hits_max = request.k.unwrap_or(SEARCH_HITS_DEFAULT);
    if !(1..=SEARCH_HITS_MAX).contains(&hits_max) {
        return invalid("/k", format!("{hits_max} hits, a page has 1 to {SEARCH_HITS_MAX}"));
    }
    let names: Vec<&str> =
        request.facets.as_deref().map_or(Vec::new(), |names| names.split(',').map(str::trim).collect());
    if names.len() > FACETS_MAX {
        return invalid("/facets", format!("{} facets, a search has at most {FACETS_MAX}", names.len()));
    }
    for name in &names {
        match schema.kind(name) {
            Some(Kind::Keyword | Kind::KeywordList | Kind::Boolean) => {}
            Some(kind) => {
                return invalid("/facets", format!("{name} is a {kind}: only texts and booleans are counted"));
            }
            None => return invalid("/facets", format!("no item has an attribute {}", quoted(name))),
        }
    }
    let mut all = shown_at(now_micros());
    if let Some(text) = request.filter.as_deref().filter(|text| !text.trim().is_empty()) {
        let checked = parse(text).and_then(|expr| Filter::check(&expr, schema).map(|_| expr));
        match checked {
            Ok(expr) => all.push(expr),
            Err(error) => return invalid("/filter", error.to_string()),
        }
    }
    let facets = names.into_iter().map(|name| FacetQuery { attribute: name.to_owned(), values_max: FACET_VALUES });
    Ok(Plan { text: request.q.clone(), filter: Expr::And(all), facets: facets.collect(), hits_max })
}

/// What has to hold for an item to be shown. Who has no such time is neither ahead of it nor past it.
fn shown_at(now_micros: i64) -> Vec<Expr> {
    let now = || Literal::from(Scalar::Text(rfc3339(now_micros)));
    [
        Expr::Is("hidden".into()),
        Expr::Compare("published".into(), Operator::Greater, now()),
        Expr::Compare("expires".into(), Operator::LessOrEqual, now()),
    ]
    .map(|expr| Expr::Not(Box::new(expr)))
    .into()
}

/// Joins two rankings: the heads of both, and then the rest.
fn join(rankings: [Ranking; 2]) -> Ranking {
    let mut joined = fuse(&rankings, JOINED_FIRST);
    if rankings.iter().any(|ranking| ranking.len() > JOINED_FIRST) {
        let first: HashSet<String> = joined.iter().map(|(id, _)| id.clone()).collect();
        joined.extend(fuse(&rankings, DEPTH_MAX).into_iter().filter(|(id, _)| !first.contains(id)));
    }
    joined
}

/// Joins the first `depth` of rankings by reciprocal ranks; equal ones by id.
fn fuse(rankings: &[Ranking], depth: usize) -> Ranking {
    let mut scores: HashMap<&str, f32> = HashMap::new();
    for ranking in rankings {
        for (rank, (id, _)) in ranking.iter().take(depth).enumerate() {
            *scores.entry(id).or_default() += 1.0 / (FUSION_RANK + rank as f32 + 1.0);
        }
    }
    let mut fused: Ranking = scores.into_iter().map(|(id, score)| (id.to_owned(), score)).collect();
    fused.sort_unstable_by(|left, right| right.1.total_cmp(&left.1).then_with(|| left.0.cmp(&right.0)));
    fused
}

/// What the cursors of a search begin with: those of another are in another order.
fn mark_of(request: &SearchRequest) -> String {
    let SearchRequest { q, filter, mode, .. } = request;
    // The same in every process.
    let mut hasher = FnvHasher::default();
    hasher.write(format!("{mode:?} {q:?} {filter:?}").as_bytes());
    format!("{:016x}", hasher.finish())
}

/// The place in a list at which a page begins.
fn place(cursor: &str) -> Result<usize, ApiError> {
    let digits = cursor.strip_prefix('p').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).filter(|place| *place < DEPTH_MAX).ok_or_else(no_cursor)
}

fn no_cursor() -> ApiError {
    let detail =
        "this is no cursor of this search: give the one that the page before came with, and ask the same again";
    ApiError::at(ErrorCode::Invalid, "/cursor", detail)
}

fn facets(facets: Vec<attune_store::search::Facet>) -> Vec<Facet> {
    let value = |(value, count)| FacetValue { value, count };
    let facets = facets
        .into_iter()
        .map(|facet| Facet { attribute: facet.attribute, values: facet.values.into_iter().map(value).collect() });
    facets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(ids: &[&str]) -> Ranking {
        ids.iter().map(|id| ((*id).to_owned(), 0.0)).collect()
    }

    #[test]
    fn what_both_rankings_have_comes_first() {
        let fused = join([ranking(&["a", "b", "c"]), ranking(&["c", "d"])]);
        let ids: Vec<&str> = fused.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["c", "a", "b", "d"]);
    }

    /// A page that needs only the heads of two rankings has what a page further down takes to be before it.
    #[test]
    fn an_order_of_two_rankings_does_not_depend_on_how_much_of_it_is_asked_for() {
        let ids = |step: usize| (0..325).map(|place| (format!("{}", place * step % 325), 0.0)).collect::<Ranking>();
        let of = |depth: usize| join([3, 7].map(|step| ids(step)[..depth].to_vec()));
        let (first, all) = (of(JOINED_FIRST), of(325));
        assert!(first.len() > JOINED_FIRST && all.starts_with(&first));
        let different: HashSet<&str> = all.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!((all.len(), different.len()), (325, 325));
    }

    #[test]
    fn a_cursor_is_of_one_search() {
        let of = |q: &str, filter: Option<&str>, mode| {
            mark_of(&SearchRequest { q: q.into(), filter: filter.map(str::to_owned), mode, ..SearchRequest::default() })
        };
        let all = [
            of("tea", None, SearchMode::Text),
            of("coffee", None, SearchMode::Text),
            of("tea", Some("year > 3"), SearchMode::Text),
            of("tea", None, SearchMode::Hybrid),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 4);
        let next =
            SearchRequest { k: Some(3), cursor: Some(all[0].clone()), q: "tea".into(), ..SearchRequest::default() };
        assert_eq!(mark_of(&next), all[0], "pages may differ in size");
    }

    #[test]
    fn cursors_of_places_have_bounds() {
        assert_eq!(place("p20"), Ok(20));
        for bad in ["", "p", "20", "p-1", "p1000", "p99999999999999999999", "p１"] {
            assert_eq!(place(bad).unwrap_err().code, ErrorCode::Invalid, "{bad}");
        }
    }

    #[test]
    fn a_filter_is_told_where_it_is_wrong() {
        let schema = crate::schema::Attributes::default().schema();
        let ask = |filter: &str| SearchRequest { filter: Some(filter.into()), ..SearchRequest::default() };
        assert!(plan(&ask("not hidden and review_count > 3"), &schema).is_ok());
        for bad in ["year >", "year > 3", "hidden > 3"] {
            let error = plan(&ask(bad), &schema).err().unwrap();
            assert_eq!(error.fields[0].pointer, "/filter", "{bad}: {error}");
        }
    }
}
