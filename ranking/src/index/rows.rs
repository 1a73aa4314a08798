//! Items by their row: what is asked for once the best are known, and sets of rows that several indexes share.
//!
//! A filter is evaluated once a request, as a set of rows; every source then scans its own vectors within that set.

use super::live::View;
use super::sealed::{Among, Sealed};
use super::search::Search;
use super::{Allowed, IndexError, Scored};
use crate::attributes::Value;
use crate::filter::Filter;

/// What is asked of an index about items that were chosen elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    /// Row-major, of the index's width.
    pub queries: &'a [f32],
    /// How many items each query wants.
    pub k: usize,
    /// Rows that may be found; all if absent.
    pub allowed: Option<&'a Allowed>,
    /// By query, rows that shall not be found, in order. Queries beyond the end of the list have none.
    pub excluded: &'a [&'a [u32]],
    /// Threads that share the work.
    pub threads: usize,
}

impl View {
    /// As [`search`](Self::search), among the items of a set of rows.
    ///
    /// # Errors
    /// [`IndexError`] says what is wrong with the queries or `k`.
    pub fn search_within(&self, within: &Within<'_>) -> Result<Vec<Vec<Scored>>, IndexError> {
        let Within { queries, k, allowed, excluded, threads } = *within;
        let search = Search { queries, k, allowed: None, excluded, threads };
        self.search_among(&search, allowed.map_or(Among::Filter(None), Among::Rows))
    }

    /// The rows of the items that fulfil a filter, or of all.
    pub fn rows(&self, filter: Option<&Filter>) -> Allowed {
        let end = self.sealed.iter().filter_map(Sealed::row_max).max().map_or(0, |row| row as usize + 1);
        let mut rows = Vec::new();
        for segment in self.sealed.iter() {
            segment.each_row(filter, |row| rows.push(row));
        }
        Allowed::new(end, rows)
    }

    /// For each of `rows`, whether there is such an item and it fulfils the filter.
    pub fn fulfil(&self, filter: &Filter, rows: &[u32]) -> Vec<bool> {
        let mut found = vec![false; rows.len()];
        for segment in self.sealed.iter() {
            let bound = segment.bind(filter);
            for (found, row) in found.iter_mut().zip(rows) {
                *found = *found || segment.place(*row).is_some_and(|place| bound.matches(place));
            }
        }
        found
    }

    /// The vector of an item, if it is here; of length 1 where directions are compared.
    pub fn vector(&self, row: u32) -> Option<&[f32]> {
        let (segment, place) = self.find(row)?;
        Some(segment.vector(place))
    }

    /// What an item has for an attribute.
    pub fn value(&self, row: u32, attribute: &str) -> Option<Value> {
        let (segment, place) = self.find(row)?;
        segment.value(place, attribute)
    }

    /// What the items of some rows have for attributes that are numbers: by attribute, one a row; NaN where there is no
    /// such item, or it has no number there.
    pub fn numbers(&self, attributes: &[&str], rows: &[u32]) -> Vec<Vec<f64>> {
        let mut numbers = vec![vec![f64::NAN; rows.len()]; attributes.len()];
        for segment in self.sealed.iter() {
            let places = rows.iter().map(|row| segment.place(*row));
            let here: Vec<(usize, u32)> = places.enumerate().filter_map(|(at, place)| Some((at, place?))).collect();
            for (numbers, attribute) in numbers.iter_mut().zip(attributes) {
                segment.columns().numbers(attribute, &here, numbers);
            }
        }
        numbers
    }

    /// Whether there is an item of this row.
    pub fn contains(&self, row: u32) -> bool {
        self.find(row).is_some()
    }

    fn find(&self, row: u32) -> Option<(&Sealed, u32)> {
        self.sealed.iter().find_map(|segment| Some((segment, segment.place(row)?)))
    }
}

#[cfg(test)]
mod tests {
    use crate::attributes::{Kind, Schema, Value};
    use crate::filter::{Filter, parse};
    use crate::index::{Allowed, Index, Item, Metric, Query, Within};

    fn item(row: u32, odd: bool) -> Item {
        let vector = vec![row as f32, 1.0 - (row % 7) as f32];
        Item { row, vector, attributes: vec![("odd".into(), Value::Boolean(odd))] }
    }

    fn index() -> Index {
        let schema = Schema::new([("odd", Kind::Boolean)]).unwrap();
        let index = Index::new(2, Metric::InnerProduct, schema).unwrap();
        index.upsert((0..200).map(|row| item(row, row % 2 == 1)).collect(), 1).unwrap();
        index.upsert((150..400).map(|row| item(row, row % 2 == 1)).collect(), 1).unwrap();
        index.delete(&[7, 200]);
        index
    }

    fn odd() -> Filter {
        let schema = Schema::new([("odd", Kind::Boolean)]).unwrap();
        Filter::check(&parse("odd").unwrap(), &schema).unwrap()
    }

    #[test]
    fn rows_of_a_filter_are_those_that_a_search_finds() {
        let view = index().view();
        let rows = view.rows(Some(&odd()));
        let expected: Vec<u32> = (0..400).filter(|row| row % 2 == 1 && *row != 7).collect();
        assert_eq!(rows.iter().collect::<Vec<u32>>(), expected);
        assert_eq!(view.rows(None).count(), 398);
        let queries = [0.3, -1.0, -0.2, 0.5];
        let (k, excluded, threads) = (40, &[&[301_u32][..]][..], 1);
        let filtered = view.search(&Query { queries: &queries, k, filter: Some(&odd()), excluded, threads }).unwrap();
        let within = Within { queries: &queries, k, allowed: Some(&rows), excluded, threads };
        assert_eq!(view.search_within(&within).unwrap(), filtered);
        let all = view.search(&Query { queries: &queries, k, filter: None, excluded, threads }).unwrap();
        assert_eq!(view.search_within(&Within { allowed: None, ..within }).unwrap(), all);
        let few = Allowed::new(3, [0, 2]);
        assert_eq!(view.search_within(&Within { allowed: Some(&few), ..within }).unwrap()[0].len(), 2);
    }

    /// Few rows are looked up, many rows are a mask, and more so where many ask: each way finds the same.
    #[test]
    fn however_many_rows_and_queries_what_is_found_is_among_the_rows() {
        let view = index().view();
        let queries: Vec<f32> = (0..14).map(|value| ((value * 37 % 19) as f32 - 9.0) / 5.0).collect();
        let all = Within { queries: &queries, k: 400, allowed: None, excluded: &[], threads: 1 };
        let all = view.search_within(&all).unwrap();
        for step in [1, 2, 9, 150] {
            let rows = Allowed::new(500, (1..500).step_by(step));
            for count in [1, 2, 7] {
                let queries = &queries[..2 * count];
                let within = Within { queries, k: 20, allowed: Some(&rows), excluded: &[], threads: 1 };
                for (found, all) in view.search_within(&within).unwrap().into_iter().zip(&all) {
                    let expected: Vec<_> = all.iter().filter(|scored| rows.contains(scored.row)).take(20).collect();
                    assert_eq!(found.iter().collect::<Vec<_>>(), expected, "each {step}th row, {count} queries");
                }
            }
        }
    }

    #[test]
    fn numbers_of_many_rows_are_those_of_each() {
        let schema = Schema::new([("price", Kind::Number), ("odd", Kind::Boolean)]).unwrap();
        let index = Index::new(2, Metric::InnerProduct, schema).unwrap();
        let priced = |row: u32| Item {
            attributes: vec![("price".into(), Value::Number(f64::from(row) / 2.0))],
            ..item(row, row % 2 == 1)
        };
        index.upsert((0..90).map(|row| if row % 3 == 0 { priced(row) } else { item(row, true) }).collect(), 1).unwrap();
        index.upsert((60..120).map(priced).collect(), 1).unwrap();
        index.delete(&[61]);
        let (view, rows) = (index.view(), [3, 4, 60, 61, 119, 9, 4_000]);
        let number = |row: &u32| match view.value(*row, "price") {
            Some(Value::Number(number)) => number,
            _ => f64::NAN,
        };
        let found = view.numbers(&["odd", "price", "prize"], &rows);
        let expected: Vec<u64> = rows.iter().map(number).map(f64::to_bits).collect();
        assert_eq!(found[1].iter().map(|number| number.to_bits()).collect::<Vec<_>>(), expected);
        assert!(found[0].iter().chain(&found[2]).all(|number| number.is_nan()), "no numbers");
        assert_eq!((found[1][0], found[1][4], found[1][5]), (1.5, 59.5, 4.5));
    }

    #[test]
    fn an_item_is_found_by_its_row_in_its_newest_version() {
        let index = index();
        index.upsert(vec![Item { vector: vec![-3.0, 4.0], ..item(8, true) }], 1).unwrap();
        let view = index.view();
        assert_eq!(view.vector(8), Some(&[-3.0, 4.0][..]));
        assert_eq!(view.value(8, "odd"), Some(Value::Boolean(true)));
        assert_eq!((view.value(10, "odd"), view.value(10, "even")), (Some(Value::Boolean(false)), None));
        assert_eq!(
            (view.vector(7), view.contains(7), view.contains(399), view.contains(4_000)),
            (None, false, true, false)
        );
        assert_eq!(view.fulfil(&odd(), &[8, 7, 10, 11, 4_000]), [true, false, false, true, false]);
    }
}
