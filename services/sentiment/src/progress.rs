//! What a training run tells while it goes on, and the bar that shows it.

use indicatif::{ProgressBar, ProgressStyle};

use crate::metrics::Figures;

/// Hears how training goes.
pub trait Progress {
    /// Training begins.
    fn started(&mut self, run: &Started);
    /// A step was taken; `loss` is the mean since the last evaluation.
    fn stepped(&mut self, loss: f32);
    /// Dev was measured.
    fn evaluated(&mut self, evaluation: &Evaluated);
    /// The last step was taken, or training stopped early.
    fn finished(&mut self);
}

/// What is known before the first step.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// Sentences to learn from.
    pub train_sentences: usize,
    /// Sentences to choose by.
    pub dev_sentences: usize,
    /// Numbers that are trained.
    pub parameters: usize,
    /// Steps, if nothing stops them early.
    pub steps: usize,
}

/// One evaluation on dev.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated {
    /// Steps taken.
    pub step: usize,
    /// Passes over the data, parts included.
    pub epoch: f64,
    /// Mean loss since the last evaluation.
    pub loss: f32,
    /// The figures.
    pub dev: Figures,
    /// Whether they are the best so far.
    pub best: bool,
}

/// A progress bar on standard error, with a line above it for each evaluation.
#[derive(Debug)]
pub struct Bar(ProgressBar);

impl Bar {
    /// A bar that appears when training starts.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {per_sec}, {eta} left, loss {msg}");
        Self(ProgressBar::no_length().with_style(style.expect("a fixed template")))
    }

    /// A line above the bar; in a log file, where a bar has no place, the line alone.
    fn line(&self, line: &str) {
        if self.0.is_hidden() {
            eprintln!("{line}");
        } else {
            self.0.println(line);
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn started(&mut self, run: &Started) {
        let Started { train_sentences, dev_sentences, parameters, steps } = run;
        self.0.set_length(*steps as u64);
        self.line(&format!(
            "{train_sentences} sentences to learn from, {dev_sentences} to choose by, {parameters} parameters"
        ));
    }

    fn stepped(&mut self, loss: f32) {
        self.0.set_message(format!("{loss:.3}"));
        self.0.inc(1);
    }

    fn evaluated(&mut self, evaluation: &Evaluated) {
        let Evaluated { epoch, loss, dev, best, .. } = evaluation;
        self.line(&format!(
            "epoch {epoch:.1}: loss {loss:.3}; dev strong {:.3}, three classes {:.3}, macro-F1 {:.3}{}",
            dev.strong.share,
            dev.three_classes.share,
            dev.macro_f1,
            if *best { ", the best so far" } else { "" }
        ));
    }

    fn finished(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn started(&mut self, _: &Started) {}
    fn stepped(&mut self, _: f32) {}
    fn evaluated(&mut self, _: &Evaluated) {}
    fn finished(&mut self) {}
}
