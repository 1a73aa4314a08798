//! An architecture is data: one description that every engine runs.
//!
//! A model family is a mapping from its `config.json` to this description ([`super::config`]) and from its tensor names
//! to the parts of a layer; it is never an engine of its own. A new variant (RMS norm, rotary positions, windowed
//! attention) is a new value here and a new arm where an engine does that one step.

/// What an encoder computes, and in which sizes.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// Width of a token's state.
    pub hidden: usize,
    /// Layers, each of attention and a feed-forward part.
    pub layers: usize,
    /// Attention heads; they divide `hidden`.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub intermediate: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
    /// Where a token's place in its text enters.
    pub positions: Positions,
    /// The normalisation around each part of a layer.
    pub norm: Norm,
    /// The function inside the feed-forward part.
    pub activation: Activation,
    /// Which tokens see which.
    pub attention: Attention,
    /// How the tokens of a text become one row.
    pub pooling: Pooling,
}

/// Where a token's place in its text enters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Positions {
    /// A learned vector per position, added to the token's.
    Learned {
        /// Positions there are vectors for.
        count: usize,
    },
}

/// Normalisation of states.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// Before a part of a layer, or after its residual sum.
    pub place: NormPlace,
    /// Added to the variance.
    pub epsilon: f32,
}

/// Where the norm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// `norm(x + part(x))`, as BERT does.
    After,
}

/// The function inside the feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// GELU with the exact error function.
    GeluErf,
}

/// Which tokens see which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Every token sees every token of its text.
    Full,
}

/// How the tokens of a text become one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all tokens, special ones included.
    Mean,
    /// The first token.
    First,
    /// The last token.
    Last,
}

impl Architecture {
    /// The longest text, in tokens, that positions allow.
    pub fn positions_max(&self) -> usize {
        match self.positions {
            Positions::Learned { count } => count,
        }
    }

    /// Work for one text of `tokens` tokens in FLOP: four square projections, two of the feed-forward part, and the
    /// scores and sums of attention, which grow with the square of the length.
    pub fn flops(&self, tokens: usize) -> f64 {
        let (n, h, m) = (tokens as f64, self.hidden as f64, self.intermediate as f64);
        let projections = 2.0 * n * (4.0 * h * h + 2.0 * h * m);
        let attention = 4.0 * n * n * h;
        self.layers as f64 * (projections + attention)
    }
}
