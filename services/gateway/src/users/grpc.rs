//! `attune.v1.Users`.

use attune_api::{
    ApiError, Call,
    users::SharedUsers,
    v1::{self, users_server},
};
use serde_json::Value;
use tonic::{Request, Response, Status, async_trait};

use super::messages;
use crate::{
    content::messages::{condition, fields},
    grpc::{answered, call_of},
};

/// The gRPC face of the service.
#[derive(Clone)]
pub(crate) struct Grpc {
    service: SharedUsers,
}

impl Grpc {
    pub fn new(service: SharedUsers) -> Self {
        Self { service }
    }

    async fn put(&self, call: &Call, mut request: v1::PutUserRequest) -> Result<v1::PutUserResponse, ApiError> {
        let (id, demanded) = (std::mem::take(&mut request.user_id), condition(request.condition.take()));
        let saved = self.service.put(call, &id, messages::body(request)?, demanded).await?;
        Ok(v1::PutUserResponse { profile: Some(messages::profile(saved.profile)), is_new: saved.is_new })
    }

    async fn patch(&self, call: &Call, request: v1::PatchUserRequest) -> Result<v1::Profile, ApiError> {
        let v1::PatchUserRequest { user_id, patch, condition: demanded } = request;
        let patch = Value::Object(fields(patch, "/patch")?);
        let profile = self.service.patch(call, &user_id, patch, condition(demanded)).await?;
        Ok(messages::profile(profile))
    }
}

#[async_trait]
impl users_server::Users for Grpc {
    async fn put_user(&self, request: Request<v1::PutUserRequest>) -> Result<Response<v1::PutUserResponse>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.put(&call.service(), request.into_inner()).await)
    }

    async fn get_user(&self, request: Request<v1::GetUserRequest>) -> Result<Response<v1::Profile>, Status> {
        let call = call_of(&request)?;
        let profile = self.service.profile(&call.service(), &request.into_inner().user_id).await;
        answered(&call, profile.map(messages::profile))
    }

    async fn patch_user(&self, request: Request<v1::PatchUserRequest>) -> Result<Response<v1::Profile>, Status> {
        let call = call_of(&request)?;
        answered(&call, self.patch(&call.service(), request.into_inner()).await)
    }

    async fn delete_user(
        &self,
        request: Request<v1::DeleteUserRequest>,
    ) -> Result<Response<v1::DeleteUserResponse>, Status> {
        let call = call_of(&request)?;
        let v1::DeleteUserRequest { user_id, condition: demanded } = request.into_inner();
        let deleted = self.service.delete(&call.service(), &user_id, condition(demanded)).await;
        answered(&call, deleted.map(|()| v1::DeleteUserResponse {}))
    }

    async fn export_user(
        &self,
        request: Request<v1::ExportUserRequest>,
    ) -> Result<Response<v1::ExportUserResponse>, Status> {
        let call = call_of(&request)?;
        let v1::ExportUserRequest { user_id, cursor } = request.into_inner();
        let export = self.service.export(&call.service(), &user_id, cursor.as_deref()).await;
        answered(&call, export.map(messages::export))
    }

    async fn erase_user(&self, request: Request<v1::EraseUserRequest>) -> Result<Response<v1::Job>, Status> {
        let call = call_of(&request)?;
        let job = self.service.erase(&call.service(), &request.into_inner().user_id).await;
        answered(&call, job.map(messages::job))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::Job>, Status> {
        let call = call_of(&request)?;
        let job = self.service.job(&call.service(), &request.into_inner().id).await;
        answered(&call, job.map(messages::job))
    }
}
