//! `POST /v1/analytics/...`: one handler for each report, so that each has a page of the documentation, and one way
//! through all of them.

use attune_api::{
    analytics::{Report, SharedAnalytics},
    rest::analytics::{Question, Table},
};
use axum::{Router, response::Response, routing::post};
use tower_http::decompression::RequestDecompressionLayer;

use crate::{
    admission::Call,
    app::App,
    errors::Refusal,
    json::{self, Json},
};

/// Bytes of one value of a table in JSON, for the size of an answer.
const JSON_VALUE_BYTES: usize = 24;

/// The routes, where this process has the service. Who may use them is the caller's to say.
pub(crate) fn routes(app: &App) -> Option<Router<App>> {
    let service = app.services.analytics.clone()?;
    let routes = Router::new()
        .route("/v1/analytics/top-items", post(top_items))
        .route("/v1/analytics/ctr", post(ctr))
        .route("/v1/analytics/timeseries", post(timeseries))
        .route("/v1/analytics/active-users", post(active_users))
        .route("/v1/analytics/funnel", post(funnel))
        .route("/v1/analytics/sessions", post(sessions))
        .route("/v1/analytics/sentiment", post(sentiment))
        .route("/v1/analytics/experiments", post(experiments))
        .route_layer(RequestDecompressionLayer::new().pass_through_unaccepted(true));
    Some(routes.layer(axum::Extension(service)))
}

type Service = axum::Extension<SharedAnalytics>;
type Answer = Result<Response, Refusal>;

/// Which items most events are about, by how many people: `item_id`, `count`, `users`.
#[utoipa::path(
    post, path = "/v1/analytics/top-items", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn top_items(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::TopItems, question).await
}

/// How often what was shown is clicked: `clicks`, `impressions`, `exposures`, `shown`, `ctr`. `shown` is impressions on
/// surfaces that send any, and positions of the lists that Attune served on the others.
#[utoipa::path(
    post, path = "/v1/analytics/ctr", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn ctr(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Ctr, question).await
}

/// How many events there are: `time`, `count`. Steps without an event have no row; a step is a day unless `interval`
/// says otherwise.
#[utoipa::path(
    post, path = "/v1/analytics/timeseries", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn timeseries(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Timeseries, question).await
}

/// How many people did something: `users`. An anonymous id and the user that it was joined to are two.
#[utoipa::path(
    post, path = "/v1/analytics/active-users", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn active_users(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::ActiveUsers, question).await
}

/// How many people took one step after another: `step`, `name`, `users`, `of_first`, `of_previous`. Steps are events of
/// one person in this order, with anything in between.
#[utoipa::path(
    post, path = "/v1/analytics/funnel", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn funnel(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Funnel, question).await
}

/// How long people stay: `sessions`, `users`, `events_mean`, `seconds_mean`. A session is over after 30 minutes without an
/// event, and counts where it began.
#[utoipa::path(
    post, path = "/v1/analytics/sessions", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn sessions(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Sessions, question).await
}

/// What reviews say: `sentiment` (the mean, -1 to 1), `judged` (reviews that it is the mean of), `count`. By item unless
/// `group_by` says otherwise.
#[utoipa::path(
    post, path = "/v1/analytics/sentiment", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn sentiment(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Sentiment, question).await
}

/// How the arms of experiments do: `experiment`, `arm`, `users`, `exposures`, `clicks`, `ctr`, `converted`, `rate` (users
/// who clicked, with its 95% interval `rate_low`, `rate_high`), and `ratio_p`: how likely shares of users as unequal as
/// these are if the arms are meant to be of one size.
#[utoipa::path(
    post, path = "/v1/analytics/experiments", tag = "Analytics", request_body = Question,
    responses((status = 200, body = Table)),
)]
pub(crate) async fn experiments(service: Service, call: Call, Json(question): Json<Question>) -> Answer {
    answer(&service, &call, Report::Experiments, question).await
}

async fn answer(service: &Service, call: &Call, report: Report, question: Question) -> Answer {
    let table = service.report(&call.service(), report, question).await?;
    let bytes = table.rows.len() * table.columns.len() * JSON_VALUE_BYTES;
    Ok(json::answer(table, bytes).await?)
}
