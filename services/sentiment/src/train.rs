//! A training run: from rated sentences to an adapter folder whose card holds its measured figures.
//!
//! Learns from the train part, looks at dev several times a pass, keeps the parameters that were best there, and stops
//! early once dev has not improved for a while. The test part is looked at once, at the end, through the inference core
//! and the written folder: what the card quotes is what a server will answer, half precision included.

use std::path::{Path, PathBuf};
use std::time::Instant;

use attune_inference::model::ModelConfig;
use attune_inference::tokenize::TextTokenizer;
use attune_inference::train::{Example, Recipe, Snapshot, Trainer};
use attune_inference::{EngineChoice, Inference, InferenceConfig, LoadError, ModelSpec, PrecisionChoice};

use crate::card::card;
use crate::data::{Class, Corpus, DataError, Part, Sentence};
use crate::evaluate::{EvaluateError, Evaluation, evaluate};
use crate::metrics::{Figures, Judged, figures};
use crate::progress::{Evaluated, Progress, Started};
use crate::service::{Sentiment, SentimentService, ServiceError};

/// What to train, from what, to where.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    /// Folder of the base model.
    pub base: PathBuf,
    /// Name of the base model, for the adapter's configuration.
    pub base_name: String,
    /// Folder of the rated sentences.
    pub data: PathBuf,
    /// Folder for the adapter, which is new or empty.
    pub out: PathBuf,
    /// Decides the adapter's first values and the order of the sentences.
    pub seed: u64,
    /// Hyper-parameters.
    pub recipe: Recipe,
    /// Deviation of a rating that is asked for again: how far a sentence near a border counts for both of its sides.
    pub rating_error: f64,
    /// Looks at dev in each pass.
    pub evaluations_per_epoch: usize,
    /// Looks at dev without an improvement after which training stops.
    pub patience: usize,
    /// How to do it again, for the card.
    pub command: String,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            base: "data/models/all-MiniLM-L6-v2".into(),
            base_name: "sentence-transformers/all-MiniLM-L6-v2".into(),
            data: "data/models/sentiment-data".into(),
            out: "data/models/sentiment".into(),
            seed: 1,
            recipe: Recipe::default(),
            rating_error: 0.25,
            evaluations_per_epoch: 3,
            patience: 2,
            command: "attune train sentiment".into(),
        }
    }
}

/// Why there is no adapter.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The rated sentences cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A part of the data lacks a class.
    #[error("the {part} part has no {} sentence: nothing can be learnt from one side alone", class.name())]
    MissingClass {
        /// The part.
        part: Part,
        /// The class that does not occur in it.
        class: Class,
    },
    /// Options that cannot be followed.
    #[error("{name} is {value}, it must be {must}")]
    Option {
        /// Which.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        must: &'static str,
    },
    /// The base cannot be read, or the adapter cannot be written or read back.
    #[error(transparent)]
    Model(#[from] LoadError),
    /// A sentence that the tokenizer does not take.
    #[error("the tokenizer refused the sentence {id} of {source_name}: {detail}")]
    Tokenize {
        /// The sentence's file.
        source_name: &'static str,
        /// Its id.
        id: String,
        /// What the tokenizer said.
        detail: String,
    },
    /// Something is in the folder for the adapter.
    #[error("{path} is not empty, and a server may have it open: name another folder with --out, or remove this one",
        path = path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// A step failed.
    #[error(transparent)]
    Step(#[from] attune_inference::train::TrainError),
    /// The written adapter is not a model of sentiment.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The written adapter could not be measured.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// The folder or the card cannot be written, or no thread started.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct TrainReport {
    /// Steps taken.
    pub steps: usize,
    /// The step whose parameters were kept.
    pub best_step: usize,
    /// The written adapter on dev.
    pub dev: Evaluation,
    /// The written adapter on test.
    pub test: Evaluation,
    /// Time for the steps and the looks at dev.
    pub seconds: f64,
}

/// Trains, writes the folder and measures it. Blocks for as long as it takes; not for an async thread.
///
/// # Errors
/// [`TrainError`]; the folder is made before training, and written only when that has come to its end.
pub fn run(options: &TrainOptions, progress: &mut dyn Progress) -> Result<TrainReport, TrainError> {
    check(options)?;
    let corpus = Corpus::read(&options.data)?;
    let tokenizer = tokenizer(&options.base)?;
    let train = Labelled::new(&corpus, Part::Train, &tokenizer, options.rating_error)?;
    let dev = Labelled::new(&corpus, Part::Dev, &tokenizer, options.rating_error)?;
    let start = Instant::now();
    let mut trainer = Trainer::new(&options.base, Class::ALL.len(), &options.recipe, options.seed)?;
    claim(&options.out)?;
    let (steps, best) = fit(&mut trainer, options, &train, &dev, progress)?;
    progress.finished();
    trainer.restore(&best.parameters)?;
    let seconds = start.elapsed().as_secs_f64();
    trainer.adapter(&options.base_name, &Class::ALL.map(Class::name))?.write(&options.out)?;
    let [dev, test] = measure(options, &corpus)?;
    let report = TrainReport { steps, best_step: best.step, dev, test, seconds };
    let path = options.out.join("README.md");
    std::fs::write(&path, card(options, &report))
        .map_err(|source| TrainError::System { what: format!("cannot write {}", path.display()), source })?;
    Ok(report)
}

fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let counts = [("evaluations_per_epoch", options.evaluations_per_epoch), ("patience", options.patience)];
    match counts.iter().find(|(_, count)| *count == 0) {
        Some((name, _)) => Err(TrainError::Option { name, value: 0.0, must: "at least 1" }),
        None if !(options.rating_error >= 0.0 && options.rating_error.is_finite()) => {
            Err(TrainError::Option { name: "rating_error", value: options.rating_error, must: "at least 0" })
        }
        None => Ok(()),
    }
}

/// Makes the folder while there is no work yet that could be lost.
fn claim(out: &Path) -> Result<(), TrainError> {
    let cannot = |source| TrainError::System { what: format!("cannot write {}", out.display()), source };
    std::fs::create_dir_all(out).map_err(cannot)?;
    match std::fs::read_dir(out).map_err(cannot)?.next() {
        None => Ok(()),
        Some(_) => Err(TrainError::Taken { path: out.to_owned() }),
    }
}

fn tokenizer(base: &Path) -> Result<TextTokenizer, LoadError> {
    let architecture = ModelConfig::read(base)?.architecture;
    TextTokenizer::read(base, architecture.positions_max(), architecture.vocabulary)
}

/// One part of the data, tokenised.
struct Labelled<'a> {
    sentences: Vec<&'a Sentence>,
    examples: Vec<Example>,
}

impl<'a> Labelled<'a> {
    fn new(corpus: &'a Corpus, part: Part, tokenizer: &TextTokenizer, rating_error: f64) -> Result<Self, TrainError> {
        let sentences = corpus.part(part);
        let absent = Class::ALL.into_iter().find(|class| sentences.iter().all(|sentence| sentence.class() != *class));
        if let Some(class) = absent {
            return Err(TrainError::MissingClass { part, class });
        }
        let example = |sentence: &&Sentence| {
            let refused = |detail| {
                let (source_name, id) = (sentence.source, sentence.id.clone());
                TrainError::Tokenize { source_name, id, detail }
            };
            let tokens = tokenizer.encode(&sentence.text).map_err(refused)?.ids;
            let target = Class::probabilities(sentence.rating, rating_error).map(|share| share as f32).to_vec();
            Ok(Example { tokens, target })
        };
        let examples = sentences.iter().map(example).collect::<Result<_, TrainError>>()?;
        Ok(Self { sentences, examples })
    }

    fn figures(&self, trainer: &Trainer) -> Result<Figures, TrainError> {
        let texts: Vec<&[u32]> = self.examples.iter().map(|example| example.tokens.as_slice()).collect();
        let sentiments =
            trainer.predict(&texts)?.into_iter().map(|row| Sentiment { probabilities: [row[0], row[1], row[2]] });
        let judged = self.sentences.iter().zip(sentiments).map(|(sentence, sentiment)| Judged { sentence, sentiment });
        Ok(figures(&judged.collect::<Vec<_>>()))
    }
}

/// The parameters that did best on dev.
struct Best {
    step: usize,
    score: f64,
    parameters: Snapshot,
}

/// Takes the steps; answers how many, and the best parameters.
fn fit(
    trainer: &mut Trainer,
    options: &TrainOptions,
    train: &Labelled<'_>,
    dev: &Labelled<'_>,
    progress: &mut dyn Progress,
) -> Result<(usize, Best), TrainError> {
    let recipe = &options.recipe;
    let per_epoch = train.examples.len().div_ceil(recipe.batch_texts);
    let steps = per_epoch * recipe.epochs;
    progress.started(&Started {
        train_sentences: train.examples.len(),
        dev_sentences: dev.examples.len(),
        parameters: trainer.parameter_count(),
        steps,
    });
    let mut best = Best { step: 0, score: f64::NEG_INFINITY, parameters: trainer.snapshot()? };
    let (mut losses, mut since_best) = (Mean::default(), 0);
    let batches = (0..recipe.epochs).flat_map(|epoch| recipe.batches(train.examples.len(), epoch, options.seed));
    for (step, batch) in batches.enumerate() {
        let batch: Vec<&Example> = batch.iter().map(|at| &train.examples[*at]).collect();
        losses.add(trainer.step(&batch, recipe.learning_rate(step, steps))?);
        progress.stepped(losses.mean());
        let step = step + 1;
        if !is_evaluated(step, per_epoch, options.evaluations_per_epoch) {
            continue;
        }
        let figures = dev.figures(trainer)?;
        let is_best = figures.mean() > best.score;
        let loss = std::mem::take(&mut losses).mean();
        progress.evaluated(&Evaluated {
            step,
            epoch: step as f64 / per_epoch as f64,
            loss,
            dev: figures,
            best: is_best,
        });
        if is_best {
            best = Best { step, score: figures.mean(), parameters: trainer.snapshot()? };
            since_best = 0;
        } else {
            since_best += 1;
        }
        if since_best == options.patience {
            return Ok((step, best));
        }
    }
    Ok((steps, best))
}

/// Whether dev is looked at after `step` steps: `evaluations` times a pass, evenly, the last at its end.
fn is_evaluated(step: usize, per_epoch: usize, evaluations: usize) -> bool {
    let within = (step - 1) % per_epoch + 1;
    (within * evaluations) / per_epoch > ((within - 1) * evaluations) / per_epoch
}

#[derive(Default)]
struct Mean {
    sum: f32,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f32) {
        self.sum += value;
        self.count += 1;
    }

    fn mean(&self) -> f32 {
        self.sum / self.count.max(1) as f32
    }
}

/// The written adapter on dev and test, served as a server would.
fn measure(options: &TrainOptions, corpus: &Corpus) -> Result<[Evaluation; 2], TrainError> {
    let model = ModelSpec {
        name: "sentiment".into(),
        aliases: Vec::new(),
        path: options.base.clone(),
        adapter: Some(options.out.clone()),
        precision: Some(PrecisionChoice::F32),
        max_tokens: None,
    };
    let config = InferenceConfig { engine: EngineChoice::Cpu, ..InferenceConfig::default() };
    let service = SentimentService::new(Inference::start(config, vec![model])?, "sentiment")?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| TrainError::System { what: "cannot start a runtime to measure with".into(), source })?;
    let on = |part| runtime.block_on(evaluate(&service, corpus, part, |_| ()));
    Ok([on(Part::Dev)?, on(Part::Test)?])
}

#[cfg(test)]
mod tests {
    use super::is_evaluated;

    #[test]
    fn dev_is_looked_at_evenly_and_at_the_end_of_each_pass() {
        let looks = |per_epoch, evaluations| {
            (1..=2 * per_epoch).filter(|step| is_evaluated(*step, per_epoch, evaluations)).collect::<Vec<_>>()
        };
        assert_eq!(looks(10, 2), [5, 10, 15, 20]);
        assert_eq!(looks(7, 3), [3, 5, 7, 10, 12, 14]);
        assert_eq!(looks(2, 5), [1, 2, 3, 4], "never more often than there are steps");
    }
}
