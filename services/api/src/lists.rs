//! Lists as messages.

use crate::rest::recommendation::{Contribution, Explanation, Note, RecommendResponse, RecommendedItem, SourceReason};
use crate::v1;

impl From<RecommendResponse> for v1::RecommendResponse {
    fn from(list: RecommendResponse) -> Self {
        Self {
            request_id: list.request_id,
            pipeline: list.pipeline,
            model_version: list.model_version,
            degraded: list.degraded,
            items: list.items.into_iter().map(v1::RecommendedItem::from).collect(),
            sources: list.sources.into_iter().collect(),
            notes: list.notes.into_iter().map(|Note { code, detail }| v1::Note { code, detail }).collect(),
            next_cursor: list.next_cursor,
        }
    }
}

impl From<RecommendedItem> for v1::RecommendedItem {
    fn from(item: RecommendedItem) -> Self {
        let RecommendedItem { item_id, score, rank, explain } = item;
        Self { item_id, score, rank: place(rank), explain: explain.map(v1::Explanation::from) }
    }
}

impl From<Explanation> for v1::Explanation {
    fn from(explanation: Explanation) -> Self {
        let reason = |said: SourceReason| {
            let SourceReason { source, score, rank, reason, item_id, detail } = said;
            v1::SourceReason { source, score, rank: place(rank), reason, item_id, detail }
        };
        let contribution = |Contribution { name, value }| v1::Contribution { name, value };
        Self {
            sources: explanation.sources.into_iter().map(reason).collect(),
            contributions: explanation.contributions.into_iter().map(contribution).collect(),
            rules: explanation.rules,
            stats: Some(v1::ItemStats {
                exposures: explanation.stats.exposures,
                impressions: explanation.stats.impressions,
                clicks: explanation.stats.clicks,
                conversions: explanation.stats.conversions,
            }),
        }
    }
}

/// Lists are far shorter than 2^32.
fn place(rank: usize) -> u32 {
    u32::try_from(rank).unwrap_or(u32::MAX)
}
