//! ETags and the conditions that name them (RFC 9110, section 13).

use attune_api::{ApiError, ErrorCode, content::Condition, error::quoted, rest::content::Item};
use axum::response::{IntoResponse, Response};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ETAG, HeaderName, IF_MATCH, IF_NONE_MATCH},
};

use crate::errors::bad_header;

/// Between a version and what else of a thing can change.
const BESIDE: char = '-';

/// The ETag of a version.
pub(crate) fn of(version: u64) -> HeaderValue {
    format!("\"{version}\"").parse().expect("digits in quotes are a header")
}

/// The ETag of an item: its reviews change what is read and not its version, which is what a write demands.
pub(crate) fn of_item(item: &Item) -> HeaderValue {
    let [sentiment, trend] = [item.sentiment, item.sentiment_trend].map(|mean| mean.map_or(0, f64::to_bits));
    let reviews = format!("{:x}.{sentiment:x}.{trend:x}", item.review_count);
    format!("\"{}{BESIDE}{reviews}\"", item.version).parse().expect("digits in quotes are a header")
}

/// What a write demands.
///
/// # Errors
/// `Malformed`: both headers, or one that is neither an ETag nor `*`; `PreconditionFailed` for an ETag that nothing here
/// can have.
pub(crate) fn condition(headers: &HeaderMap) -> Result<Condition, ApiError> {
    match (value(headers, &IF_MATCH)?, value(headers, &IF_NONE_MATCH)?) {
        (None, None) => Ok(Condition::None),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => version_of(tag).map(Condition::Version),
        (None, Some("*")) => Ok(Condition::Absent),
        (None, Some(other)) => Err(bad_header("if-none-match", other, "`*` where something is written")),
        (Some(tag), Some(_)) => Err(bad_header("if-match", tag, "absent where `if-none-match` is there")),
    }
}

/// The version that an ETag of ours names.
fn version_of(tag: &str) -> Result<u64, ApiError> {
    let inside = tag.trim_start_matches("W/").strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
    let Some(inside) = inside.filter(|inside| !inside.contains('"')) else {
        return Err(bad_header("if-match", tag, "one ETag in quotes, as an answer had it, or `*`"));
    };
    let digits = inside.split_once(BESIDE).map_or(inside, |(version, _)| version);
    // By a weak one nothing is written (RFC 9110, section 13.1.1).
    digits.parse().ok().filter(|_| tag.starts_with('"')).ok_or_else(|| {
        let detail =
            format!("nothing here has the ETag {}: read the thing again, and give the one of the answer", quoted(tag));
        ApiError::new(ErrorCode::PreconditionFailed, detail)
    })
}

/// The answer to who reads and has it already.
pub(crate) fn unchanged(headers: &HeaderMap, etag: &HeaderValue) -> Option<Response> {
    is_known(headers, etag).then(|| (StatusCode::NOT_MODIFIED, [(ETAG, etag.clone())]).into_response())
}

fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let tags = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_it = |tag: &str| tag == "*" || tag.trim_start_matches("W/").as_bytes() == etag.as_bytes();
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
    use attune_api::rest::content::ItemBody;

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
        assert_eq!(of(&[(IF_MATCH, "\"17-8f\"")]), Ok(Condition::Version(17)), "an item's, whatever its reviews");
        for strange in ["W/\"17\"", "\"abc\"", "\"\""] {
            assert_eq!(of(&[(IF_MATCH, strange)]), Err(ErrorCode::PreconditionFailed), "{strange}");
        }
        assert_eq!(of(&[(IF_NONE_MATCH, "*")]), Ok(Condition::Absent));
        for bad in [
            &[(IF_MATCH, "17")][..],
            &[(IF_MATCH, "\"16\", \"17\"")],
            &[(IF_NONE_MATCH, "\"1\"")],
            &[(IF_MATCH, "*"), (IF_NONE_MATCH, "*")],
        ] {
            assert_eq!(of(bad), Err(attune_api::ErrorCode::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn who_has_it_is_known() {
        let known = |tags: &str| is_known(&headers(&[(IF_NONE_MATCH, tags)]), &of(7));
        assert!(known("\"7\"") && known("\"6\", W/\"7\"") && known("*"));
        assert!(!known("\"77\"") && !known("7"));
    }

    #[test]
    fn an_item_has_another_etag_when_its_reviews_change_and_the_same_version() {
        let item = |review_count, sentiment| {
            let body = ItemBody { title: "A film".to_owned(), ..ItemBody::default() };
            of_item(&Item { id: "i".to_owned(), version: 7, body, review_count, sentiment, sentiment_trend: None })
        };
        let tags = [item(0, None), item(1, Some(0.5)), item(1, Some(0.25))];
        assert!(tags[0] != tags[1] && tags[1] != tags[2] && item(0, None) == tags[0]);
        let wanted = |tag: &HeaderValue| condition(&headers(&[(IF_MATCH, tag.to_str().unwrap())]));
        assert!(tags.iter().all(|tag| wanted(tag) == Ok(Condition::Version(7))));
    }
}
