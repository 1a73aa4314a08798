//! The kinds of rows: texts to be scored, events, and users to recommend to.

use serde_json::Value as Json;

use super::columns::Field;
use super::value::{Value, present};

/// A kind of row: which columns it has, and how it is made of their values.
pub trait Row: Sized {
    /// The columns.
    const FIELDS: &'static [Field<'static>];

    /// Makes a row of one value for each of [`FIELDS`](Self::FIELDS), in their order.
    ///
    /// # Errors
    /// Why it is no such row, for a person.
    fn from_values(values: &[Value<'_>]) -> Result<Self, String>;

    /// Its size in memory, roughly, for the bound on a batch.
    fn bytes(&self) -> usize;
}

/// A text to be scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// What the file calls it.
    pub id: Option<String>,
    /// The text, never empty.
    pub text: String,
}

impl Row for Text {
    const FIELDS: &'static [Field<'static>] = &[Field::optional("id"), Field::required("text")];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [id, text] = values else { unreachable!("one value for each field") };
        Ok(Self { id: id.id("id")?, text: present("text", text.text("text")?)? })
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.text.len() + self.id.as_ref().map_or(0, String::len)
    }
}

/// Something that somebody did.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Who.
    pub user_id: String,
    /// With what.
    pub item_id: String,
    /// What: view, click, purchase, rating or another.
    pub kind: String,
    /// How much: a rating, a price.
    pub value: Option<f64>,
    /// When, in Unix milliseconds.
    pub timestamp_ms: i64,
    /// What tells it from all others, where the file says.
    pub event_id: Option<String>,
}

impl Row for Event {
    const FIELDS: &'static [Field<'static>] = &[
        Field::required("user_id"),
        Field::required("item_id"),
        Field::required("type"),
        Field::optional("value"),
        Field::required("timestamp"),
        Field::optional("event_id"),
    ];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [user_id, item_id, kind, value, timestamp, event_id] = values else {
            unreachable!("one value for each field")
        };
        Ok(Self {
            user_id: present("user_id", user_id.id("user_id")?)?,
            item_id: present("item_id", item_id.id("item_id")?)?,
            kind: present("type", kind.id("type")?)?,
            value: value.number("value")?,
            timestamp_ms: present("timestamp", timestamp.time_ms("timestamp")?)?,
            event_id: event_id.id("event_id")?,
        })
    }

    fn bytes(&self) -> usize {
        let texts = self.user_id.len() + self.item_id.len() + self.kind.len();
        size_of::<Self>() + texts + self.event_id.as_ref().map_or(0, String::len)
    }
}

/// Most things that the history of one row has.
pub const HISTORY_MAX: usize = 10_000;

/// Somebody to recommend to.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Who.
    pub user_id: String,
    /// What he did, oldest first, where the file says.
    pub history: Vec<Done>,
}

/// Something that a user did.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// With what.
    pub item_id: String,
    /// What: view, click, purchase, rating or another.
    pub kind: Option<String>,
    /// How much: a rating, a price.
    pub value: Option<f64>,
    /// When, in Unix milliseconds.
    pub timestamp_ms: Option<i64>,
}

impl Row for User {
    const FIELDS: &'static [Field<'static>] = &[Field::required("user_id"), Field::optional("history").of_any_type()];

    fn from_values(values: &[Value<'_>]) -> Result<Self, String> {
        let [user_id, history] = values else { unreachable!("one value for each field") };
        let history = match *history {
            Value::Absent => Vec::new(),
            Value::List(list) => done(list)?,
            Value::Text(text) if text.trim_start().starts_with('[') => {
                let list: Vec<Json> =
                    serde_json::from_str(text).map_err(|error| format!("history is no list in JSON: {error}"))?;
                done(&list)?
            }
            other => {
                let ids = other.text("history")?.unwrap_or_default();
                done(&ids.split_whitespace().map(Json::from).collect::<Vec<_>>())?
            }
        };
        Ok(Self { user_id: present("user_id", user_id.id("user_id")?)?, history })
    }

    fn bytes(&self) -> usize {
        let one = |done: &Done| size_of::<Done>() + done.item_id.len() + done.kind.as_ref().map_or(0, String::len);
        size_of::<Self>() + self.user_id.len() + self.history.iter().map(one).sum::<usize>()
    }
}

/// A history of ids, or of objects as the events of a file: `item_id`, `type`, `value`, `timestamp`.
fn done(list: &[Json]) -> Result<Vec<Done>, String> {
    if list.len() > HISTORY_MAX {
        return Err(format!("history has {} things, at most {HISTORY_MAX} are taken", list.len()));
    }
    let one = |(number, json): (usize, &Json)| match json {
        Json::Object(fields) => {
            let field = |name: &str| super::json::value(fields.get(name));
            if let Some(unknown) = fields.keys().find(|key| !DONE_KEYS.contains(&key.as_str())) {
                return Err(format!(
                    "thing {} of history has {unknown:?}: it may have {}",
                    number + 1,
                    DONE_KEYS.join(", ")
                ));
            }
            Ok(Done {
                item_id: present("item_id of history", field("item_id").id("item_id of history")?)?,
                kind: field("type").id("type of history")?,
                value: field("value").number("value of history")?,
                timestamp_ms: field("timestamp").time_ms("timestamp of history")?,
            })
        }
        id => {
            let item_id = present("an item of history", super::json::value(Some(id)).id("an item of history")?)?;
            Ok(Done { item_id, kind: None, value: None, timestamp_ms: None })
        }
    };
    list.iter().enumerate().map(one).collect()
}

const DONE_KEYS: [&str; 4] = ["item_id", "type", "value", "timestamp"];

#[cfg(test)]
mod tests {
    use super::*;

    fn user(history: Value<'_>) -> Result<Vec<String>, String> {
        let user = User::from_values(&[Value::Text("u"), history])?;
        Ok(user.history.into_iter().map(|done| done.item_id).collect())
    }

    #[test]
    fn a_history_is_a_list_or_text_of_ids() {
        let ids = ["a".to_owned(), "7".to_owned()];
        assert_eq!(user(Value::Text("a 7")).unwrap(), ids);
        assert_eq!(user(Value::Text("[\"a\", 7]")).unwrap(), ids);
        assert_eq!(user(Value::List(&["a".into(), 7.into()])).unwrap(), ids);
        assert_eq!(user(Value::Integer(7)).unwrap(), ["7"]);
        assert_eq!(user(Value::Absent).unwrap(), [""; 0]);
        let rich = r#"[{"item_id": "a", "type": "rating", "value": 2, "timestamp": 5}]"#;
        let user = User::from_values(&[Value::Text("u"), Value::Text(rich)]).unwrap();
        let need =
            Done { item_id: "a".into(), kind: Some("rating".into()), value: Some(2.0), timestamp_ms: Some(5_000) };
        assert_eq!(user.history, [need]);
    }

    #[test]
    fn what_is_no_history_is_told() {
        for (bad, why) in [
            (Value::Text("[1"), "no list in JSON"),
            (Value::Text("[null]"), "missing or empty"),
            (Value::Text("[{\"item\": 1}]"), "has \"item\": it may have item_id"),
            (Value::Text("[{\"type\": \"view\"}]"), "item_id of history is missing"),
            (Value::Flag(true), "history is true or false where text is wanted"),
        ] {
            let error = user(bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let long = vec![Json::from(1); HISTORY_MAX + 1];
        assert!(user(Value::List(&long)).unwrap_err().contains("at most 10000"));
    }
}
