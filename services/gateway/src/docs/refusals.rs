//! What routes refuse and which headers they take, as the document says it: from the table of routes, and from the
//! table that the answers themselves are made from.

use std::collections::BTreeMap;

use attune_api::{ApiError, Dialect, ErrorCode};
use http::Method;
use utoipa::{
    Modify,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, Required, Response, ResponseBuilder, Type,
        path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    },
};

use crate::{
    auth::Scope,
    edge::dialect_of_path,
    routes::{Once, ROUTES, Route},
};

/// Where presigned addresses lead: the token in them is the key.
pub(super) const SIGNED: &str = "/v1/objects/{token}";
const TENANT: &str = "/v1/tenants/{id}";
/// What every route behind a key may answer.
const ERRORS: [ErrorCode; 9] = [
    ErrorCode::Malformed,
    ErrorCode::Unauthenticated,
    ErrorCode::Forbidden,
    ErrorCode::Absent,
    ErrorCode::RateLimited,
    ErrorCode::Overloaded,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
    ErrorCode::DeadlineExceeded,
];
/// And what one that has a body may answer besides,
const BODY_ERRORS: [ErrorCode; 4] =
    [ErrorCode::RequestTimeout, ErrorCode::BodyTooLarge, ErrorCode::UnsupportedMediaType, ErrorCode::Invalid];
/// one that is about models,
const MODEL_ERRORS: [ErrorCode; 1] = [ErrorCode::ModelNotFound];
/// one that takes texts for them,
const TEXT_ERRORS: [ErrorCode; 3] = [ErrorCode::TextTooLarge, ErrorCode::TooManyTokens, ErrorCode::Empty];
/// and one that writes.
const WRITE_ERRORS: [ErrorCode; 2] = [ErrorCode::Conflict, ErrorCode::StorageFull];
/// What a signed address may answer,
const SIGNED_ERRORS: [ErrorCode; 5] =
    [ErrorCode::Malformed, ErrorCode::SignedAddress, ErrorCode::Absent, ErrorCode::Internal, ErrorCode::Unavailable];
/// and one for putting a file.
const UPLOAD_ERRORS: [ErrorCode; 3] = [ErrorCode::RequestTimeout, ErrorCode::BodyTooLarge, ErrorCode::StorageFull];

const IF_MATCH: (&str, &str) = ("if-match", "The ETag that must be there, or `*` for any");
const IF_ABSENT: (&str, &str) = ("if-none-match", "`*`: there must be none");
const IF_CHANGED: (&str, &str) = ("if-none-match", "The ETag that is known: if it is still that, the answer is 304");
const ONCE: (&str, &str) = (
    "idempotency-key",
    "Up to 255 bytes. The same request with the same key is carried out once, and answered alike for a day",
);

/// Adds the headers and the errors of each route.
pub(super) struct Errors;

impl Modify for Errors {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        for (path, item) in &mut openapi.paths.paths {
            let is_versioned = item.get.as_ref().is_some_and(|get| get.responses.responses.contains_key("304"));
            let operations = [
                (Method::GET, &mut item.get),
                (Method::PUT, &mut item.put),
                (Method::POST, &mut item.post),
                (Method::DELETE, &mut item.delete),
                (Method::PATCH, &mut item.patch),
            ];
            for (method, operation) in operations {
                if let Some((operation, route)) = operation.as_mut().zip(route(&method, path)) {
                    let codes = error_codes(route, operation, is_versioned);
                    operation.responses.responses.extend(error_responses(dialect_of_path(path), &codes));
                    add_headers(route, operation, is_versioned);
                }
            }
        }
    }
}

/// The line of the table, which has `{*id}` where the document has `{id}`.
fn route(method: &Method, path: &str) -> Option<&'static Route> {
    ROUTES.iter().find(|route| !route.is_grpc() && route.method == *method && route.path.replace("{*", "{") == path)
}

pub(super) fn is_write(route: &Route) -> bool {
    let scopes = route.any_of().unwrap_or_default();
    route.method != Method::GET && (scopes.contains(&Scope::Write) || scopes.contains(&Scope::Admin))
}

/// What has a version when it is read has conditions when it is written; only a tenant goes in whatever state.
pub(super) fn has_conditions(route: &Route, is_versioned: bool) -> bool {
    is_versioned && (route.method != Method::DELETE || route.path != TENANT)
}

fn error_codes(route: &Route, operation: &Operation, is_versioned: bool) -> Vec<ErrorCode> {
    let is_put = route.method == Method::PUT;
    let Some(scopes) = route.any_of() else {
        return match route.path {
            SIGNED if is_put => [&SIGNED_ERRORS[..], &UPLOAD_ERRORS].concat(),
            SIGNED => SIGNED_ERRORS.to_vec(),
            _ => Vec::new(),
        };
    };
    let (has_body, is_of_models) = (operation.request_body.is_some(), scopes.contains(&Scope::Infer));
    let has_parameters = operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty());
    let parts: [(bool, &[ErrorCode]); 7] = [
        (true, &ERRORS),
        (has_parameters, &[ErrorCode::Invalid]),
        (has_body, &BODY_ERRORS),
        (is_of_models, &MODEL_ERRORS),
        (is_of_models && has_body, &TEXT_ERRORS),
        (is_write(route), &WRITE_ERRORS),
        (is_write(route) && has_conditions(route, is_versioned), &[ErrorCode::PreconditionFailed]),
    ];
    parts.into_iter().filter(|(has, _)| *has).flat_map(|(_, codes)| codes).copied().collect()
}

fn add_headers(route: &Route, operation: &mut Operation, is_versioned: bool) {
    let conditions: &[(&str, &str)] = match route.method {
        _ if !has_conditions(route, is_versioned) => &[],
        Method::GET => &[IF_CHANGED],
        Method::PUT => &[IF_MATCH, IF_ABSENT],
        _ => &[IF_MATCH],
    };
    let once = (route.once() == Once::Kept).then_some(&ONCE);
    for (name, description) in conditions.iter().chain(once) {
        let is_it = |one: &RefOr<Parameter>| matches!(one, RefOr::T(one) if one.name.eq_ignore_ascii_case(name));
        if !operation.parameters.iter().flatten().any(is_it) {
            operation.parameters.get_or_insert_default().push(header(name, description).into());
        }
    }
}

fn header(name: &str, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// A response for each status, described by the titles of all that it stands for.
fn error_responses(dialect: Dialect, codes: &[ErrorCode]) -> BTreeMap<String, RefOr<Response>> {
    let schema = match dialect {
        Dialect::OpenAi => "OpenAiErrorBody",
        Dialect::Tei => "TeiErrorBody",
        Dialect::Native | Dialect::Grpc => "Problem",
    };
    let mut titles: BTreeMap<String, (&str, Vec<&str>)> = BTreeMap::new();
    for code in codes {
        let written = dialect.http(&ApiError::new(*code, ""), "");
        let (_, titles) =
            titles.entry(written.status.as_str().to_owned()).or_insert((written.content_type, Vec::new()));
        if !titles.contains(&code.row().title) {
            titles.push(code.row().title);
        }
    }
    let response = |(status, (content_type, titles)): (String, (&str, Vec<&str>))| {
        let content = Content::new(Some(Ref::from_schema_name(schema)));
        let described = ResponseBuilder::new().description(titles.join("; "));
        (status, described.content(content_type, content).build().into())
    };
    titles.into_iter().map(response).collect()
}
