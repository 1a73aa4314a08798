//! The real texts of the demo and the benches: the labelled sentences that `attune models pull sentiment-data` fetches.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::models;

const DATA: &str = "sentiment-data";

/// Where the labelled sentences are.
pub fn folder(config: &Config) -> PathBuf {
    models::folder(&config.data, DATA)
}

/// A sentence and what people thought of it.
#[derive(Clone, Debug)]
pub struct Rated {
    /// The sentence.
    pub text: String,
    /// Mean rating of 20 people, -4 to 4.
    pub rating: f64,
}

/// Product reviews with their ratings, in the order of the file.
///
/// # Errors
/// The data was not fetched.
pub fn rated(config: &Config) -> Result<Vec<Rated>> {
    let path = folder(config).join("amazonReviewSnippets_GroundTruth.txt");
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}: run `attune models pull {DATA}` first", path.display()))?;
    let rows = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, '\t').skip(1);
        let (rating, text) = (fields.next()?.parse().ok()?, fields.next()?.to_owned());
        Some(Rated { text, rating })
    });
    Ok(rows.collect())
}
