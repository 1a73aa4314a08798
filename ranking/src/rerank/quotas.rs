//! How much room the quotas leave.

use std::collections::HashMap;

use super::likeness::texts;
use super::rules::{Compiled, Effect};
use crate::index::View;

/// The groups that quotas make, and what each candidate takes of them.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    /// How many more each group may have.
    room: Vec<usize>,
    /// The rule of each group.
    rules: Vec<usize>,
    /// Groups by candidate.
    groups: Vec<Vec<u32>>,
}

impl Quotas {
    /// `concerns` says whether a rule, by its number, is about a candidate.
    pub(super) fn new(
        rules: &[Compiled],
        catalogue: &View,
        rows: &[u32],
        concerns: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let mut quotas = Self { groups: vec![Vec::new(); rows.len()], ..Self::default() };
        for (number, rule) in rules.iter().enumerate() {
            let Effect::Quota { attribute, at_most } = &rule.effect else { continue };
            let mut by_value: HashMap<String, u32> = HashMap::new();
            for (candidate, row) in rows.iter().enumerate().filter(|(candidate, _)| concerns(number, *candidate)) {
                let values = match attribute {
                    None => vec![String::new()],
                    Some(attribute) => texts(catalogue.value(*row, attribute)),
                };
                for value in values {
                    let group = *by_value.entry(value).or_insert_with(|| {
                        quotas.room.push(*at_most);
                        quotas.rules.push(number);
                        quotas.room.len() as u32 - 1
                    });
                    quotas.groups[candidate].push(group);
                }
            }
        }
        quotas.groups.iter_mut().for_each(|groups| {
            groups.sort_unstable();
            groups.dedup();
        });
        quotas
    }

    /// The rule that keeps a candidate out, if one does.
    pub(super) fn forbids(&self, candidate: usize) -> Option<usize> {
        let full = self.groups[candidate].iter().find(|group| self.room[**group as usize] == 0)?;
        Some(self.rules[*full as usize])
    }

    pub(super) fn take(&mut self, candidate: usize) {
        for group in &self.groups[candidate] {
            self.room[*group as usize] -= 1;
        }
    }
}
