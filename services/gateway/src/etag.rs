//! ETags and the conditions that name them (RFC 9110, section 13).

use attune_api::{ApiError, content::Condition};
use http::{
    HeaderMap, HeaderValue,
    header::{HeaderName, IF_MATCH, IF_NONE_MATCH},
};

use crate::errors::bad_header;

/// The ETag of a version.
pub(crate) fn of(version: u64) -> HeaderValue {
    format!("\"{version}\"").parse().expect("digits in quotes are a header")
}

/// What a write demands.
///
/// # Errors
/// `Malformed`: both headers, or one that is neither an ETag nor `*`.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, ApiError> {
    match (value(headers, &IF_MATCH)?, value(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::None),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => match tag.trim_start_matches("W/").strip_prefix('"').and_then(|tag| tag.strip_suffix('"'))
        {
            // A tag that is none of ours, or a weak one, names no version that could be there.
            Some(digits) => Ok(Condition::Version(if tag.starts_with('"') { digits.parse().unwrap_or(0) } else { 0 })),
            None => Err(bad_header("if-match", tag, "one ETag in quotes, as an answer had it, or `*`")),
        },
        (None, Some("*")) => Ok(Condition::Absent),
        (None, Some(other)) => Err(bad_header("if-none-match", other, "`*` where something is written")),
        (Some(tag), Some(_)) => Err(bad_header("if-match", tag, "absent where `if-none-match` is there")),
    }
}

/// Whether who reads has this version already.
pub(crate) fn is_known(headers: &HeaderMap, version: u64) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_it = |tag: &str| tag == "*" || tag.trim_start_matches("W/") == format!("\"{version}\"");
    tags.flat_map(|tags| tags.split(',')).any(|tag| is_it(tag.trim()))
}

fn value<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| bad_header(name.as_str(), "not a text", "one ETag or `*`"))?;
            Ok(Some(text.trim()))
        }
        (Some(_), Some(_)) => Err(bad_header(name.as_str(), "there twice", "there once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn conditions_are_read_from_headers() {
        let of = |pairs: &[(HeaderName, &str)]| condition(&headers(pairs)).map_err(|error| error.code);
        assert_eq!(of(&[]), Ok(Condition::None));
        assert_eq!(of(&[(IF_MATCH, "*")]), Ok(Condition::Present));
        assert_eq!(of(&[(IF_MATCH, "\"17\"")]), Ok(Condition::Version(17)));
        assert_eq!(of(&[(IF_MATCH, "W/\"17\"")]), Ok(Condition::Version(0)));
        assert_eq!(of(&[(IF_MATCH, "\"abc\"")]), Ok(Condition::Version(0)));
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Ok(Condition::Absent));
        for bad in [&[(IF_MATCH, "17")][..], &[(IF_NONE_MATCH, "\"1\"")], &[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")]] {
            assert_eq!(of(bad), Err(attune_api::ErrorCode::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn who_has_it_is_known() {
        let known = |tags: &str| is_known(&headers(&[(IF_NONE_MATCH, tags)]), 7);
        assert!(known("\"7\"") && known("\"6\", W/\"7\"") && known("*"));
        assert!(!known("\"77\"") && !known("7"));
    }
}
