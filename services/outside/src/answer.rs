//! From bytes to items: what is not an answer of the contract is told, without a word of it.

use attune_api::outside::{ITEMS_MAX, REASON_BYTES_MAX};
use attune_api::rest::outside::{OutsideAnswer, OutsideItem};

/// The longest answer, in bytes.
pub const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Reads an answer. Reasons are cut to what is kept of them.
///
/// # Errors
/// What is wrong with it, to follow "it".
pub fn read(bytes: &[u8]) -> Result<Vec<OutsideItem>, String> {
    // What serde says repeats what it has found, which is not for whoever asks for a list.
    let place = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!(
            "answered something else than {{\"items\": [{{\"item_id\", \"score\"}}]}}, at line {line}, column {column}"
        )
    };
    let OutsideAnswer { mut items } = serde_json::from_slice(bytes).map_err(place)?;
    if items.len() > ITEMS_MAX {
        return Err(format!("answered {} items, {ITEMS_MAX} are the most", items.len()));
    }
    // What is finite as a double need not be so as a float, which ranking has.
    if let Some(item) = items.iter().position(|item| !(item.score as f32).is_finite()) {
        return Err(format!("answered a score that is not finite, of item {item}"));
    }
    for reason in items.iter_mut().filter_map(|item| item.reason.as_mut()) {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_answer_is_told_and_not_repeated() {
        let good = br#"{"items": [{"item_id": "a", "score": 1, "reason": "why", "more": 7}], "version": 3}"#;
        let reason = Some("why".to_owned());
        assert_eq!(read(good).unwrap(), [OutsideItem { item_id: "a".into(), score: 1.0, reason }]);
        assert_eq!(read(br#"{"items": []}"#).unwrap(), []);
        for bad in [
            "",
            "secret",
            "[]",
            "{}",
            r#"{"items": {"secret": 1}}"#,
            r#"{"items": [{"item_id": "secret"}]}"#,
            r#"{"items": [{"item_id": 7, "score": 1}]}"#,
            r#"{"items": [{"item_id": "secret", "score": "secret"}]}"#,
            r#"{"items": [{"item_id": "secret", "score": null}]}"#,
            r#"{"items": [{"item_id": "secret", "score": NaN}]}"#,
            r#"{"items": [{"item_id": "secret", "score": Infinity}]}"#,
            r#"{"items": [{"item_id": "secret", "score": 1e999}]}"#,
            r#"{"items": [{"item_id": "secret", "score": -1e39}]}"#,
            r#"{"items": [{"item_id": "secret", "score": 1}]} secret"#,
            "{\"items\": [{\"item_id\": \"\u{0}\", \"score\": 1}]}",
            &"[".repeat(100_000),
        ] {
            let told = read(bad.as_bytes()).expect_err(bad);
            assert!(told.starts_with("answered") && !told.contains("secret"), "{told}");
        }
        assert!(read(b"{\"items\": [{\"item_id\": \"\xff\", \"score\": 1}]}").is_err());
    }

    #[test]
    fn items_and_reasons_have_a_bound() {
        let answer = |count: usize| {
            let item = OutsideItem { item_id: "a".into(), score: 0.5, reason: Some("ä".repeat(200)) };
            serde_json::to_vec(&OutsideAnswer { items: vec![item; count] }).unwrap()
        };
        let items = read(&answer(ITEMS_MAX)).unwrap();
        assert_eq!((items.len(), items[0].reason.as_ref().unwrap().len()), (ITEMS_MAX, REASON_BYTES_MAX));
        assert!(read(&answer(ITEMS_MAX + 1)).unwrap_err().contains("1001 items"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn bytes_of_any_kind_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), cut in 0_usize..80) {
            let _either = read(&bytes);
            let good = br#"{"items": [{"item_id": "a", "score": 1.5, "reason": "b"}, {"item_id": "c", "score": 2}]}"#;
            prop_assert!(read(&good[..cut]).is_err());
        }
    }
}
