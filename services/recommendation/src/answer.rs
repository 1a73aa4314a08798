//! From what ranking says, in rows, to what is answered, in ids.

use std::collections::HashMap;

use attune_api::rest::recommendation::{
    Contribution, Explanation, ItemStats, ListTiming, Note, RecommendResponse, RecommendedItem, SourceReason,
};
use attune_ranking::pipeline::{self, Answered, Code};
use attune_ranking::retrieve::Reason;

use crate::cursor::{FEED_ITEMS_MAX, Served};
use crate::fold::{Counts, hash_of};
use crate::stage::{Made, Order, Strange};

/// What went less well than it could have, before the list was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks {
    /// Who it is for could not be looked up.
    pub person: bool,
    /// His last events may be missing.
    pub events: bool,
}

/// The list as it is answered.
pub fn response(made: &Made, lacks: Lacks) -> RecommendResponse {
    let Order { world, chosen, ask, list_id, .. } = &*made.order;
    let names: HashMap<u32, &str> = made.names.iter().map(|(row, name)| (*row, name.as_str())).collect();
    let served = ask.served.as_ref().map_or(0, |served| served.hashes.len());
    let items: Vec<RecommendedItem> =
        made.answer.items.iter().filter_map(|item| shown(item, made, &names, served)).collect();
    let next_cursor = ask.served.as_ref().and_then(|served| next(served, &items, ask.k));
    RecommendResponse {
        request_id: list_id.clone(),
        pipeline: chosen.name.clone(),
        model_version: world.model.clone().unwrap_or_else(|| made.answer.model_version.clone()),
        degraded: made.answer.degraded || lacks != Lacks::default(),
        sources: made.answer.sources.iter().filter(|(_, share)| *share > 0.0).cloned().collect(),
        notes: notes(made, lacks),
        next_cursor,
        items,
        timing: ListTiming::default(),
    }
}

/// The item that a reason names.
pub fn item_of(reason: Reason) -> Option<u32> {
    match reason {
        Reason::BecauseOf { item } | Reason::Follows { item } | Reason::Alike { item } => Some(item),
        _ => None,
    }
}

fn name_of(reason: Reason) -> &'static str {
    match reason {
        Reason::Taste => "taste",
        Reason::Person => "person",
        Reason::BecauseOf { .. } => "because_of",
        Reason::Follows { .. } => "follows",
        Reason::Alike { .. } => "alike",
        Reason::Text => "text",
        Reason::Model => "model",
        Reason::Outside => "outside",
        Reason::Trending => "trending",
        Reason::Popular => "popular",
        Reason::Latest => "latest",
    }
}

fn shown(item: &Answered, made: &Made, names: &HashMap<u32, &str>, served: usize) -> Option<RecommendedItem> {
    let item_id = (*names.get(&item.row)?).to_owned();
    let stats = made.stats.get(&item.row).copied().unwrap_or_default();
    let detail = |source: &str| made.details.get(&(source.to_owned(), item.row)).cloned();
    let explain = item.explanation.as_ref().map(|explanation| explained(explanation, stats, names, &detail));
    Some(RecommendedItem { item_id, score: item.score, rank: served + item.rank, explain })
}

fn explained(
    explanation: &pipeline::Explanation,
    stats: Counts,
    names: &HashMap<u32, &str>,
    detail: &dyn Fn(&str) -> Option<String>,
) -> Explanation {
    let Counts { exposures, impressions, clicks, conversions } = stats;
    let reason = |said: &pipeline::Said| SourceReason {
        source: said.source.clone(),
        score: said.score,
        rank: said.rank,
        reason: name_of(said.reason).to_owned(),
        item_id: item_of(said.reason).and_then(|row| names.get(&row)).map(|name| (*name).to_owned()),
        detail: detail(&said.source),
    };
    let contributions = explanation.contributions.iter().filter(|contribution| contribution.value != 0.0);
    Explanation {
        sources: explanation.sources.iter().map(reason).collect(),
        contributions: contributions.map(|one| Contribution { name: one.name.clone(), value: one.value }).collect(),
        rules: explanation.rules.clone(),
        stats: ItemStats { exposures, impressions, clicks, conversions },
    }
}

/// There may be a next page after one that is full, as long as a cursor holds it.
fn next(served: &Served, items: &[RecommendedItem], k: usize) -> Option<String> {
    if items.len() < k || served.hashes.len() + items.len() > FEED_ITEMS_MAX {
        return None;
    }
    let mut served = served.clone();
    served.hashes.extend(items.iter().map(|item| hash_of(&item.item_id)));
    Some(served.cursor())
}

fn notes(made: &Made, lacks: Lacks) -> Vec<Note> {
    let Order { world, ask, .. } = &*made.order;
    let note = |code: &str, detail: String| Note { code: code.to_owned(), detail };
    let is_about_somebody = ask.served.is_some() || ask.only.is_some();
    let ours = made.answer.notes.iter().filter(|note| note.code != Code::NoHistory || is_about_somebody);
    let mut notes: Vec<Note> = ours.map(|said| note(code_of(said.code), said.detail.clone())).collect();
    for Strange { source, items } in &made.strange {
        let detail = format!("{source}: {items} of the items that it answered are unknown here");
        notes.push(note("items_unknown", detail));
    }
    if world.stock.items == 0 {
        notes.push(note("catalogue_empty", "there are no items yet: put some".to_owned()));
    }
    if made.missing > 0 {
        let detail = format!("{} of the items are unknown, hidden, or do not fulfil the filter", made.missing);
        notes.push(note("items_unknown", detail));
    }
    if lacks.person {
        notes
            .push(note("user_unavailable", "who this is could not be looked up: the list is for everybody".to_owned()));
    }
    if lacks.events {
        let detail = "the last events of this user may not be in the list yet".to_owned();
        notes.push(note("events_late", detail));
    }
    notes
}

fn code_of(code: Code) -> &'static str {
    match code {
        Code::NoHistory => "no_history",
        Code::ItemsUnknown => "items_unknown",
        Code::FilterTooNarrow => "filter_too_narrow",
        Code::FewCandidates => "few_candidates",
        Code::QuotasFull => "quotas_full",
        Code::SourceLate => "source_late",
        Code::SourceFailed => "source_failed",
    }
}
