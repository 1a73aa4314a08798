//! What a classifier of sentiment is judged by: pure functions of predictions and ratings.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::data::{Class, Sentence};
use crate::service::Sentiment;

/// One judged sentence.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What people made of it.
    pub sentence: &'a Sentence,
    /// What the model made of it.
    pub sentiment: Sentiment,
}

impl Judged<'_> {
    fn class_is_right(&self) -> bool {
        self.sentiment.class() == self.sentence.class()
    }

    /// Whether the side that the model leans to, leaving neutral out, is the side people chose.
    fn side_is_right(&self) -> bool {
        let [negative, _, positive] = self.sentiment.probabilities;
        (positive > negative) == (self.sentence.rating > 0.0)
    }
}

/// A share of right answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Right answers / answers; 0 where there are none.
    pub share: f64,
    /// Standard error of the share: sqrt(p (1 - p) / n).
    pub standard_error: f64,
    /// How many answers it stands on.
    pub count: usize,
}

impl Accuracy {
    fn of(answers: impl Iterator<Item = bool>) -> Self {
        let (count, right) = answers.fold((0, 0), |(count, right), answer| (count + 1, right + usize::from(answer)));
        if count == 0 {
            return Self { share: 0.0, standard_error: 0.0, count };
        }
        let share = right as f64 / count as f64;
        Self { share, standard_error: (share * (1.0 - share) / count as f64).sqrt(), count }
    }
}

/// The share and, in brackets, its standard error.
impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} ({:.3})", self.share, self.standard_error)
    }
}

/// The figures for one set of sentences.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Among sentences with |rating| >= 0.5: whether the probability of positive outranks that of negative exactly
    /// where people were positive.
    pub strong: Accuracy,
    /// Whether the most probable of the three classes is the true one.
    pub three_classes: Accuracy,
    /// F1 of each class, averaged over the classes that occur in truth or prediction.
    pub macro_f1: f64,
}

impl Figures {
    /// One number to choose by: the mean of the three.
    pub fn mean(&self) -> f64 {
        (self.strong.share + self.three_classes.share + self.macro_f1) / 3.0
    }
}

/// The figures of all sentences, and of each file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Over everything.
    pub all: Figures,
    /// By the file's name.
    pub sources: BTreeMap<String, Figures>,
}

/// Judges every sentence.
pub fn report(judged: &[Judged<'_>]) -> Report {
    let mut sources: BTreeMap<&str, Vec<Judged<'_>>> = BTreeMap::new();
    for one in judged {
        sources.entry(one.sentence.source).or_default().push(*one);
    }
    let sources = sources.into_iter().map(|(source, judged)| (source.to_string(), figures(&judged))).collect();
    Report { all: figures(judged), sources }
}

/// The figures for one set of sentences.
pub fn figures(judged: &[Judged<'_>]) -> Figures {
    Figures {
        strong: Accuracy::of(judged.iter().filter(|one| one.sentence.is_strong()).map(Judged::side_is_right)),
        three_classes: Accuracy::of(judged.iter().map(Judged::class_is_right)),
        macro_f1: macro_f1(judged.iter().map(|one| (one.sentence.class(), one.sentiment.class()))),
    }
}

/// F1 of each class, averaged; a class that neither occurs nor is predicted is left out.
fn macro_f1(pairs: impl Iterator<Item = (Class, Class)>) -> f64 {
    let mut counts = [[0usize; 3]; 3];
    for (truth, predicted) in pairs {
        counts[truth.index()][predicted.index()] += 1;
    }
    let f1: Vec<f64> = (0..3)
        .filter_map(|class| {
            let occurs: usize = counts[class].iter().sum();
            let predicted: usize = counts.iter().map(|row| row[class]).sum();
            (occurs + predicted > 0).then(|| 2.0 * counts[class][class] as f64 / (occurs + predicted) as f64)
        })
        .collect();
    f1.iter().sum::<f64>() / f1.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Truth: negative, negative, neutral, positive, positive. Predicted: negative, neutral, neutral, positive,
    /// negative.
    const FIVE: [(f64, [f32; 3]); 5] = [
        (-2.0, [0.8, 0.1, 0.1]),
        (-0.5, [0.3, 0.5, 0.2]),
        (0.2, [0.2, 0.6, 0.2]),
        (0.5, [0.1, 0.3, 0.6]),
        (3.0, [0.5, 0.2, 0.3]),
    ];

    fn sentences() -> Vec<Sentence> {
        let sentence = |(rating, _)| Sentence { source: "tweets", id: "1".into(), rating, text: "text".into() };
        FIVE.map(sentence).to_vec()
    }

    fn judged(sentences: &[Sentence]) -> Vec<Judged<'_>> {
        let judge = |(sentence, (_, probabilities))| Judged { sentence, sentiment: Sentiment { probabilities } };
        sentences.iter().zip(FIVE).map(judge).collect()
    }

    #[test]
    fn the_figures_of_five_sentences_worked_by_hand() {
        let figures = figures(&judged(&sentences()));
        // Strong: four sentences, only the last leans to the wrong side; the second is right although neutral wins.
        assert_eq!((figures.strong.share, figures.strong.count), (0.75, 4));
        assert!((figures.strong.standard_error - (0.75f64 * 0.25 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!((figures.three_classes.share, figures.three_classes.count), (0.6, 5));
        // F1: negative 2*1/(2+2), neutral 2*1/(1+2), positive 2*1/(2+1).
        assert!((figures.macro_f1 - (0.5 + 2.0 / 3.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn each_file_is_judged_by_itself() {
        let mut sentences = sentences();
        sentences[4].source = "movies";
        let judged = judged(&sentences);
        let report = report(&judged);
        assert_eq!(report.sources["tweets"].strong, Accuracy { share: 1.0, standard_error: 0.0, count: 3 });
        assert_eq!(report.sources["movies"].strong.share, 0.0);
        assert_eq!(report.all, figures(&judged));
    }

    #[test]
    fn nothing_judged_is_zero_and_not_a_division_by_it() {
        let figures = figures(&[]);
        assert_eq!((figures.strong.share, figures.three_classes.count, figures.macro_f1), (0.0, 0, 0.0));
    }

    #[test]
    fn equal_probabilities_go_to_the_lower_index() {
        let sentiment = Sentiment { probabilities: [0.2, 0.4, 0.4] };
        assert_eq!(sentiment.class(), Class::Neutral);
    }
}
