//! The kinds of a tenant's attributes: stated, or decided by the first item that uses a name, and then fixed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use attune_api::catalogue::AttributeKind;
use attune_api::rest::content::ItemSchema;
use attune_api::{ApiError, ErrorCode};
use attune_ranking::attributes::{ATTRIBUTES_MAX, Schema};
use attune_store::relational::{DefinitionKind, Relational, Write};
use attune_store::{Expect, Tenant, Version};
use serde_json::json;

use crate::attribute;

/// Under which name the definition is kept.
const NAME: &str = "items";

/// What the service itself knows of an item, and items cannot.
pub(crate) const OF_SERVICE: [(&str, AttributeKind); 6] = [
    ("expires", AttributeKind::Time),
    ("hidden", AttributeKind::Boolean),
    ("published", AttributeKind::Time),
    ("review_count", AttributeKind::Number),
    ("sentiment", AttributeKind::Number),
    ("sentiment_trend", AttributeKind::Number),
];

/// How many attributes the items of a tenant have at most.
pub(crate) const TENANT_ATTRIBUTES_MAX: usize = ATTRIBUTES_MAX - OF_SERVICE.len();

/// The attributes of a tenant at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Attributes {
    own: BTreeMap<String, AttributeKind>,
    version: Option<Version>,
}

impl Attributes {
    /// The kind of an attribute of items.
    pub fn kind(&self, name: &str) -> Option<AttributeKind> {
        self.own.get(name).copied()
    }

    /// Adds one.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn add(&mut self, name: &str, kind: AttributeKind) -> Result<(), String> {
        if OF_SERVICE.iter().any(|(taken, _)| *taken == name) {
            return Err(format!("{name} is an attribute that the server itself keeps: choose another name"));
        }
        Schema::new([(name, attribute::kind(kind))]).map_err(|error| error.to_string())?;
        if self.own.len() >= TENANT_ATTRIBUTES_MAX {
            return Err(format!("there are {TENANT_ATTRIBUTES_MAX} attributes already, which is the most"));
        }
        self.own.insert(name.to_owned(), kind);
        Ok(())
    }

    /// Everything that filters can name, in the order of names.
    pub fn all(&self) -> BTreeMap<String, AttributeKind> {
        let of_service = OF_SERVICE.map(|(name, kind)| (name.to_owned(), kind));
        self.own.clone().into_iter().chain(of_service).collect()
    }

    /// The same in the words of the ranking side.
    pub fn schema(&self) -> Schema {
        let all = self.all().into_iter().map(|(name, kind)| (name, attribute::kind(kind)));
        Schema::new(all).expect("names and their number were checked when they were added")
    }

    /// As clients see it.
    pub fn answer(&self) -> ItemSchema {
        ItemSchema { attributes: self.own.clone() }
    }

    /// What keeps it, if nobody has changed it since it was read.
    pub fn write(&self) -> Write {
        Write::PutDefinition {
            kind: DefinitionKind::Schema,
            name: NAME.to_owned(),
            spec: json!({ "attributes": self.own }),
            is_enabled: true,
            expect: self.version.map_or(Expect::Absent, Expect::Version),
        }
    }

    /// The same after it was written.
    pub fn at(self, version: Option<Version>) -> Self {
        Self { version, ..self }
    }
}

/// The attributes of all tenants, remembered. Kinds never change, so what is remembered can only lack something; who
/// finds something lacking reads again.
#[derive(Debug, Default)]
pub(crate) struct Schemas {
    known: Mutex<HashMap<Tenant, Arc<Attributes>>>,
}

impl Schemas {
    /// Those of a tenant, as far as they are known here.
    pub async fn get(&self, rows: &dyn Relational, tenant: &Tenant) -> Result<Arc<Attributes>, ApiError> {
        let known = self.lock().get(tenant).cloned();
        match known {
            Some(known) => Ok(known),
            None => self.read(rows, tenant).await,
        }
    }

    /// Those of a tenant, as they are kept.
    pub async fn read(&self, rows: &dyn Relational, tenant: &Tenant) -> Result<Arc<Attributes>, ApiError> {
        let kept = rows.definition(tenant, DefinitionKind::Schema, NAME).await?;
        let attributes = match kept {
            None => Attributes::default(),
            Some(definition) => {
                let schema: ItemSchema = serde_json::from_value(definition.spec).map_err(|error| {
                    tracing::error!(%tenant, %error, "the definition of a schema cannot be read");
                    ApiError::internal()
                })?;
                Attributes { own: schema.attributes, version: Some(definition.version) }
            }
        };
        Ok(self.remember(tenant, attributes))
    }

    /// Takes note of what was written, unless something newer is known.
    pub fn remember(&self, tenant: &Tenant, attributes: Attributes) -> Arc<Attributes> {
        let mut known = self.lock();
        match known.get(tenant) {
            Some(newer) if newer.version > attributes.version => Arc::clone(newer),
            _ => {
                let attributes = Arc::new(attributes);
                known.insert(tenant.clone(), Arc::clone(&attributes));
                attributes
            }
        }
    }

    /// Forgets those of a tenant that was deleted.
    pub fn forget(&self, tenant: &Tenant) {
        self.lock().remove(tenant);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Tenant, Arc<Attributes>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds what is stated to what is there.
///
/// # Errors
/// `Conflict` for another kind of a name that is there, `Invalid` for a name that cannot be; with pointers.
pub(crate) fn extend(attributes: &Attributes, stated: &ItemSchema) -> Result<Attributes, ApiError> {
    let mut extended = attributes.clone();
    for (name, kind) in &stated.attributes {
        let pointer = || format!("/attributes/{}", attune_api::pointer::escaped(name));
        match extended.kind(name) {
            Some(same) if same == *kind => {}
            Some(other) => {
                let detail = format!("this attribute is of the kind {}, which cannot be changed", word(other));
                return Err(ApiError::at(ErrorCode::Conflict, pointer(), detail));
            }
            None => extended.add(name, *kind).map_err(|detail| ApiError::at(ErrorCode::Invalid, pointer(), detail))?,
        }
    }
    Ok(extended)
}

fn word(kind: AttributeKind) -> String {
    json!(kind).as_str().unwrap_or_default().to_owned()
}
