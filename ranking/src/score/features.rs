//! What is known of each candidate, as named numbers.

use std::sync::Arc;

use super::ScoreError;
use crate::retrieve::{Outcome, Union};

/// Name of the number of events, as a logarithm.
const HISTORY: &str = "history";

/// Which columns there are: three a source, the length of the history, and those that the caller adds.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureLayout {
    names: Arc<[String]>,
    sources: usize,
}

/// A feature that the caller adds: one number a candidate.
#[derive(Clone, Copy, Debug)]
pub struct Extra<'a> {
    /// As the layout has it.
    pub name: &'a str,
    /// By candidate; NaN where it is not known.
    pub values: &'a [f32],
}

/// Candidates by features, row by row; NaN where something is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    names: Arc<[String]>,
    /// Columns of sources and of the history; those that the caller adds come after them.
    own: usize,
    values: Vec<f32>,
}

impl FeatureLayout {
    /// The columns of sources called so, and more: `factors`, `factors absent`, `factors silent`, and so on.
    pub fn new<'n>(sources: impl IntoIterator<Item = &'n str>, extras: impl IntoIterator<Item = &'n str>) -> Self {
        let mut names = Vec::new();
        for source in sources {
            names.extend([source.to_owned(), format!("{source} absent"), format!("{source} silent")]);
        }
        let sources = names.len() / 3;
        names.push(HISTORY.to_owned());
        names.extend(extras.into_iter().map(str::to_owned));
        Self { names: names.into(), sources }
    }

    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The features of a union. A source that did not answer in time leaves its three columns empty.
    ///
    /// # Errors
    /// [`ScoreError::Extra`] where the extras are not those of the layout, one number a candidate.
    ///
    /// # Panics
    /// If the outcomes are not those that the union was made of.
    pub fn fill(
        &self,
        union: &Union,
        outcomes: &[Outcome],
        events: usize,
        extras: &[Extra<'_>],
    ) -> Result<Features, ScoreError> {
        assert_eq!((outcomes.len(), union.sources()), (self.sources, self.sources), "one outcome a source");
        let by_column: Vec<&[f32]> = self.names[3 * self.sources + 1..]
            .iter()
            .map(|name| match extras.iter().find(|extra| extra.name == name) {
                Some(extra) if extra.values.len() == union.rows().len() => Ok(extra.values),
                extra => {
                    let (len, need) = (extra.map_or(0, |extra| extra.values.len()), union.rows().len());
                    Err(ScoreError::Extra { name: name.clone(), len, need })
                }
            })
            .collect::<Result<_, _>>()?;
        let history = (events as f32).ln_1p();
        let mut values = Vec::with_capacity(union.rows().len() * self.names.len());
        for candidate in 0..union.rows().len() {
            for (entry, outcome) in union.entries(candidate).iter().zip(outcomes) {
                values.extend(match (outcome, entry) {
                    (Outcome::Found(_), Some(entry)) => [entry.score, 0.0, 0.0],
                    (Outcome::Found(_), None) => [f32::NAN, 1.0, 0.0],
                    (Outcome::Silent, _) => [f32::NAN, 0.0, 1.0],
                    (Outcome::Late | Outcome::Failed(_), _) => [f32::NAN; 3],
                });
            }
            values.push(history);
            values.extend(by_column.iter().map(|column| column[candidate]));
        }
        Ok(Features { names: self.names.clone(), own: 3 * self.sources + 1, values })
    }
}

impl Features {
    /// Names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many candidates there are.
    pub fn candidates(&self) -> usize {
        self.values.len() / self.names.len()
    }

    /// The numbers of a candidate, in the order of the names; NaN where something is missing.
    ///
    /// # Panics
    /// If there is no such candidate.
    pub fn row(&self, candidate: usize) -> &[f32] {
        &self.values[candidate * self.names.len()..][..self.names.len()]
    }

    /// Of a candidate, the numbers that the caller added, in the order of the layout; NaN where something is missing.
    pub(super) fn extras(&self, candidate: usize) -> &[f32] {
        &self.row(candidate)[self.own..]
    }

    /// Whether each feature that the caller added is known of any candidate.
    pub(crate) fn extras_known(&self) -> Vec<bool> {
        let known = |at: usize| (0..self.candidates()).any(|candidate| !self.extras(candidate)[at].is_nan());
        (0..self.names.len() - self.own).map(known).collect()
    }
}
