//! The kinds of rows: texts to be scored, and events.

use super::columns::Field;
use super::value::{Value, present};

/// A kind of row: which columns it has, and how it is made of their values.
pub trait Row: Sized {
    /// The columns.
    const FIELDS: &'static [Field];

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
    const FIELDS: &'static [Field] = &[Field::optional("id"), Field::required("text")];

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
    const FIELDS: &'static [Field] = &[
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
