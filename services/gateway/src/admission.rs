//! What a request to a model must have before its body is read: a place, a deadline, a class of work.

use std::{sync::Arc, time::Instant};

use attune_api::{ApiError, ErrorCode};
use attune_inference::{CallContext, WorkClass};
use axum::{
    extract::{FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, request::Parts};
use tokio::sync::OwnedSemaphorePermit;

use crate::{
    address::ClientAddress,
    app::App,
    auth::Caller,
    deadline::Deadline,
    edge::RequestId,
    errors::{self, Refusal},
    keys::Actor,
    metrics,
};

const CLASS: &str = "x-attune-class";
/// Requests of admins in work at once. The next one is refused.
pub(crate) const ADMIN_IN_FLIGHT_MAX: usize = 64;

/// Everything about a call except what it asks.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Whose key it was.
    pub caller: Caller,
    /// Where it came from.
    pub address: Option<ClientAddress>,
    /// When nobody waits any more.
    pub deadline: Deadline,
    /// Interactive or bulk, if the caller said which.
    pub class: Option<WorkClass>,
    /// Its name in the log.
    pub id: RequestId,
}

impl Call {
    /// For one question and one answer.
    pub fn unary(&self) -> CallContext {
        self.context(self.class.unwrap_or(WorkClass::Interactive), Some(self.deadline.at))
    }

    /// For an item of a stream: bulk unless the caller says otherwise, and no deadline that he did not set.
    pub fn item(&self) -> CallContext {
        self.context(self.class.unwrap_or(WorkClass::Bulk), self.callers_deadline())
    }

    /// Who is named in the audit log.
    pub fn actor(&self) -> Actor<'_> {
        Actor { id: &self.caller.id, address: self.address.map(|address| address.0) }
    }

    /// What a service needs to know of it.
    pub fn service(&self) -> attune_api::Call {
        attune_api::Call {
            tenant: Arc::clone(&self.caller.tenant),
            caller: Arc::clone(&self.caller.id),
            request_id: Arc::clone(&self.id.0),
            deadline: Some(self.deadline.at),
            is_bulk: self.class == Some(WorkClass::Bulk),
        }
    }

    /// The same for an item of a stream, which is bulk unless the caller says otherwise.
    pub fn service_item(&self) -> attune_api::Call {
        let is_bulk = self.class != Some(WorkClass::Interactive);
        attune_api::Call { is_bulk, deadline: self.callers_deadline(), ..self.service() }
    }

    /// The deadline that the caller himself set.
    pub fn callers_deadline(&self) -> Option<Instant> {
        self.deadline.is_callers.then_some(self.deadline.at)
    }

    fn context(&self, class: WorkClass, deadline: Option<Instant>) -> CallContext {
        CallContext { caller: Arc::clone(&self.caller.id), class, deadline }
    }
}

/// Runs after authentication. Takes a place for the whole call, reads its headers, and gives up at its deadline;
/// giving up drops the call, which takes its texts out of the queue.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Result<Response, Refusal> {
    let place = Arc::clone(&app.places).try_acquire_owned();
    let place = place.map_err(|_| full("requests in work", app.config.requests.in_flight_max))?;
    run(&app, place, request, next).await
}

/// The same for admins, whose requests need no model and wait for none.
pub(crate) async fn admit_admin(State(app): State<App>, request: Request, next: Next) -> Result<Response, Refusal> {
    let place = Arc::clone(&app.admin_places).try_acquire_owned();
    let place = place.map_err(|_| full("requests of admins in work", ADMIN_IN_FLIGHT_MAX))?;
    run(&app, place, request, next).await
}

async fn run(app: &App, place: OwnedSemaphorePermit, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let deadline = Deadline::of(request.headers(), Instant::now(), &app.config.requests)?;
    if deadline.has_passed() {
        return Err(errors::deadline_passed().into());
    }
    let class = class_of(request.headers())?;
    let extensions = request.extensions_mut();
    let caller = extensions.get::<Caller>().cloned().ok_or_else(ApiError::internal)?;
    let id = extensions.get::<RequestId>().cloned().ok_or_else(ApiError::internal)?;
    let address = extensions.get::<ClientAddress>().copied();
    extensions.insert(Call { caller, address, deadline, class, id });

    let answer = tokio::time::timeout_at(deadline.at.into(), next.run(request)).await;
    let mut answer = answer.map_err(|_| errors::deadline_passed())?;
    answer.extensions_mut().insert(Place(Arc::new(place)));
    Ok(answer)
}

/// A place among the requests in work. It goes out with the answer, whose memory it stands for, until that is sent.
#[derive(Clone, Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "held until it is dropped")] Arc<OwnedSemaphorePermit>);

/// The typed refusal at a bound of the gateway itself.
pub(crate) fn full(what: &'static str, limit: usize) -> ApiError {
    metrics::refused(what);
    let detail = format!("the server has {limit} {what}, which is its limit; try again later");
    ApiError::new(ErrorCode::Overloaded, detail).retry_after(errors::RETRY_AFTER)
}

fn class_of(headers: &HeaderMap) -> Result<Option<WorkClass>, ApiError> {
    let Some(value) = headers.get(CLASS) else { return Ok(None) };
    match value.as_bytes() {
        b"interactive" => Ok(Some(WorkClass::Interactive)),
        b"bulk" => Ok(Some(WorkClass::Bulk)),
        other => Err(errors::bad_header(CLASS, &String::from_utf8_lossy(other), "`interactive` or `bulk`")),
    }
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        // Only a route without the layer lacks it: a fault of this program.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal().into())
    }
}
