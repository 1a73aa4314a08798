//! The evaluation protocol `sentiment`: one part of the rated sentences, judged the way a server judges them.
//!
//! It goes through the whole of the inference core (tokenizer, scheduler, engine, precision), so the figures are those
//! that clients get, and an error of int8 or of the batcher shows here.

use std::fmt;
use std::path::Path;
use std::time::Instant;

use attune_inference::{CallContext, InferenceError, WorkClass};
use serde::{Serialize, Serializer};

use crate::data::{Corpus, DataError, Part, Sentence};
use crate::metrics::{self, Figures, Judged, Report};
use crate::service::SentimentService;

/// Name of the protocol on the command line and in JSON.
pub const PROTOCOL: &str = "sentiment";

/// Texts of one call.
const CALL_TEXTS: usize = 256;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The rated sentences cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// No sentence falls into the part.
    #[error("the data has no sentence for {0}: it is too small to be split")]
    NothingToJudge(Part),
    /// The core refused or failed.
    #[error("the model could not judge the sentences: {0}")]
    Inference(#[from] InferenceError),
}

/// The figures and what they stand on.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Always [`PROTOCOL`].
    pub protocol: &'static str,
    /// Which part was judged.
    #[serde(serialize_with = "by_name")]
    pub part: Part,
    /// How many sentences it has.
    pub sentences: usize,
    /// SHA-256 over the corpus.
    pub data_sha256: String,
    /// The model's name.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Engine, instruction set and precision.
    pub engine: String,
    /// The figures.
    pub report: Report,
    /// Time for all sentences, tokenising included.
    pub seconds: f64,
}

fn by_name<S: Serializer>(part: &Part, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(part)
}

/// Reads the rated sentences from `folder` and judges one part of them; `judged` hears how many are done.
///
/// # Errors
/// [`EvaluateError`] when the data cannot be read, the part is empty, or the core fails.
pub async fn run(
    service: &SentimentService,
    folder: &Path,
    part: Part,
    judged: impl FnMut(usize),
) -> Result<Evaluation, EvaluateError> {
    evaluate(service, &Corpus::read(folder)?, part, judged).await
}

/// Judges one part of a corpus; `judged` hears how many sentences are done.
///
/// # Errors
/// [`EvaluateError`] when the part is empty or the core fails.
pub async fn evaluate(
    service: &SentimentService,
    corpus: &Corpus,
    part: Part,
    mut judged: impl FnMut(usize),
) -> Result<Evaluation, EvaluateError> {
    let sentences = corpus.part(part);
    if sentences.is_empty() {
        return Err(EvaluateError::NothingToJudge(part));
    }
    let start = Instant::now();
    let mut answers = Vec::with_capacity(sentences.len());
    for some in sentences.chunks(CALL_TEXTS) {
        answers.extend(judge(service, some).await?);
        judged(answers.len());
    }
    let (model, engine) = (service.model(), &service.model().engine);
    Ok(Evaluation {
        protocol: PROTOCOL,
        part,
        sentences: sentences.len(),
        data_sha256: corpus.fingerprint.clone(),
        model: model.name.clone(),
        version: model.version.clone(),
        engine: format!("{} {} {}", engine.name, engine.instruction_set, engine.precision),
        report: metrics::report(&answers),
        seconds: start.elapsed().as_secs_f64(),
    })
}

async fn judge<'a>(service: &SentimentService, some: &[&'a Sentence]) -> Result<Vec<Judged<'a>>, InferenceError> {
    let texts = some.iter().map(|sentence| sentence.text.clone()).collect();
    let call = CallContext { caller: PROTOCOL.into(), class: WorkClass::Bulk, deadline: None };
    let sentiments = service.judge(texts, call).await?;
    Ok(some.iter().zip(sentiments).map(|(sentence, sentiment)| Judged { sentence, sentiment }).collect())
}

/// The table that a person reads.
impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "sentiment, {} split: {} sentences in {:.1} s", self.part, self.sentences, self.seconds)?;
        writeln!(f, "model {} {} on {}", self.model, self.version, self.engine)?;
        writeln!(f, "data sha256 {}", self.data_sha256)?;
        writeln!(f)?;
        writeln!(f, "{:<22} {:>9} {:>16} {:>16} {:>9}", "", "sentences", "strong", "three classes", "macro-F1")?;
        self.report.sources.iter().try_for_each(|(source, figures)| row(f, source, figures))?;
        row(f, "all", &self.report.all)
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Figures) -> fmt::Result {
    let Figures { strong, three_classes, macro_f1 } = figures;
    let count = three_classes.count;
    writeln!(f, "{name:<22} {count:>9} {:>16} {:>16} {macro_f1:>9.3}", strong.to_string(), three_classes.to_string())
}
