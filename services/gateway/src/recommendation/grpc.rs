//! `attune.v1.Recommendation`.

use attune_api::{ApiError, recommendation::SharedRecommendation, rest::recommendation::RecommendResponse, v1};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::messages;
use crate::{
    app::App,
    grpc::{call_of, status},
    grpc_stream::{self, Answers},
};

/// The gRPC face of the service.
#[derive(Clone)]
pub(crate) struct Grpc {
    app: App,
    service: SharedRecommendation,
}

impl Grpc {
    pub fn new(app: App, service: SharedRecommendation) -> Self {
        Self { app, service }
    }
}

#[async_trait]
impl v1::recommendation_server::Recommendation for Grpc {
    type RecommendBatchStream = Answers<v1::RecommendBatchResponse>;

    async fn recommend(
        &self,
        request: Request<v1::RecommendRequest>,
    ) -> Result<Response<v1::RecommendResponse>, Status> {
        let call = call_of(&request)?;
        let answer = match messages::recommend(request.into_inner()) {
            Ok(request) => self.service.recommend(&call.service(), request).await,
            Err(error) => Err(error),
        };
        answer.map(timed).map_err(|error| status(&error, &call.id))
    }

    async fn recommend_batch(
        &self,
        request: Request<Streaming<v1::RecommendBatchRequest>>,
    ) -> Result<Response<Self::RecommendBatchStream>, Status> {
        let call = call_of(&request)?;
        let (service, context) = (self.service.clone(), call.service_item());
        let answer = move |item: v1::RecommendBatchRequest| {
            let (service, context) = (service.clone(), context.clone());
            let work = async move {
                let request = messages::recommend(item.request.unwrap_or_default())?;
                service.recommend(&context, request).await
            };
            grpc_stream::settle(work, move |answer| v1::RecommendBatchResponse {
                id: item.id,
                outcome: Some(match answer {
                    Ok(list) => v1::recommend_batch_response::Outcome::Response(list.into()),
                    Err(error) => v1::recommend_batch_response::Outcome::Error(v1::ItemError::from(&error)),
                }),
            })
        };
        grpc_stream::open(&self.app, &call, request.into_inner(), answer).map_err(|error| status(&error, &call.id))
    }

    async fn rank(&self, request: Request<v1::RankRequest>) -> Result<Response<v1::RecommendResponse>, Status> {
        let call = call_of(&request)?;
        let answer = match messages::rank(request.into_inner()) {
            Ok(request) => self.service.rank(&call.service(), request).await,
            Err(error) => Err(error),
        };
        answer.map(timed).map_err(|error| status(&error, &call.id))
    }

    async fn similar(&self, request: Request<v1::SimilarRequest>) -> Result<Response<v1::RecommendResponse>, Status> {
        let call = call_of(&request)?;
        let answer = self.service.similar(&call.service(), messages::similar(request.into_inner())).await;
        answer.map(timed).map_err(|error| status(&error, &call.id))
    }

    async fn trending(&self, request: Request<v1::TrendingRequest>) -> Result<Response<v1::RecommendResponse>, Status> {
        let call = call_of(&request)?;
        let answer = self.service.trending(&call.service(), messages::trending(request.into_inner())).await;
        answer.map(timed).map_err(|error: ApiError| status(&error, &call.id))
    }
}

/// The edge turns the extension into `server-timing`.
fn timed(list: RecommendResponse) -> Response<v1::RecommendResponse> {
    let timing = list.timing;
    let mut response = Response::new(list.into());
    response.extensions_mut().insert(timing);
    response
}
