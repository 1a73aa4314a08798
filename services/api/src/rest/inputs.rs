//! The four shapes in which OpenAI and text-embeddings-inference take their inputs.
//!
//! Written by hand instead of `#[serde(untagged)]`: that buffers the whole body a second time and answers a bad element
//! with "data did not match any variant", where a client needs to know which element it was.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use utoipa::ToSchema;

/// A text, several texts, one text as token ids, or several as token ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Inputs {
    /// One text.
    Text(String),
    /// Several texts. An empty list is this, with no element.
    Texts(Vec<String>),
    /// One text as token ids.
    Tokens(Vec<u32>),
    /// Several texts as token ids.
    ManyTokens(Vec<Vec<u32>>),
}

impl Inputs {
    /// Whether the request held a single text rather than a list.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Tokens(_))
    }
}

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

/// The first element decides what the others have to be.
enum Element {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a list of strings, a list of token ids, or a list of lists of token ids")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Inputs, E> {
        Ok(Inputs::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Inputs, A::Error> {
        match list.next_element()? {
            None => Ok(Inputs::Texts(Vec::new())),
            Some(Element::Text(first)) => rest(first, list).map(Inputs::Texts),
            Some(Element::Token(first)) => rest(first, list).map(Inputs::Tokens),
            Some(Element::Tokens(first)) => rest(first, list).map(Inputs::ManyTokens),
        }
    }
}

fn rest<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(first: T, mut list: A) -> Result<Vec<T>, A::Error> {
    let mut elements = vec![first];
    while let Some(next) = list.next_element()? {
        elements.push(next);
    }
    Ok(elements)
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a token id, or a list of token ids")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Element, E> {
        Ok(Element::Text(text))
    }

    fn visit_u64<E: de::Error>(self, id: u64) -> Result<Element, E> {
        u32::try_from(id).map(Element::Token).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(id), &self))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        let mut ids = Vec::new();
        while let Some(id) = list.next_element()? {
            ids.push(id);
        }
        Ok(Element::Tokens(ids))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Inputs, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn four_shapes_are_read() {
        assert_eq!(parse(r#""a""#).unwrap(), Inputs::Text("a".into()));
        assert_eq!(parse(r#"["a", ""]"#).unwrap(), Inputs::Texts(vec!["a".into(), String::new()]));
        assert_eq!(parse("[1, 2]").unwrap(), Inputs::Tokens(vec![1, 2]));
        assert_eq!(parse("[[1], []]").unwrap(), Inputs::ManyTokens(vec![vec![1], vec![]]));
        assert_eq!(parse("[]").unwrap(), Inputs::Texts(vec![]));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in
            ["1", "null", "{}", "[null]", "[1.5]", "[-1]", "[4294967296]", r#"["a", 1]"#, r#"[1, "a"]"#, "[[[1]]]"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
