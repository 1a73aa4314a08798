//! What a classifier of sentiment is judged by: pure functions of predictions and ratings.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::{Class, STRONG_RATING_MIN};

/// One judged sentence.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// The file it comes from.
    pub source: &'a str,
    /// Mean rating by people, -4..4.
    pub rating: f64,
    /// The model's probabilities of negative, neutral and positive.
    pub probabilities: [f32; 3],
}

impl Judged<'_> {
    /// The most probable class; the lower index where two are equal.
    pub fn predicted(&self) -> Class {
        let mut best = Class::Negative;
        for class in Class::ALL {
            if self.probabilities[class.index()] > self.probabilities[best.index()] {
                best = class;
            }
        }
        best
    }

    fn is_strong(&self) -> bool {
        self.rating.abs() >= STRONG_RATING_MIN
    }

    /// Whether the side that the model leans to, leaving neutral out, is the side people chose.
    fn side_is_right(&self) -> bool {
        let [negative, _, positive] = self.probabilities;
        (positive > negative) == (self.rating > 0.0)
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
    for sentence in judged {
        sources.entry(sentence.source).or_default().push(*sentence);
    }
    let sources = sources.into_iter().map(|(source, judged)| (source.to_string(), figures(&judged))).collect();
    Report { all: figures(judged), sources }
}

/// The figures for one set of sentences.
pub fn figures(judged: &[Judged<'_>]) -> Figures {
    Figures {
        strong: Accuracy::of(judged.iter().filter(|one| one.is_strong()).map(Judged::side_is_right)),
        three_classes: Accuracy::of(judged.iter().map(|one| one.predicted() == Class::of(one.rating))),
        macro_f1: macro_f1(judged.iter().map(|one| (Class::of(one.rating), one.predicted()))),
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

    fn judged(rating: f64, probabilities: [f32; 3]) -> Judged<'static> {
        Judged { source: "tweets", rating, probabilities }
    }

    /// Truth: negative, negative, neutral, positive, positive. Predicted: negative, neutral, neutral, positive,
    /// negative.
    fn five() -> Vec<Judged<'static>> {
        vec![
            judged(-2.0, [0.8, 0.1, 0.1]),
            judged(-0.5, [0.3, 0.5, 0.2]),
            judged(0.2, [0.2, 0.6, 0.2]),
            judged(0.5, [0.1, 0.3, 0.6]),
            judged(3.0, [0.5, 0.2, 0.3]),
        ]
    }

    #[test]
    fn the_figures_of_five_sentences_worked_by_hand() {
        let figures = figures(&five());
        // Strong: four sentences, only the last leans to the wrong side; the second is right although neutral wins.
        assert_eq!((figures.strong.share, figures.strong.count), (0.75, 4));
        assert!((figures.strong.standard_error - (0.75f64 * 0.25 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!((figures.three_classes.share, figures.three_classes.count), (0.6, 5));
        // F1: negative 2*1/(2+2), neutral 2*1/(1+2), positive 2*1/(2+1).
        assert!((figures.macro_f1 - (0.5 + 2.0 / 3.0 + 2.0 / 3.0) / 3.0).abs() < 1e-12);
    }

    #[test]
    fn each_file_is_judged_by_itself() {
        let mut judged = five();
        judged[4].source = "movies";
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
        assert_eq!(judged(0.0, [0.4, 0.4, 0.2]).predicted(), Class::Negative);
    }
}
