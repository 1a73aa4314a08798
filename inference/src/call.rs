//! What is asked of the inference core, what it answers, and why it refuses.

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::schedule::WorkClass;

/// A text, or the ids that the model's tokenizer made of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Text to be tokenised.
    Text(String),
    /// Token ids, special tokens included.
    Tokens(Vec<u32>),
}

/// What happens to a text of more tokens than the model takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Truncate {
    /// The call is refused.
    Refuse,
    /// The beginning is kept, and the special tokens.
    #[default]
    End,
}

/// Who asks, how urgently, until when.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// Callers share the engines fairly; this says which caller.
    pub caller: Arc<str>,
    /// The class of work.
    pub class: WorkClass,
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
}

/// Texts to embed.
#[derive(Clone, Debug)]
pub struct EmbedRequest {
    /// Name or alias of the model.
    pub model: String,
    /// The texts.
    pub inputs: Vec<Input>,
    /// What happens to long ones.
    pub truncate: Truncate,
    /// Keep this many leading dimensions.
    pub dimensions: Option<usize>,
    /// Scale each embedding to unit length.
    pub normalize: bool,
}

/// Texts to classify.
#[derive(Clone, Debug)]
pub struct ClassifyRequest {
    /// Name or alias of the model.
    pub model: String,
    /// The texts.
    pub inputs: Vec<Input>,
    /// What happens to long ones.
    pub truncate: Truncate,
}

/// Embeddings, in the order of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    /// Canonical name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// rows x dimensions.
    pub values: Vec<f32>,
    /// Floats in a row.
    pub dimensions: usize,
    /// Tokens computed for each text.
    pub tokens: Vec<usize>,
    /// Which texts were cut.
    pub truncated: Vec<bool>,
    /// Where the time went.
    pub timing: Timing,
}

/// Class probabilities, in the order of the request.
#[derive(Clone, Debug, PartialEq)]
pub struct Classifications {
    /// Canonical name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Labels by class number.
    pub labels: Arc<[String]>,
    /// rows x labels; each row adds up to 1.
    pub probabilities: Vec<f32>,
    /// Tokens computed for each text.
    pub tokens: Vec<usize>,
    /// Which texts were cut.
    pub truncated: Vec<bool>,
    /// Where the time went.
    pub timing: Timing,
}

/// Where the time of a call went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Text to token ids.
    pub tokenize: Duration,
    /// Waiting for an engine.
    pub queue: Duration,
    /// From the start of the first batch to the end of the last.
    pub infer: Duration,
}

/// Bounds on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    /// Texts in a call.
    pub texts_max: usize,
    /// Bytes of one text, before truncation.
    pub text_bytes_max: usize,
}

impl Default for TextLimits {
    fn default() -> Self {
        Self { texts_max: 1024, text_bytes_max: 1 << 20 }
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// No model of that name or alias.
    #[error("there is no model {name:?}; there are: {}", known.join(", "))]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The model does something else.
    #[error("model {name:?} cannot {asked}: it is a model for {task}")]
    WrongTask {
        /// The model.
        name: String,
        /// What was asked of it: `embed` or `classify`.
        asked: &'static str,
        /// What it does.
        task: &'static str,
    },
    /// An empty list of texts.
    #[error("the list of texts is empty")]
    NoInputs,
    /// More texts than a call may have.
    #[error("{count} texts, at most {max} a call: split the call")]
    TooManyInputs {
        /// Texts in the call.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A text of more bytes than allowed.
    #[error("text {index} has {bytes} bytes, at most {max} are taken")]
    TextTooLarge {
        /// Which text.
        index: usize,
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A text of more tokens than the model takes, where truncation was refused or ids were given.
    #[error("text {index} has at least {tokens} tokens, the model takes {max}; allow truncation or shorten it")]
    TooManyTokens {
        /// Which text.
        index: usize,
        /// Its length; of a long text, a lower bound.
        tokens: usize,
        /// The limit.
        max: usize,
    },
    /// A list of token ids without any.
    #[error("text {index} is an empty list of token ids; even an empty text has its special tokens")]
    NoTokens {
        /// Which text.
        index: usize,
    },
    /// A token id that the model has no vector for.
    #[error("text {index} holds token id {token}, the model's vocabulary ends at {vocabulary}")]
    UnknownToken {
        /// Which text.
        index: usize,
        /// The id.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// A text that the tokenizer refuses.
    #[error("text {index} cannot be tokenised: {detail}")]
    Untokenisable {
        /// Which text.
        index: usize,
        /// What the tokenizer said.
        detail: String,
    },
    /// Dimensions outside 1 to the model's own.
    #[error("{asked} dimensions, the model has {max}; ask for 1 to {max}")]
    BadDimensions {
        /// What was asked for.
        asked: usize,
        /// The model's own.
        max: usize,
    },
    /// The deadline passed first.
    #[error("the deadline passed before the work was done")]
    DeadlinePassed,
    /// The queue is full.
    #[error("too much work waits already, come back in {retry_after:?}")]
    Overloaded {
        /// When the present backlog will have been served.
        retry_after: Duration,
    },
    /// More tokens in one call than the whole queue may hold.
    #[error("{0}")]
    TooLarge(String),
    /// The server is stopping.
    #[error("the server is stopping and takes no more work")]
    Draining,
    /// The engine failed. For the log, not for the client.
    #[error("the engine failed: {0}")]
    Engine(String),
}
