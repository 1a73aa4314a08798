//! How alike two candidates are, from 0 to 1.

use std::collections::HashMap;

use attune_kernels::{Isa, inner_products, l2_normalize};
use serde::{Deserialize, Serialize};

use crate::attributes::Value;
use crate::index::View;

/// What diversity looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// The cosine of the vectors of the index; below 0 counts as 0, and an item without a vector is like no other.
    #[default]
    Vectors,
    /// The share of the values of one attribute that two items have in common, of all that either has.
    Attribute(String),
}

/// How alike each candidate is to the nearest of those that were taken.
#[derive(Debug)]
pub(super) struct Nearest {
    of: Of,
    likeness: Vec<f32>,
    /// Memory to use.
    to_one: Vec<f32>,
}

#[derive(Debug)]
enum Of {
    /// Of length 1 or 0, row by row.
    Vectors { vectors: Vec<f32>, width: usize },
    /// Numbers of values, sorted, by candidate.
    Values(Vec<Vec<u32>>),
}

impl Nearest {
    pub(super) fn new(likeness: &Likeness, catalogue: &View, rows: impl ExactSizeIterator<Item = u32>) -> Self {
        let candidates = rows.len();
        let of = match likeness {
            Likeness::Vectors => vectors(catalogue, rows),
            Likeness::Attribute(attribute) => values(catalogue, rows, attribute),
        };
        Self { of, likeness: vec![0.0; candidates], to_one: vec![0.0; candidates] }
    }

    /// To the nearest one taken.
    pub(super) fn likeness(&self, candidate: usize) -> f32 {
        self.likeness[candidate]
    }

    pub(super) fn take(&mut self, candidate: usize) {
        match &self.of {
            Of::Vectors { vectors, width } => {
                let isa = Isa::active().expect("checked at start");
                inner_products(isa, &vectors[candidate * width..][..*width], vectors, &mut self.to_one);
            }
            Of::Values(values) => {
                for (likeness, other) in self.to_one.iter_mut().zip(values) {
                    *likeness = shared(&values[candidate], other);
                }
            }
        }
        for (nearest, likeness) in self.likeness.iter_mut().zip(&self.to_one) {
            *nearest = nearest.max(*likeness).min(1.0);
        }
    }
}

fn vectors(catalogue: &View, rows: impl ExactSizeIterator<Item = u32>) -> Of {
    let width = catalogue.width();
    let mut vectors = vec![0.0; rows.len() * width];
    for (to, row) in vectors.chunks_exact_mut(width).zip(rows) {
        if let Some(vector) = catalogue.vector(row) {
            to.copy_from_slice(vector);
        }
    }
    if !vectors.is_empty() {
        l2_normalize(Isa::active().expect("checked at start"), &mut vectors, width);
    }
    Of::Vectors { vectors, width }
}

fn values(catalogue: &View, rows: impl Iterator<Item = u32>, attribute: &str) -> Of {
    let mut numbers = HashMap::new();
    let mut number = |value: String| {
        let next = numbers.len() as u32;
        *numbers.entry(value).or_insert(next)
    };
    let of_row = |row: u32| {
        let mut values: Vec<u32> = texts(catalogue.value(row, attribute)).into_iter().map(&mut number).collect();
        values.sort_unstable();
        values.dedup();
        values
    };
    Of::Values(rows.map(of_row).collect())
}

/// The values of an attribute as texts: those of a list one by one.
pub(super) fn texts(value: Option<Value>) -> Vec<String> {
    match value {
        None => Vec::new(),
        Some(Value::Keyword(text)) => vec![text],
        Some(Value::Keywords(texts)) => texts,
        Some(Value::Number(number)) => vec![number.to_string()],
        Some(Value::Boolean(flag)) => vec![flag.to_string()],
        Some(Value::Time(time)) => vec![time.to_string()],
    }
}

/// Jaccard's index of two sorted sets.
fn shared(left: &[u32], right: &[u32]) -> f32 {
    let common = left.iter().filter(|value| right.binary_search(value).is_ok()).count();
    let all = left.len() + right.len() - common;
    if all == 0 { 0.0 } else { common as f32 / all as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_the_common_part_of_all() {
        assert_eq!(shared(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!((shared(&[], &[]), shared(&[], &[1]), shared(&[1], &[1])), (0.0, 0.0, 1.0));
    }
}
