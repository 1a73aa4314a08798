//! How alike two candidates are, from 0 to 1.

use std::collections::HashMap;

use attune_kernels::{Isa, inner_products};
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

/// How alike candidates are to the nearest of those that were taken, found out for those that are asked about: of some
/// hundred candidates, a list that is hardly diverse looks at a dozen.
#[derive(Debug)]
pub(super) struct Nearest<'a> {
    catalogue: &'a View,
    /// By candidate.
    rows: Vec<u32>,
    known: Vec<Known>,
    taken: Taken<'a>,
}

/// Where a candidate points.
#[derive(Clone, Copy, Debug)]
struct Direction<'a> {
    /// Empty where it has none.
    vector: &'a [f32],
    /// 1 over its length; 0 where that is 0.
    scale: f32,
}

/// What is known of a candidate. It can only become more alike.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    likeness: f32,
    /// How many of those that were taken it was compared with.
    compared: usize,
}

/// Those that were taken, in a form that others can be compared with.
#[derive(Debug)]
enum Taken<'a> {
    /// Vectors of length 1 or 0, row by row; the directions of candidates that were looked up; and memory to use.
    Vectors { width: usize, vectors: Vec<f32>, directions: Vec<Option<Direction<'a>>>, products: Vec<f32> },
    /// Values of an attribute, as sorted numbers.
    Values { attribute: &'a str, numbers: HashMap<String, u32>, values: Vec<Vec<u32>> },
}

impl<'a> Nearest<'a> {
    pub(super) fn new(likeness: &'a Likeness, catalogue: &'a View, rows: Vec<u32>) -> Self {
        let taken = match likeness {
            Likeness::Vectors => {
                let (vectors, directions, products) = (Vec::new(), vec![None; rows.len()], Vec::new());
                Taken::Vectors { width: catalogue.width(), vectors, directions, products }
            }
            Likeness::Attribute(attribute) => Taken::Values { attribute, numbers: HashMap::new(), values: Vec::new() },
        };
        Self { catalogue, known: vec![Known::default(); rows.len()], rows, taken }
    }

    /// To the nearest of those taken that it was compared with: to all of them it may be more.
    pub(super) fn at_least(&self, candidate: usize) -> f32 {
        self.known[candidate].likeness
    }

    /// Compares a candidate with those that were taken since it was compared last.
    pub(super) fn compare(&mut self, candidate: usize) {
        let (row, Known { likeness, compared }) = (self.rows[candidate], &mut self.known[candidate]);
        let nearest = match &mut self.taken {
            Taken::Vectors { width, vectors, directions, products } => {
                let taken = vectors.len() / *width;
                if *compared == taken {
                    return;
                }
                let Direction { vector, scale } =
                    *directions[candidate].get_or_insert_with(|| direction(self.catalogue, row));
                products.clear();
                if !vector.is_empty() {
                    products.resize(taken - *compared, 0.0);
                    inner_products(isa(), vector, &vectors[*compared * *width..], products);
                }
                *compared = taken;
                products.iter().fold(*likeness, |nearest, product| nearest.max(scale * product))
            }
            Taken::Values { attribute, numbers, values } => {
                if *compared == values.len() {
                    return;
                }
                let own = numbered(texts(self.catalogue.value(row, attribute)), numbers);
                let nearest = values[*compared..].iter().map(|other| shared(&own, other)).fold(*likeness, f32::max);
                *compared = values.len();
                nearest
            }
        };
        *likeness = nearest.min(1.0);
    }

    pub(super) fn take(&mut self, candidate: usize) {
        let row = self.rows[candidate];
        match &mut self.taken {
            Taken::Vectors { width, vectors, directions, .. } => {
                let known = directions[candidate].get_or_insert_with(|| direction(self.catalogue, row));
                let (Direction { vector, scale }, end) = (*known, vectors.len() + *width);
                vectors.extend(vector.iter().map(|value| scale * value));
                vectors.resize(end, 0.0);
            }
            Taken::Values { attribute, numbers, values } => {
                values.push(numbered(texts(self.catalogue.value(row, attribute)), numbers));
            }
        }
    }
}

fn isa() -> Isa {
    Isa::active().expect("checked at start")
}

/// Where a row points.
fn direction(catalogue: &View, row: u32) -> Direction<'_> {
    let vector = catalogue.vector(row).unwrap_or_default();
    let mut square = [0.0];
    if !vector.is_empty() {
        inner_products(isa(), vector, vector, &mut square);
    }
    let scale = if square[0] > 0.0 { 1.0 / square[0].sqrt() } else { 0.0 };
    Direction { vector, scale }
}

/// Numbers of values, sorted.
fn numbered(values: Vec<String>, numbers: &mut HashMap<String, u32>) -> Vec<u32> {
    let mut number = |value: String| {
        let next = numbers.len() as u32;
        *numbers.entry(value).or_insert(next)
    };
    let mut values: Vec<u32> = values.into_iter().map(&mut number).collect();
    values.sort_unstable();
    values.dedup();
    values
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
