//! A filter on the columns of one segment.
//!
//! A conjunction starts with the part that the fewest rows match, and every further part is only asked about what is
//! left: for its rows if they are quickly found, else row by row. It ends as soon as nothing is left. How many rows a
//! part matches is known before, exactly for most comparisons, since the columns are sorted for it.

use roaring::RoaringBitmap;

use super::check::Node;
use super::leaf::Leaf;
use crate::attributes::Columns;

/// A [`Filter`](super::Filter) whose attributes and values have been looked up.
#[derive(Clone, Debug)]
pub struct Bound<'a> {
    rows: u32,
    plan: Plan<'a>,
}

/// A condition and about how many rows match it.
#[derive(Clone, Debug)]
struct Plan<'a> {
    estimate: u64,
    step: Step<'a>,
}

#[derive(Clone, Debug)]
enum Step<'a> {
    /// What the fewest rows match comes first.
    All(Vec<Plan<'a>>),
    /// What the most rows match comes first.
    Any(Vec<Plan<'a>>),
    Not(Box<Plan<'a>>),
    Leaf(Leaf<'a>),
}

/// The rows that are asked about.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// How many the segment has.
    rows: u32,
    /// Those of interest; all if `None`.
    within: Option<&'a RoaringBitmap>,
}

impl<'a> Bound<'a> {
    pub(super) fn new(root: &'a Node, columns: &'a Columns) -> Self {
        Self { rows: columns.rows(), plan: Plan::new(root, columns) }
    }

    /// The rows that match.
    pub fn select(&self) -> RoaringBitmap {
        self.plan.select(Scope { rows: self.rows, within: None })
    }

    /// Whether a row matches; one that is not there does not.
    pub fn matches(&self, row: u32) -> bool {
        row < self.rows && self.plan.matches(row)
    }
}

impl<'a> Plan<'a> {
    fn new(node: &'a Node, columns: &'a Columns) -> Self {
        let rows = u64::from(columns.rows());
        match node {
            Node::All(parts) => {
                let mut parts: Vec<Self> = parts.iter().map(|part| Self::new(part, columns)).collect();
                parts.sort_by_key(|part| part.estimate);
                let estimate = parts.first().map_or(rows, |part| part.estimate);
                Self { estimate, step: Step::All(parts) }
            }
            Node::Any(parts) => {
                let mut parts: Vec<Self> = parts.iter().map(|part| Self::new(part, columns)).collect();
                parts.sort_by_key(|part| std::cmp::Reverse(part.estimate));
                let estimate = parts.iter().map(|part| part.estimate).sum::<u64>().min(rows);
                Self { estimate, step: Step::Any(parts) }
            }
            Node::Not(part) => {
                let part = Self::new(part, columns);
                Self { estimate: rows - part.estimate, step: Step::Not(Box::new(part)) }
            }
            Node::Test(test) => {
                let leaf = Leaf::new(test, columns);
                Self { estimate: leaf.estimate(), step: Step::Leaf(leaf) }
            }
        }
    }

    fn select(&self, scope: Scope<'_>) -> RoaringBitmap {
        match &self.step {
            Step::All(parts) => select_all(parts, scope),
            Step::Any(parts) => {
                let mut found = RoaringBitmap::new();
                parts.iter().for_each(|part| found |= part.select(scope));
                found
            }
            Step::Not(part) => scope.all() - part.select(scope),
            Step::Leaf(leaf) => match scope.within {
                None => leaf.rows().into_owned(),
                Some(within) if leaf.sooner_by_row(within.len()) => {
                    let rows = within.iter().filter(|row| leaf.matches(*row));
                    RoaringBitmap::from_sorted_iter(rows).expect("rows of a bitmap rise")
                }
                Some(within) => leaf.rows().as_ref() & within,
            },
        }
    }

    fn matches(&self, row: u32) -> bool {
        match &self.step {
            Step::All(parts) => parts.iter().all(|part| part.matches(row)),
            Step::Any(parts) => parts.iter().any(|part| part.matches(row)),
            Step::Not(part) => !part.matches(row),
            Step::Leaf(leaf) => leaf.matches(row),
        }
    }
}

fn select_all(parts: &[Plan<'_>], scope: Scope<'_>) -> RoaringBitmap {
    let mut parts = parts.iter();
    let mut found = match parts.next() {
        Some(first) => first.select(scope),
        None => scope.all(),
    };
    for part in parts {
        if found.is_empty() {
            break;
        }
        found = part.select(Scope { within: Some(&found), ..scope });
    }
    found
}

impl Scope<'_> {
    fn all(self) -> RoaringBitmap {
        match self.within {
            Some(within) => within.clone(),
            None => {
                let mut all = RoaringBitmap::new();
                all.insert_range(0..self.rows);
                all
            }
        }
    }
}
