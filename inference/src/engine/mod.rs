//! The seam between scheduling and computing: flat batches in, rows out.
//!
//! An engine is synchronous and owned by one worker thread, so it may keep scratch memory without locks; engines of one
//! model share its packed weights. Queues, deadlines and async live above this line, arithmetic below it. The
//! alternative, an async engine that batches for itself, would tie every backend to one runtime and hide the batcher
//! from its tests.

pub mod cpu;
pub mod cuda;
pub mod reference;

use std::fmt;

/// Token ids of several texts, end to end, without padding.
///
/// Row `i` is `tokens[offsets[i]..offsets[i + 1]]`; `offsets` has one entry more than there are rows, starts at 0,
/// never decreases and ends at `tokens.len()`.
#[derive(Clone, Copy, Debug)]
pub struct FlatBatch<'a> {
    tokens: &'a [u32],
    offsets: &'a [usize],
}

impl<'a> FlatBatch<'a> {
    /// Wraps a flat run of tokens and its row offsets.
    ///
    /// # Errors
    /// [`EngineError::Batch`] when the offsets do not describe `tokens`, or a row is empty (an empty text still has
    /// its special tokens).
    pub fn new(tokens: &'a [u32], offsets: &'a [usize]) -> Result<Self, EngineError> {
        let bounded = offsets.first() == Some(&0) && offsets.last() == Some(&tokens.len());
        if !bounded || offsets.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(EngineError::Batch(
                "row offsets must rise from 0 to the number of tokens, without an empty row",
            ));
        }
        Ok(Self { tokens, offsets })
    }

    /// All token ids, row after row.
    pub fn tokens(&self) -> &'a [u32] {
        self.tokens
    }

    /// Where each row starts, and where the last one ends: rows + 1 entries.
    pub fn offsets(&self) -> &'a [usize] {
        self.offsets
    }

    /// How many texts.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Holds the batch against the contract of [`Engine::run`].
    ///
    /// # Errors
    /// [`EngineError::Batch`] saying what is out of bounds.
    pub fn check(&self, engine: &dyn Engine, vocabulary: usize, out: &[f32]) -> Result<(), EngineError> {
        if self.tokens.len() > engine.capacity_tokens() {
            return Err(EngineError::Batch("more tokens than the engine's capacity"));
        }
        if out.len() != self.rows() * engine.width() {
            return Err(EngineError::Batch("the output is not rows x width"));
        }
        match self.tokens.iter().any(|&token| token as usize >= vocabulary) {
            true => Err(EngineError::Batch("a token outside the vocabulary")),
            false => Ok(()),
        }
    }

    /// The token ids of each row.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u32]> {
        let tokens = self.tokens;
        self.offsets.windows(2).map(move |pair| &tokens[pair[0]..pair[1]])
    }
}

/// Asked between layers or more often: `true` once nobody waits for the batch any more.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);

/// What an engine is, for the log, `/v1/models` and a job's manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineInfo {
    /// `reference`, `cpu` or `cuda`.
    pub name: &'static str,
    /// The arithmetic that runs, for example `avx512` or `sm_90a`; the reference engine says `candle`.
    pub instruction_set: &'static str,
    /// Number format of the matrix products.
    pub precision: Precision,
}

/// Number format of the matrix products. Part of a model's version: rows of two precisions are not interchangeable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// IEEE single.
    F32,
    /// bfloat16 operands, f32 sums.
    Bf16,
    /// IEEE half operands, f32 sums: on cards that have no bfloat16.
    F16,
    /// 7-bit rows by 8-bit channels, exact integer sums.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        })
    }
}

/// Runs one model on one worker thread.
pub trait Engine: Send {
    /// What runs.
    fn info(&self) -> EngineInfo;

    /// Floats in a row of output: the embedding's dimensions or the number of labels.
    fn width(&self) -> usize;

    /// The most tokens a batch may hold. A single text may never be longer.
    fn capacity_tokens(&self) -> usize;

    /// Computes `batch.rows()` rows of [`width`](Self::width) floats into `out`.
    ///
    /// A row is bit-identical whatever batch it comes in.
    ///
    /// # Errors
    /// [`EngineError::Stopped`] when `stop` said so between two steps; [`EngineError::Batch`] when the batch exceeds
    /// the capacity, holds a token outside the vocabulary, or `out` has another length; [`EngineError::Compute`] when
    /// the backend failed. `out` is then unspecified.
    fn run(&mut self, batch: FlatBatch<'_>, stop: Stop<'_>, out: &mut [f32]) -> Result<(), EngineError>;
}

/// Why a batch has no rows.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller broke the contract of [`Engine::run`].
    #[error("bad batch: {0}")]
    Batch(&'static str),
    /// Everybody who waited has gone.
    #[error("stopped half-way: nobody waits for this batch")]
    Stopped,
    /// The backend failed.
    #[error("the engine failed: {0}")]
    Compute(String),
}
