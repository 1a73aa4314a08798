//! The connections to the server under test.

use std::time::Duration;

use attune_api::v1::inference_client::InferenceClient;
use attune_api::v1::{ClassifyRequest, EmbedRequest, ListModelsRequest, Model, Task as ModelTask};
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tonic::client::Grpc;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};

use crate::LoadError;
use crate::codec::{Answer, EncodedCodec};

const CONNECT_MAX: Duration = Duration::from_secs(10);

/// What the server is asked to do with the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `attune.v1.Inference/Embed`.
    Embed,
    /// `attune.v1.Inference/Classify`.
    Classify,
}

/// Which server, and what to ask it.
#[derive(Clone, Debug)]
pub struct Target {
    /// For example `http://127.0.0.1:8080`.
    pub url: String,
    /// A key with the scope `infer`.
    pub key: Option<String>,
    /// Name or alias; the server's default for the task if absent.
    pub model: Option<String>,
    /// What to do with the texts.
    pub task: Task,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The server said that it has too much to do, in these words.
    Refused(String),
    /// The deadline passed.
    Late,
    /// Anything else.
    Failed(String),
}

/// A few connections, used in turn.
pub(crate) struct Connections {
    channels: Vec<Channel>,
    path: PathAndQuery,
    authorization: Option<MetadataValue<Ascii>>,
    deadline: Duration,
}

impl Target {
    /// A request with one text, as it goes over the wire.
    pub(crate) fn encode(&self, text: &str) -> Bytes {
        let (model, inputs) = (self.model.clone().unwrap_or_default(), vec![text.to_owned()]);
        let message = match self.task {
            Task::Embed => EmbedRequest { model, inputs, ..Default::default() }.encode_to_vec(),
            Task::Classify => ClassifyRequest { model, inputs, ..Default::default() }.encode_to_vec(),
        };
        message.into()
    }

    fn path(&self) -> PathAndQuery {
        PathAndQuery::from_static(match self.task {
            Task::Embed => "/attune.v1.Inference/Embed",
            Task::Classify => "/attune.v1.Inference/Classify",
        })
    }

    /// Whether `model` is the one that answers.
    fn means(&self, model: &Model) -> bool {
        let task = match self.task {
            Task::Embed => ModelTask::Embed,
            Task::Classify => ModelTask::Classify,
        };
        model.task() == task
            && match &self.model {
                Some(name) => model.name == *name || model.aliases.contains(name),
                None => model.is_default,
            }
    }
}

impl Connections {
    /// Opens `count` connections. Every call on them is given up after `deadline`, and says so to the server.
    pub async fn open(target: &Target, count: usize, deadline: Duration) -> Result<Self, LoadError> {
        Self::open_at(&target.url, target.key.as_deref(), target.path(), count, deadline).await
    }

    /// The same for any method of one message in and one out.
    pub async fn open_at(
        url: &str,
        key: Option<&str>,
        path: PathAndQuery,
        count: usize,
        deadline: Duration,
    ) -> Result<Self, LoadError> {
        let bad = |detail: String| LoadError::Target { url: url.to_owned(), detail };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| bad(error.to_string()))?;
        let endpoint = endpoint.connect_timeout(CONNECT_MAX).tcp_nodelay(true);
        let bearer = key.map(|key| format!("Bearer {key}").parse());
        let authorization = bearer.transpose().map_err(|_| bad("the key cannot be sent in a header".into()))?;
        let mut channels = Vec::with_capacity(count);
        for _ in 0..count {
            let channel = endpoint.connect().await;
            channels.push(channel.map_err(|source| LoadError::Connect { url: url.to_owned(), source })?);
        }
        Ok(Self { channels, path, authorization, deadline })
    }

    /// Sends an encoded request over the connection whose turn it is.
    pub async fn call(&self, turn: usize, message: Bytes) -> Result<Answer, Failure> {
        self.call_for(turn, message).await
    }

    /// The same where something else of the answer is read.
    pub async fn call_for<A: Message + Default + 'static>(&self, turn: usize, message: Bytes) -> Result<A, Failure> {
        let mut client = Grpc::new(self.channels[turn % self.channels.len()].clone());
        client.ready().await.map_err(|error| Failure::Failed(error.to_string()))?;
        let answer = client.unary(self.request(message), self.path.clone(), EncodedCodec::new()).await;
        answer.map(tonic::Response::into_inner).map_err(|status| match status.code() {
            Code::ResourceExhausted | Code::Unavailable => Failure::Refused(status.message().to_owned()),
            Code::DeadlineExceeded | Code::Cancelled => Failure::Late,
            code => Failure::Failed(format!("{code:?}: {}", status.message())),
        })
    }

    /// The model that answers calls to `target`.
    pub async fn model(&self, target: &Target) -> Result<Model, LoadError> {
        let mut client = InferenceClient::new(self.channels[0].clone());
        let models = client.list_models(self.request(ListModelsRequest {})).await;
        let models = models.map_err(|status| LoadError::Models(Box::new(status)))?.into_inner().models;
        let known = models.iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
        models.into_iter().find(|model| target.means(model)).ok_or_else(|| LoadError::NoModel {
            asked: target.model.clone().unwrap_or_else(|| "the default".into()),
            task: target.task,
            known,
        })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}
