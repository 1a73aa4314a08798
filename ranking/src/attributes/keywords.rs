//! A column of keywords, one or several a row.

use std::collections::HashMap;

use roaring::RoaringBitmap;

/// Distinct terms, sorted, in one allocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Dictionary {
    text: String,
    /// Where each term ends in `text`.
    ends: Vec<u32>,
}

impl Dictionary {
    /// Adds a term, or returns `false` if it does not come after the last.
    pub(super) fn push(&mut self, term: &str) -> bool {
        let follows = self.ends.len().checked_sub(1).is_none_or(|last| self.term(last) < term);
        if follows {
            self.text.push_str(term);
            self.ends.push(self.text.len() as u32);
        }
        follows
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn term(&self, id: usize) -> &str {
        let start = id.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.text[start..self.ends[id] as usize]
    }

    fn find(&self, term: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.term(middle) < term { low = middle + 1 } else { high = middle }
        }
        (low < self.len() && self.term(low) == term).then_some(low as u32)
    }
}

/// The terms of each row, and the rows of each term. A term's number is its place in the dictionary.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Keywords {
    dictionary: Dictionary,
    /// Where the terms of each row end in `ids`.
    ends: Vec<u32>,
    ids: Vec<u32>,
    postings: Vec<RoaringBitmap>,
    present: RoaringBitmap,
}

impl Keywords {
    /// A column; `ends` rise to the length of `ids`, which are terms of the dictionary.
    pub(super) fn new(dictionary: Dictionary, ends: Vec<u32>, ids: Vec<u32>) -> Self {
        let postings = postings(dictionary.len(), &ends, &ids);
        let starts = std::iter::once(&0).chain(&ends);
        let with_terms = (0..).zip(starts.zip(&ends)).filter(|(_, (start, end))| start < end);
        let present = RoaringBitmap::from_sorted_iter(with_terms.map(|(row, _)| row)).expect("rows that rise");
        Self { dictionary, ends, ids, postings, present }
    }

    pub(super) fn dictionary(&self) -> &Dictionary {
        &self.dictionary
    }

    pub(super) fn ends(&self) -> &[u32] {
        &self.ends
    }

    pub(super) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The terms of a row as they were given.
    pub(super) fn terms(&self, row: u32) -> impl Iterator<Item = &str> {
        self.row(row).iter().map(|id| self.dictionary.term(*id as usize))
    }

    /// The numbers of a row's terms.
    pub(crate) fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        &self.ids[start..self.ends[row] as usize]
    }

    /// The number of a term; a larger term has a larger number.
    pub(crate) fn find(&self, term: &str) -> Option<u32> {
        self.dictionary.find(term)
    }

    /// The rows of a term.
    pub(crate) fn posting(&self, id: u32) -> &RoaringBitmap {
        &self.postings[id as usize]
    }

    pub(crate) fn present(&self) -> &RoaringBitmap {
        &self.present
    }
}

/// The rows of each term. They are gathered by term first, since a bitmap is quickly made of rows at hand and slowly
/// of one row now and then.
fn postings(terms: usize, ends: &[u32], ids: &[u32]) -> Vec<RoaringBitmap> {
    let mut places = vec![0_usize; terms + 1];
    ids.iter().for_each(|id| places[*id as usize + 1] += 1);
    for term in 0..terms {
        places[term + 1] += places[term];
    }
    let bounds = places.clone();
    let mut rows = vec![0_u32; ids.len()];
    let mut start = 0;
    for (row, end) in (0..).zip(ends.iter().map(|end| *end as usize)) {
        for id in &ids[start..end] {
            rows[places[*id as usize]] = row;
            places[*id as usize] += 1;
        }
        start = end;
    }
    let posting = |bounds: &[usize]| {
        // A row that has the term several times stands there as often.
        let rows = rows[bounds[0]..bounds[1]].chunk_by(u32::eq).map(|same| same[0]);
        RoaringBitmap::from_sorted_iter(rows).expect("rows that rise")
    };
    bounds.windows(2).map(posting).collect()
}

/// A column being written.
#[derive(Clone, Debug, Default)]
pub(super) struct KeywordsBuilder {
    /// Terms by the order in which they came.
    terms: HashMap<String, u32>,
    text_bytes: usize,
    ends: Vec<u32>,
    ids: Vec<u32>,
}

impl KeywordsBuilder {
    /// Whether these still fit: what has a place in a column is counted in 32 bits.
    pub(super) fn has_room(&self, keywords: &[String]) -> bool {
        let bytes: usize = keywords.iter().map(String::len).sum();
        u32::try_from(self.text_bytes + bytes).is_ok() && u32::try_from(self.ids.len() + keywords.len()).is_ok()
    }

    /// Sets the keywords of a row, which comes after all rows that have any.
    pub(super) fn push(&mut self, row: u32, keywords: &[String]) {
        self.ends.resize(row as usize, self.ids.len() as u32);
        for keyword in keywords {
            let id = match self.terms.get(keyword) {
                Some(id) => *id,
                None => self.add(keyword),
            };
            self.ids.push(id);
        }
        self.ends.push(self.ids.len() as u32);
    }

    fn add(&mut self, keyword: &str) -> u32 {
        let id = self.terms.len() as u32;
        self.text_bytes += keyword.len();
        self.terms.insert(keyword.to_owned(), id);
        id
    }

    pub(super) fn finish(mut self, rows: u32) -> Keywords {
        self.ends.resize(rows as usize, self.ids.len() as u32);
        let mut terms: Vec<(String, u32)> = self.terms.into_iter().collect();
        terms.sort_unstable();
        let mut dictionary = Dictionary::default();
        let mut sorted = vec![0; terms.len()];
        for (place, (term, id)) in terms.iter().enumerate() {
            dictionary.push(term);
            sorted[*id as usize] = place as u32;
        }
        self.ids.iter_mut().for_each(|id| *id = sorted[*id as usize]);
        Keywords::new(dictionary, self.ends, self.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_found_by_exact_bytes() {
        let mut builder = KeywordsBuilder::default();
        builder.push(1, &["b".into(), "ä".into(), "".into(), "b".into()]);
        builder.push(3, &["B".into(), "b".into()]);
        let column = builder.finish(5);
        let rows = |term: &str| column.find(term).map(|id| column.posting(id).iter().collect::<Vec<u32>>());
        assert_eq!(rows("b"), Some(vec![1, 3]));
        assert_eq!(rows("B"), Some(vec![3]));
        assert_eq!(rows(""), Some(vec![1]));
        assert_eq!(rows("a"), None);
        assert_eq!(rows("z"), None);
        assert_eq!(column.terms(1).collect::<Vec<&str>>(), ["b", "ä", "", "b"]);
        assert_eq!(column.terms(2).count() + column.terms(4).count(), 0);
        assert_eq!(column.present().iter().collect::<Vec<u32>>(), [1, 3]);
    }
}
