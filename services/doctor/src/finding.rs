//! What is told.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Lists are worse than they could be.
    Warning,
    /// Lists cannot be personal, or what people do is lost.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// To branch on.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was seen, with numbers.
    pub seen: String,
    /// How many of them are wrong.
    pub count: u64,
    /// Of how many that were looked at.
    pub of: u64,
    /// Where it was seen.
    #[serde(rename = "where")]
    pub place: String,
    /// What to do: a command, a key of the configuration, or a field of a request.
    pub remedy: String,
}

impl Finding {
    /// A finding about `count` of `of` things.
    pub(crate) fn new(code: &'static str, severity: Severity, (count, of): (u64, u64)) -> Self {
        Self { code, severity, seen: String::new(), count, of, place: String::new(), remedy: String::new() }
    }

    pub(crate) fn seen(self, place: impl Into<String>, seen: impl Into<String>) -> Self {
        Self { place: place.into(), seen: seen.into(), ..self }
    }

    pub(crate) fn remedy(self, remedy: impl Into<String>) -> Self {
        Self { remedy: remedy.into(), ..self }
    }
}

/// `part` of `of` as a whole percentage.
pub(crate) fn percent(part: u64, of: u64) -> u64 {
    (100.0 * share(part, of)).round() as u64
}

/// `part` of `of`, 0 to 1; nothing of nothing is 0.
pub(crate) fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

/// Error from one share on, warning from another, nothing below.
pub(crate) fn severity(share: f64, warning: f64, error: f64) -> Option<Severity> {
    match share {
        share if share >= error => Some(Severity::Error),
        share if share >= warning => Some(Severity::Warning),
        _ => None,
    }
}
