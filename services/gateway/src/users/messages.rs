//! Messages as the requests that they stand for, and answers as messages.

use attune_api::{
    ApiError, ErrorCode,
    rest::users::{JobStatus, JobView, Profile, ProfileBody, UserExport},
    structs, v1,
};
use serde_json::Value;

use crate::content::messages::{fields, moment};

pub(super) fn body(message: v1::PutUserRequest) -> Result<ProfileBody, ApiError> {
    let v1::PutUserRequest { attributes, preferences, consent: said, .. } = message;
    Ok(ProfileBody {
        attributes: fields(attributes, "/attributes")?,
        preferences: fields(preferences, "/preferences")?,
        consent: consent(said)?,
    })
}

/// What was said; none where nothing was.
fn consent(number: i32) -> Result<Option<Option<bool>>, ApiError> {
    match v1::Consent::try_from(number) {
        Ok(v1::Consent::Unspecified) => Ok(None),
        Ok(v1::Consent::Given) => Ok(Some(Some(true))),
        Ok(v1::Consent::Refused) => Ok(Some(Some(false))),
        Ok(v1::Consent::NeverAsked) => Ok(Some(None)),
        Err(_) => Err(ApiError::at(ErrorCode::Invalid, "/consent", format!("there is no Consent of number {number}"))),
    }
}

fn consented(consent: Option<bool>) -> i32 {
    let consent = match consent {
        Some(true) => v1::Consent::Given,
        Some(false) => v1::Consent::Refused,
        None => v1::Consent::NeverAsked,
    };
    consent.into()
}

pub(super) fn profile(profile: Profile) -> v1::Profile {
    let Profile { user_id, attributes, preferences, consent, created, changed, version } = profile;
    v1::Profile {
        user_id,
        attributes: Some(structs::from_json(attributes)),
        preferences: Some(structs::from_json(preferences)),
        consent: consented(consent),
        created: moment(&created),
        changed: moment(&changed),
        version,
    }
}

pub(super) fn export(export: UserExport) -> v1::ExportUserResponse {
    let record = |record| match serde_json::to_value(record) {
        Ok(Value::Object(fields)) => structs::from_json(fields),
        // Records are objects.
        _ => prost_types::Struct::default(),
    };
    v1::ExportUserResponse {
        user_id: export.user_id,
        profile: export.profile.map(profile),
        consent: consented(export.consent),
        anonymous_ids: export.anonymous_ids,
        others: Some(structs::from_json(export.others)),
        events: export.events.into_iter().map(record).collect(),
        next_cursor: export.next_cursor,
    }
}

pub(super) fn job(job: JobView) -> v1::Job {
    let JobView { id, kind, status, progress, report, created, ended } = job;
    let status = match status {
        JobStatus::Queued => v1::JobStatus::Queued,
        JobStatus::Running => v1::JobStatus::Running,
        JobStatus::Done => v1::JobStatus::Done,
        JobStatus::Failed => v1::JobStatus::Failed,
        JobStatus::Cancelled => v1::JobStatus::Cancelled,
    };
    v1::Job {
        id,
        kind,
        status: status.into(),
        progress: Some(structs::value_from_json(progress)),
        report: Some(structs::value_from_json(report)),
        created: moment(&created),
        ended: ended.as_deref().and_then(moment),
    }
}
