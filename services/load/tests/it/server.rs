//! A server that speaks `attune.v1.Inference` and takes exactly the time it is told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attune_api::v1::inference_server::{Inference, InferenceServer};
use attune_api::v1::*;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_stream::{Empty, StreamExt};
use tonic::{Request, Response, Status, Streaming};

pub const KEY: &str = "k3y";

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    /// Time that a worker takes for a text.
    pub service: Duration,
    pub workers: usize,
    /// Requests waiting or in service; the next one is refused.
    pub places: usize,
    /// One request in so many keeps its worker for this time longer.
    pub stall: Option<(usize, Duration)>,
}

struct Known {
    behaviour: Behaviour,
    workers: Semaphore,
    places: Semaphore,
    asked: AtomicUsize,
}

/// Starts it on a thread and a port of its own; it lives as long as the test's process.
pub fn start(behaviour: Behaviour) -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let known = Known {
                behaviour,
                workers: Semaphore::new(behaviour.workers),
                places: Semaphore::new(behaviour.places),
                asked: AtomicUsize::new(0),
            };
            let routes = tonic::transport::Server::builder().add_service(InferenceServer::from_arc(Arc::new(known)));
            routes.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
    });
    receiver.recv().unwrap()
}

fn check_key<T>(request: &Request<T>) -> Result<(), Status> {
    let key = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    if key == Some(&format!("Bearer {KEY}")) { Ok(()) } else { Err(Status::unauthenticated("a key is needed")) }
}

impl Known {
    /// Serves one request; the time it took a worker.
    async fn serve(&self) -> Result<Timing, Status> {
        let _place = self.places.try_acquire().map_err(|_| Status::resource_exhausted("too much to do"))?;
        let _worker = self.workers.acquire().await.unwrap();
        if let Some((every, stall)) = self.behaviour.stall
            && self.asked.fetch_add(1, Ordering::Relaxed) % every == every - 1
        {
            tokio::time::sleep(stall).await;
        }
        tokio::time::sleep(self.behaviour.service).await;
        Ok(Timing { tokenize_ms: 0.0, queue_ms: 0.0, infer_ms: self.behaviour.service.as_secs_f64() * 1e3 })
    }
}

#[tonic::async_trait]
impl Inference for Known {
    async fn embed(&self, request: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        check_key(&request)?;
        let text = request.into_inner().inputs.pop().ok_or_else(|| Status::invalid_argument("no text"))?;
        let timing = Some(self.serve().await?);
        let tokens = text.split_whitespace().count() as u64;
        Ok(Response::new(EmbedResponse { usage: Some(Usage { tokens, texts: 1 }), timing, ..Default::default() }))
    }

    async fn classify(&self, _: Request<ClassifyRequest>) -> Result<Response<ClassifyResponse>, Status> {
        Err(Status::unimplemented("this server only embeds"))
    }

    type EmbedStreamStream = ReceiverStream<Result<EmbedStreamResponse, Status>>;

    /// Answers one after the other, each after the time of a text.
    async fn embed_stream(
        &self,
        request: Request<Streaming<EmbedStreamRequest>>,
    ) -> Result<Response<Self::EmbedStreamStream>, Status> {
        check_key(&request)?;
        let (sender, answers) = tokio::sync::mpsc::channel(1);
        let (mut questions, service) = (request.into_inner(), self.behaviour.service);
        tokio::spawn(async move {
            while let Some(Ok(question)) = questions.next().await {
                tokio::time::sleep(service).await;
                if sender.send(Ok(EmbedStreamResponse { id: question.id, outcome: None })).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    type ClassifyStreamStream = Empty<Result<ClassifyStreamResponse, Status>>;

    async fn classify_stream(
        &self,
        _: Request<Streaming<ClassifyStreamRequest>>,
    ) -> Result<Response<Self::ClassifyStreamStream>, Status> {
        Err(Status::unimplemented("this server has no streams"))
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        check_key(&request)?;
        let embedder = Model {
            name: "known".into(),
            aliases: vec!["k".into()],
            task: Task::Embed.into(),
            is_default: true,
            ..Model::default()
        };
        Ok(Response::new(ListModelsResponse { models: vec![embedder] }))
    }
}
