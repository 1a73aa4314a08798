//! Where the words are.

use std::ops::Range;

/// How long a fragment is, about.
const FRAGMENT_CHARACTERS: usize = 150;

/// Characters that backends put around words for [`Fragment::marked`]. They are of Unicode's private use, which a text that
/// people read does not have; where it has them a mark may be in the wrong place, and nothing else.
pub(crate) const MARKS: (char, char) = ('\u{E000}', '\u{E001}');

/// A piece of a text, and which bytes of it are words of the query. Plain data: whoever shows it escapes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The piece.
    pub text: String,
    /// Byte ranges, in order.
    pub marks: Vec<Range<usize>>,
}

impl Fragment {
    /// Reads a piece in which [`MARKS`] stand around the words.
    pub(crate) fn marked(text: &str) -> Self {
        let mut fragment = Self { text: String::with_capacity(text.len()), marks: Vec::new() };
        let mut start = None;
        for character in text.chars() {
            if character == MARKS.0 {
                start = Some(fragment.text.len());
            } else if character == MARKS.1 {
                fragment.marks.extend(start.take().map(|start| start..fragment.text.len()));
            } else {
                fragment.text.push(character);
            }
        }
        fragment
    }

    /// The piece of a text around the first of the words, which are byte ranges in it, in order. `None` if there are none.
    pub(crate) fn around(text: &str, words: &[Range<usize>]) -> Option<Self> {
        let first = words.first()?;
        let is_space = |character: char| character.is_whitespace();
        // A third before the word and the rest behind it, both cut at spaces where there are any.
        let before = nth_from_end(&text[..first.start], FRAGMENT_CHARACTERS / 3);
        let start = if before == 0 {
            0
        } else {
            text[before..first.start].find(is_space).map_or(first.start, |space| before + space + 1)
        };
        let start = ceil_boundary(text, start);
        let after = nth(&text[start..], FRAGMENT_CHARACTERS) + start;
        let least = first.end.max(start);
        let end = if after >= text.len() {
            text.len()
        } else {
            text[least..after.max(least)].rfind(is_space).map_or(after.max(least), |space| least + space)
        };
        let marks = words.iter().filter(|word| word.start >= start && word.end <= end);
        let marks = marks.map(|word| word.start - start..word.end - start).collect();
        Some(Self { text: text[start..end].to_owned(), marks })
    }
}

/// The byte where character `number` begins, or the end.
fn nth(text: &str, number: usize) -> usize {
    text.char_indices().nth(number).map_or(text.len(), |(byte, _)| byte)
}

/// The byte where the last `number` characters begin.
fn nth_from_end(text: &str, number: usize) -> usize {
    text.char_indices().rev().nth(number).map_or(0, |(byte, _)| byte)
}

/// A space may have more than one byte.
fn ceil_boundary(text: &str, mut byte: usize) -> usize {
    while !text.is_char_boundary(byte) {
        byte += 1;
    }
    byte
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn marks_are_read_and_taken_out() {
        let fragment = Fragment::marked("the \u{E000}grün\u{E001}er \u{E000}x\u{E001}");
        assert_eq!(fragment.text, "the grüner x");
        assert_eq!(fragment.marks, [4..9, 12..13]);
        assert!(Fragment::marked("\u{E001}a\u{E000}").marks.is_empty());
    }

    #[test]
    fn a_long_text_is_cut_at_spaces_around_the_first_word() {
        let text = format!("{}needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let words = std::iter::once(400..406).collect::<Vec<_>>();
        let fragment = Fragment::around(&text, &words).unwrap();
        assert_eq!(&fragment.text[fragment.marks[0].clone()], "needle");
        assert!(fragment.text.starts_with("hay") && fragment.text.ends_with("straw"), "{}", fragment.text);
        assert!(fragment.text.len() <= FRAGMENT_CHARACTERS);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Any text, cut at any of its words, has them where the marks say.
        #[test]
        fn marks_are_where_the_words_are(text in "[aß🎬 \u{3000}]{0,400}", skip in 0_usize..40) {
            let mut words = Vec::new();
            let mut at = 0;
            for part in text.split_inclusive(char::is_whitespace) {
                let word = part.trim_end();
                if !word.is_empty() {
                    words.push(at..at + word.len());
                }
                at += part.len();
            }
            words.drain(..skip.min(words.len()));
            match Fragment::around(&text, &words) {
                None => prop_assert!(words.is_empty()),
                Some(fragment) => {
                    prop_assert!(!fragment.marks.is_empty());
                    prop_assert!(text.contains(&fragment.text));
                    for (mark, word) in fragment.marks.iter().zip(&words) {
                        prop_assert_eq!(&fragment.text[mark.clone()], &text[word.clone()]);
                    }
                }
            }
        }
    }
}
