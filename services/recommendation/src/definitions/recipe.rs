//! A pipeline of a tenant's own: what ranking runs, and which of its sources are services of the user's.

use std::collections::BTreeMap;

use attune_api::ApiError;
use attune_api::pointer::from_value;
use attune_ranking::pipeline::PipelineSpec;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::check::within;
use crate::outside::OutsideSpec;

/// The member that ranking does not know.
const OUTSIDE: &str = "outside";

/// How lists are made. On the wire, and where it is kept, it is the description of ranking with a member `outside`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// What ranking runs.
    pub spec: PipelineSpec,
    /// Sources that are services of the user's own, by the names that they have among the sources.
    pub outside: BTreeMap<String, OutsideSpec>,
}

impl From<PipelineSpec> for Recipe {
    fn from(spec: PipelineSpec) -> Self {
        Self { spec, outside: BTreeMap::new() }
    }
}

impl Recipe {
    /// Reads one.
    ///
    /// # Errors
    /// `Invalid` at the member that does not fit.
    pub fn read(mut value: Value) -> Result<Self, ApiError> {
        let outside = value.as_object_mut().and_then(|members| members.remove(OUTSIDE)).unwrap_or_default();
        let outside: Option<BTreeMap<String, OutsideSpec>> =
            from_value(outside).map_err(|error| within("/outside", error))?;
        Ok(Self { spec: from_value(value)?, outside: outside.unwrap_or_default() })
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
