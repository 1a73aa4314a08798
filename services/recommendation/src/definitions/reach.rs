//! What a pipeline may say of services of the user's own.

use std::time::Duration;

use attune_api::outside::Outside;
use attune_api::pointer::escaped;
use attune_api::{ApiError, ErrorCode};

use super::{Recipe, check};
use crate::features;
use crate::model::MODEL;
use crate::outside::OUTSIDE_MAX;
use crate::world::source_names;

/// Who may be asked, for whom, and for how long.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    /// Whose pipelines these are.
    pub tenant: &'a str,
    /// Whoever asks; nobody, where no host may be asked.
    pub outside: Option<&'a dyn Outside>,
    /// How long a list waits for its sources.
    pub wait_max: Duration,
}

impl Reach<'_> {
    /// Holds the services of a pipeline against it.
    ///
    /// # Errors
    /// `Invalid`, with the place.
    pub fn check(&self, recipe: &Recipe) -> Result<(), ApiError> {
        let Recipe { spec, outside } = recipe;
        if outside.len() > OUTSIDE_MAX {
            let detail = format!("there are {} services, {OUTSIDE_MAX} are the most", outside.len());
            return Err(invalid("", detail));
        }
        for (name, service) in outside {
            let place = format!("/{}", escaped(name));
            check::name(name).map_err(|error| invalid(&place, error.detail))?;
            // What it weighs in a blend is told by its name.
            if source_names().chain(features::NAMES).any(|known| known == name) || name == MODEL {
                let detail = format!("there is a source or feature {name} already: choose another name");
                return Err(invalid(&place, detail));
            }
            if !spec.sources.iter().any(|source| source.source == *name) {
                let detail = format!("no source is called {name}: add {{\"source\": \"{name}\"}} to `sources`");
                return Err(invalid(&place, detail));
            }
            let (timeout_ms, wait_ms) = (service.timeout_ms, self.wait_max.as_millis());
            if timeout_ms == 0 || u128::from(timeout_ms) > wait_ms {
                let detail =
                    format!("timeout_ms is {timeout_ms}, it must be 1 to {wait_ms}: lists wait no longer here");
                return Err(invalid(&format!("{place}/timeout_ms"), detail));
            }
            let allowed = match self.outside {
                Some(outside) => outside.check(self.tenant, &service.url),
                None => Err("this server asks no services of its users' own".to_owned()),
            };
            allowed.map_err(|why| invalid(&format!("{place}/url"), why))?;
        }
        if !outside.is_empty() && spec.sources.iter().all(|source| outside.contains_key(&source.source)) {
            let detail = "name a source of this server too, for when the services do not answer: popular, for example";
            return Err(ApiError::at(ErrorCode::Invalid, "/spec/sources", detail));
        }
        Ok(())
    }
}

fn invalid(place: &str, detail: String) -> ApiError {
    ApiError::at(ErrorCode::Invalid, format!("/spec/outside{place}"), detail)
}
