//! What the engine is measured on: token ids of real texts, as they come, cut to one length, or with a long tail.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};
use attune_load::random::SplitMix64;

/// Of the lengths drawn: one seed for everybody, so that figures compare.
const SEED: u64 = 42;
/// The long tail is a Pareto distribution: no text is shorter, half are longer than 17 tokens, 1.5% than 256.
const TAIL_TOKENS_MIN: f64 = 10.0;
/// Its exponent; the smaller, the longer the tail.
const TAIL_EXPONENT: f64 = 1.3;

/// How long the texts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lengths {
    /// As they come.
    Real,
    /// Every text has so many tokens.
    Fixed(usize),
    /// Most are short and a few very long, up to what the model takes.
    LongTail,
}

impl FromStr for Lengths {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "real" => Self::Real,
            "long-tail" => Self::LongTail,
            other => match other.strip_prefix("fixed:").map(str::parse) {
                Some(Ok(tokens)) if tokens > 2 => Self::Fixed(tokens),
                _ => bail!("{other:?} is neither real, nor fixed:TOKENS (3 or more), nor long-tail"),
            },
        })
    }
}

impl fmt::Display for Lengths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Real => f.write_str("real"),
            Self::Fixed(tokens) => write!(f, "fixed:{tokens}"),
            Self::LongTail => f.write_str("long-tail"),
        }
    }
}

impl Lengths {
    /// Rows of these lengths, as many as there are `real` ones. `real` rows start and end with a special token each;
    /// longer rows are made of the contents of several.
    ///
    /// # Errors
    /// A length beyond `tokens_max`.
    pub fn rows(self, real: &[Vec<u32>], tokens_max: usize) -> Result<Vec<Vec<u32>>> {
        let mut random = SplitMix64::new(SEED);
        // e to the power of an exponential variable is a Pareto variable.
        let mut tail = || TAIL_TOKENS_MIN * (random.exponential() / TAIL_EXPONENT).exp();
        let lengths: Vec<usize> = match self {
            Self::Real => return Ok(real.to_vec()),
            Self::Fixed(tokens) => {
                ensure!(tokens <= tokens_max, "the model takes {tokens_max} tokens, {self} asks for more");
                vec![tokens; real.len()]
            }
            Self::LongTail => real.iter().map(|_| (tail() as usize).min(tokens_max)).collect(),
        };
        Ok(joined(real, &lengths))
    }
}

fn joined(real: &[Vec<u32>], lengths: &[usize]) -> Vec<Vec<u32>> {
    let inside = |row: &'_ Vec<u32>| row[1..row.len() - 1].to_vec();
    let mut contents = real.iter().cycle().flat_map(inside);
    let row = |(template, &tokens): (&Vec<u32>, &usize)| {
        let (first, last) = (template[0], template[template.len() - 1]);
        let content = contents.by_ref().take(tokens - 2);
        std::iter::once(first).chain(content).chain([last]).collect()
    };
    real.iter().zip(lengths).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written() {
        for text in ["real", "fixed:128", "long-tail"] {
            assert_eq!(text.parse::<Lengths>().unwrap().to_string(), text);
        }
        for bad in ["fixed:2", "fixed:", "fixed:x", "short"] {
            assert!(bad.parse::<Lengths>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_have_the_lengths_asked_for_and_keep_their_ends() {
        let real = vec![vec![101, 7, 8, 102], vec![101, 9, 102], vec![101, 5, 5, 5, 102]];
        assert_eq!(Lengths::Real.rows(&real, 512).unwrap(), real);
        let fixed = Lengths::Fixed(5).rows(&real, 512).unwrap();
        assert_eq!(fixed, [[101, 7, 8, 9, 102], [101, 5, 5, 5, 102], [101, 7, 8, 9, 102]]);
        assert!(Lengths::Fixed(600).rows(&real, 512).is_err());

        let many = vec![vec![101, 1, 2, 102]; 1_000];
        let tail = Lengths::LongTail.rows(&many, 256).unwrap();
        assert!(tail.iter().all(|row| (10..=256).contains(&row.len()) && row[0] == 101 && row[row.len() - 1] == 102));
        assert!(tail.iter().any(|row| row.len() == 256) && tail.iter().any(|row| row.len() < 20));
        assert_eq!(tail, Lengths::LongTail.rows(&many, 256).unwrap());
    }
}
