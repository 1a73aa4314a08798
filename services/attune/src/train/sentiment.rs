//! `attune train sentiment`: a fine-tuned adapter in a folder of its own, never in the place of one that is served.

use std::path::PathBuf;

use anyhow::{Context, Result};
use attune_inference::train::Recipe;
use attune_sentiment::progress::Bar;
use attune_sentiment::train::{self, TrainOptions};
use clap::Args;

use crate::config::Config;
use crate::{models, term, texts};

/// The configured classifier whose base is trained on.
const MODEL: &str = "sentiment";

/// What can be typed after `attune train sentiment`.
#[derive(Debug, Args)]
#[command(after_help = "\
Learns from the train part, chooses by dev, stops early, and measures test once,
at the end. Writes a folder in PEFT's layout with a model card. One seed writes
the same adapter again on the same kind of processor.

Examples:
  attune train sentiment
  attune train sentiment --seed 2 --out my-adapter
  attune evaluate --protocol sentiment --adapter sentiment-1")]
pub struct Options {
    /// Decides the adapter's first values and the order of the sentences
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for the adapter, new or empty [default: DATA/models/sentiment-SEED]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Rank of the adapter's matrices
    #[arg(long, default_value_t = Recipe::default().rank)]
    rank: usize,
    /// The adapter is scaled by alpha / rank
    #[arg(long, default_value_t = Recipe::default().alpha)]
    alpha: f64,
    /// Highest learning rate
    #[arg(long, default_value_t = Recipe::default().learning_rate)]
    learning_rate: f64,
    /// Passes over the sentences
    #[arg(long, default_value_t = Recipe::default().epochs)]
    epochs: usize,
    /// Probability taken from the true class and spread over all
    #[arg(long, default_value_t = Recipe::default().label_smoothing)]
    label_smoothing: f64,
    /// Probability with which an element between the layers is dropped
    #[arg(long, default_value_t = Recipe::default().dropout)]
    dropout: f64,
    /// Share of the running average of the parameters that each step keeps
    #[arg(long, default_value_t = Recipe::default().averaging)]
    averaging: f64,
    /// Deviation of a rating asked for again: near a border, a sentence counts for both sides
    #[arg(long, value_name = "DEVIATION", default_value_t = TrainOptions::default().rating_error)]
    rating_error: f64,
    /// Looks at dev in each pass
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().evaluations_per_epoch)]
    evaluations: usize,
    /// Looks at dev without an improvement until training stops
    #[arg(long, value_name = "N", default_value_t = TrainOptions::default().patience)]
    patience: usize,
}

/// Trains, shows a bar, writes the adapter with its card, and prints the figures.
///
/// # Errors
/// The base or the data is missing, or training fails.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let model = config.models.iter().find(|model| model.name == MODEL);
    let model = model.with_context(|| format!("no configured model is called {MODEL:?}: its base is trained on"))?;
    let name = format!("sentiment-{}", options.seed);
    let out = options.out.clone().unwrap_or_else(|| models::folder(&config.data, &name));
    let train = TrainOptions {
        base: config.model_folder(&model.model),
        base_name: format!("sentence-transformers/{}", model.model),
        data: texts::folder(config),
        out: out.clone(),
        seed: options.seed,
        recipe: options.recipe(),
        rating_error: options.rating_error,
        evaluations_per_epoch: options.evaluations,
        patience: options.patience,
        command: options.command(),
    };
    let report = train::run(&train, &mut Bar::new())?;
    say!("{}\n{}", report.dev, report.test);
    term::good(&format!(
        "{} steps in {:.0} s, the best on dev after {}",
        report.steps, report.seconds, report.best_step
    ));
    term::good(&format!("written to {0}; serve it with adapter = \"{0}\" in a [[models]] section", out.display()));
    Ok(())
}

impl Options {
    fn recipe(&self) -> Recipe {
        let Self { rank, alpha, learning_rate, epochs, label_smoothing, dropout, averaging, .. } = *self;
        Recipe { rank, alpha, learning_rate, epochs, label_smoothing, dropout, averaging, ..Recipe::default() }
    }

    /// The command that does it again, for the card: what differs from the defaults.
    fn command(&self) -> String {
        let (mine, default, options) = (self.recipe(), Recipe::default(), TrainOptions::default());
        let flags = [
            ("rank", mine.rank as f64, default.rank as f64),
            ("alpha", mine.alpha, default.alpha),
            ("learning-rate", mine.learning_rate, default.learning_rate),
            ("epochs", mine.epochs as f64, default.epochs as f64),
            ("label-smoothing", mine.label_smoothing, default.label_smoothing),
            ("dropout", mine.dropout, default.dropout),
            ("averaging", mine.averaging, default.averaging),
            ("rating-error", self.rating_error, options.rating_error),
            ("evaluations", self.evaluations as f64, options.evaluations_per_epoch as f64),
            ("patience", self.patience as f64, options.patience as f64),
        ];
        let changed = flags.iter().filter(|(_, mine, default)| mine != default);
        let flags: String = changed.map(|(flag, mine, _)| format!(" --{flag} {mine}")).collect();
        format!("attune train sentiment --seed {}{flags}", self.seed)
    }
}
