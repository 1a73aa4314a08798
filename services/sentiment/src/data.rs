//! The labelled sentences: reading them, splitting them, and what class a rating means.
//!
//! Four files of sentences rated by 20 people each on -4..4 (Hutto and Gilbert, "VADER", ICWSM 2014): film reviews,
//! tweets, product reviews and editorials. The split hangs on a hash of the file and the group rather than on a drawn
//! number, so that figures of different programs compare, and sentences of one document never fall on both sides.

use std::fmt;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use fnv::FnvHasher;
use sha2::{Digest, Sha256};

/// The corpus: one file each, without the ending `_GroundTruth.txt`.
pub const SOURCES: [&str; 4] = ["amazonReviewSnippets", "movieReviewSnippets", "nytEditorialSnippets", "tweets"];

/// What follows a source's name in its file's name.
const FILE_ENDING: &str = "_GroundTruth.txt";

/// Ratings run from -4 to 4.
const RATING_MAX: f64 = 4.0;

/// From here on a rating is positive, and from its negative down negative.
pub const STRONG_RATING_MIN: f64 = 0.5;

/// What a sentence expresses. Its index is the label of the model: 0, 1, 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Rated -0.5 or less.
    Negative,
    /// Between.
    Neutral,
    /// Rated 0.5 or more.
    Positive,
}

impl Class {
    /// All classes in the order of their indices.
    pub const ALL: [Class; 3] = [Class::Negative, Class::Neutral, Class::Positive];

    /// The class of a mean rating.
    pub fn of(rating: f64) -> Self {
        if rating <= -STRONG_RATING_MIN {
            Class::Negative
        } else if rating >= STRONG_RATING_MIN {
            Class::Positive
        } else {
            Class::Neutral
        }
    }

    /// How probable each class is if the rating were asked for again and came out normally distributed around
    /// `rating` with deviation `error`. With an error of 0 all is on one class.
    pub fn probabilities(rating: f64, error: f64) -> [f64; 3] {
        if error == 0.0 {
            return Self::ALL.map(|class| f64::from(u8::from(class == Self::of(rating))));
        }
        let below = |border: f64| normal_below((border - rating) / error);
        let (negative, not_positive) = (below(-STRONG_RATING_MIN), below(STRONG_RATING_MIN));
        [negative, not_positive - negative, 1.0 - not_positive]
    }

    /// Its index among the model's labels.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Its name among the model's labels.
    pub fn name(self) -> &'static str {
        match self {
            Class::Negative => "negative",
            Class::Neutral => "neutral",
            Class::Positive => "positive",
        }
    }
}

/// Which part of the data a sentence belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// To learn from.
    Train,
    /// To choose by.
    Dev,
    /// To report on, and for nothing else.
    Test,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Train => "train",
            Part::Dev => "dev",
            Part::Test => "test",
        })
    }
}

/// One rated sentence.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Its file, one of [`SOURCES`].
    pub source: &'static str,
    /// The row's id.
    pub id: String,
    /// Mean of 20 people, -4..4.
    pub rating: f64,
    /// The sentence.
    pub text: String,
}

impl Sentence {
    /// Its class.
    pub fn class(&self) -> Class {
        Class::of(self.rating)
    }

    /// Whether its rating is far enough from neutral to be called positive or negative.
    pub fn is_strong(&self) -> bool {
        self.rating.abs() >= STRONG_RATING_MIN
    }

    /// Its part: the 64-bit FNV-1a hash of `SOURCE|GROUP` modulo 10. The group is the id up to its first `_`, where it
    /// has one (the sentences of one document), else the text.
    pub fn part(&self) -> Part {
        let group = self.id.split_once('_').map_or(self.text.as_str(), |(document, _)| document);
        match hash_of(&format!("{}|{group}", self.source)) % 10 {
            0 => Part::Test,
            1 => Part::Dev,
            _ => Part::Train,
        }
    }
}

/// Why the corpus cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file is missing or unreadable.
    #[error("cannot read {}: {source}; fetch the labelled sentences with `attune models pull`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row is not id, rating and text.
    #[error("{} line {line}: {detail}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        detail: String,
    },
    /// A file without a single row.
    #[error("{} holds no sentence; fetch it again with `attune models pull`", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// The rated sentences, in the order of the files and their rows.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Every sentence.
    pub sentences: Vec<Sentence>,
    /// SHA-256 over the four files in the order of [`SOURCES`], in hexadecimal: what a model card quotes.
    pub fingerprint: String,
}

impl Corpus {
    /// Reads the four files from `folder`.
    ///
    /// # Errors
    /// [`DataError`] names the file and the line.
    pub fn read(folder: &Path) -> Result<Self, DataError> {
        let mut hash = Sha256::new();
        let mut sentences = Vec::new();
        for source in SOURCES {
            let path = folder.join(format!("{source}{FILE_ENDING}"));
            let text = std::fs::read_to_string(&path)
                .map_err(|error| DataError::File { path: path.clone(), source: error })?;
            hash.update(text.as_bytes());
            let before = sentences.len();
            for (at, row) in text.lines().enumerate().filter(|(_, row)| !row.is_empty()) {
                let refuse = |detail| DataError::Row { path: path.clone(), line: at + 1, detail };
                sentences.push(parse(source, row).map_err(refuse)?);
            }
            if sentences.len() == before {
                return Err(DataError::Empty { path });
            }
        }
        let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { sentences, fingerprint })
    }

    /// The sentences of one part, in the corpus's order.
    pub fn part(&self, part: Part) -> Vec<&Sentence> {
        self.sentences.iter().filter(|sentence| sentence.part() == part).collect()
    }
}

/// One row: id, mean rating and text, separated by tabs.
fn parse(source: &'static str, row: &str) -> Result<Sentence, String> {
    let mut fields = row.splitn(3, '\t');
    let (Some(id), Some(rating), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
        return Err("expected id, mean rating and text, separated by tabs".to_string());
    };
    let rating = match rating.trim().parse::<f64>() {
        Ok(value) if value.abs() <= RATING_MAX => value,
        _ => return Err(format!("the rating is {rating:?}, expected a number from -4 to 4")),
    };
    Ok(Sentence { source, id: id.to_string(), rating, text: text.to_string() })
}

/// The standard normal distribution function, to 1.5e-7 (Abramowitz and Stegun 7.1.26).
fn normal_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs() * std::f64::consts::FRAC_1_SQRT_2);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let series = t * terms.iter().fold(0.0, |sum, term| sum * t + term);
    let beyond = 0.5 * series * (-0.5 * x * x).exp();
    if x > 0.0 { 1.0 - beyond } else { beyond }
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(text.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_the_published_one() {
        assert_eq!(hash_of(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash_of("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash_of("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_classes_meet_at_half_a_point() {
        let classes = [-0.5, -0.499, 0.0, 0.499, 0.5].map(Class::of);
        assert_eq!(classes, [Class::Negative, Class::Neutral, Class::Neutral, Class::Neutral, Class::Positive]);
    }

    #[test]
    fn an_uncertain_rating_shares_its_probability_with_the_class_across_the_border() {
        let close = |found: [f64; 3], expected: [f64; 3]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}, {expected:?}");
        };
        close(Class::probabilities(0.5, 0.5), [0.0228, 0.4772, 0.5]);
        close(Class::probabilities(-1.0, 0.5), [0.8413, 0.1573, 0.0013]);
        close(Class::probabilities(0.0, 0.25), [0.0228, 0.9545, 0.0228]);
        close(Class::probabilities(-0.5, 0.0), [1.0, 0.0, 0.0]);
        for rating in [-4.0, -0.5, 0.3, 4.0] {
            assert!((Class::probabilities(rating, 0.4).iter().sum::<f64>() - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn sentences_of_one_document_share_a_part_and_others_go_by_their_text() {
        let sentence =
            |id: &str, text: &str| Sentence { source: "tweets", id: id.into(), rating: 0.0, text: text.into() };
        for document in 0..50 {
            let part = sentence(&format!("{document}_1"), "a").part();
            assert_eq!(part, sentence(&format!("{document}_2"), "b").part());
        }
        assert_eq!(sentence("1", "same").part(), sentence("2", "same").part());
    }

    #[test]
    fn a_bad_row_says_what_is_wrong() {
        for (row, says) in
            [("1\t0.5", "tabs"), ("1\tgood\ttext", "\"good\""), ("1\t9\ttext", "\"9\""), ("1\tNaN\tx", "NaN")]
        {
            let detail = parse("tweets", row).unwrap_err();
            assert!(detail.contains(says), "{detail}");
        }
        let sentence = parse("tweets", "7\t-1.5\tone\ttwo").unwrap();
        assert_eq!((sentence.rating, sentence.text.as_str()), (-1.5, "one\ttwo"));
    }
}
