//! A batch in the making, and what it may still take.

use super::{Cost, ModelId, RequestId, WorkClass};

/// One text of a batch.
#[derive(Clone, Debug)]
pub struct Slot<P> {
    /// The request it belongs to.
    pub request: RequestId,
    /// Which of the request's texts.
    pub index: usize,
    /// Its length.
    pub tokens: usize,
    /// The request's payload.
    pub payload: P,
}

/// Texts of one model and class that run together. Kept by the worker and filled again and again.
#[derive(Clone, Debug)]
pub struct Batch<P> {
    /// The model that runs.
    pub model: ModelId,
    /// The class of all its texts.
    pub class: WorkClass,
    /// The texts, in the order of turns.
    pub texts: Vec<Slot<P>>,
    /// Tokens of all texts.
    pub tokens: usize,
    /// FLOP of all texts.
    pub work: u64,
    /// Requests that left the queue because their deadline passed; some of their texts may be running.
    pub expired: Vec<P>,
}

impl<P> Default for Batch<P> {
    fn default() -> Self {
        Self {
            model: ModelId::default(),
            class: WorkClass::default(),
            texts: Vec::new(),
            tokens: 0,
            work: 0,
            expired: Vec::new(),
        }
    }
}

impl<P> Batch<P> {
    pub(super) fn clear(&mut self) {
        self.texts.clear();
        self.expired.clear();
        (self.tokens, self.work) = (0, 0);
    }

    pub(super) fn push(&mut self, request: RequestId, index: usize, cost: Cost, payload: P) {
        let tokens = cost.tokens as usize;
        self.texts.push(Slot { request, index, tokens, payload });
        self.tokens += tokens;
        self.work += cost.work;
    }
}

/// What a batch may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) texts: usize,
    pub(super) tokens: usize,
    pub(super) work: u64,
}

impl Budget {
    /// Whether a text still fits; the first always does.
    pub(super) fn admits<P>(&self, batch: &Batch<P>, cost: Cost) -> bool {
        batch.texts.is_empty()
            || (batch.texts.len() < self.texts
                && batch.tokens + cost.tokens as usize <= self.tokens
                && batch.work + cost.work <= self.work)
    }
}
