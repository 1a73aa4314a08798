//! How an entry lies in an Elasticsearch index.
//!
//! A field is called by the kind and the name of its attribute, so that the same attribute is the same field in every
//! index of a tenant: a document that was made under one schema can be written into an index of another, which takes what
//! it knows and leaves the rest alone. Writes therefore never race with the change from one index to the next.
//!
//! Numbers are kept by their sort key ([`number_key`]), as `long`. Every comparison is then one of whole numbers, and a
//! cursor survives JSON without a rounding.

use attune_ranking::attributes::{Kind, Schema, Value, number_key};
use serde_json::{Map, Value as Json, json};

use crate::search::{Entry, tie};

/// The format of the mapping.
const FORMAT: u64 = 1;

/// The field of an attribute. What could mean something in a field's name is written as `%` and two digits.
pub(super) fn field(name: &str, kind: Kind) -> String {
    let mut field = String::from(match kind {
        Kind::Keyword => "k_",
        Kind::KeywordList => "l_",
        Kind::Number => "n_",
        Kind::Boolean => "b_",
        Kind::Time => "t_",
    });
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' => field.push(char::from(byte)),
            _ => field.push_str(&format!("%{byte:02x}")),
        }
    }
    field
}

/// What creates an index.
pub(super) fn index(schema: &Schema, alias: &str) -> Json {
    let mut properties = Map::new();
    // Words are looked for in both texts together, and in titles once more.
    properties.insert("all".into(), json!({"type": "text", "analyzer": "standard"}));
    for text in ["title", "text"] {
        properties.insert(text.into(), json!({"type": "text", "analyzer": "standard", "copy_to": "all"}));
    }
    properties.insert("tie".into(), json!({"type": "long"}));
    properties.insert("deleted".into(), json!({"type": "boolean"}));
    for (name, kind) in schema.iter() {
        let kind_name = match kind {
            Kind::Keyword | Kind::KeywordList => "keyword",
            Kind::Number | Kind::Time => "long",
            Kind::Boolean => "boolean",
        };
        properties.insert(field(name, kind), json!({"type": kind_name}));
    }
    json!({
        "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "1s"},
        "aliases": {alias: {}},
        "mappings": {"dynamic": false, "_meta": {"format": FORMAT, "schema": schema}, "properties": properties},
    })
}

/// The schema that an index was created with.
pub(super) fn schema(index: &Json) -> Option<Schema> {
    let meta = &index["mappings"]["_meta"];
    (meta["format"] == FORMAT).then(|| serde_json::from_value(meta["schema"].clone()).ok())?
}

/// What is written for an entry.
pub(super) fn document(entry: &Entry) -> Json {
    let mut document = Map::new();
    document.insert("title".into(), entry.title.as_str().into());
    document.insert("text".into(), entry.text.as_str().into());
    document.insert("tie".into(), tie(&entry.id).into());
    for (name, value) in &entry.attributes {
        let json = match value {
            Value::Keyword(keyword) => keyword.as_str().into(),
            Value::Keywords(keywords) => json!(keywords),
            Value::Number(number) => number_key(*number).into(),
            Value::Boolean(flag) => (*flag).into(),
            Value::Time(micros) => (*micros).into(),
        };
        document.insert(field(name, value.kind()), json);
    }
    document.into()
}

/// What stays of a deleted entry.
pub(super) fn tombstone() -> Json {
    json!({"deleted": true})
}
