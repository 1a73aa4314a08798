//! A bidirectional stream of gRPC, whose answers come in the order of the questions: so many messages are under way.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Request, Status, Streaming};

use crate::LoadError;
use crate::apart::apart;
use crate::codec::EncodedCodec;
use crate::saturate::{ClosedRun, Count, SaturateOptions, Window};

/// The class in which the items of the stream are served: they are somebody's who waits.
const CLASS: (&str, &str) = ("x-attune-class", "interactive");

/// Keeps `lanes` messages under way on one stream; `count` says what an answer counts, or what is wrong with it. Blocks for
/// the whole time, on a thread and an async runtime of its own.
///
/// # Errors
/// [`LoadError`]: options that make no sense, no connection, a stream that ends, or an answer that `count` finds wrong.
pub fn saturate_stream<A: Message + Default + 'static>(
    options: &SaturateOptions,
    count: fn(A) -> Result<u64, String>,
) -> Result<ClosedRun, LoadError> {
    options.check()?;
    apart(run(options, count))
}

async fn run<A: Message + Default + 'static>(
    options: &SaturateOptions,
    count: fn(A) -> Result<u64, String>,
) -> Result<ClosedRun, LoadError> {
    let window = Window::of(options);
    let places = Arc::new(Semaphore::new(options.lanes));
    let (sender, questions) = mpsc::channel(options.lanes);
    let (note, mut notes) = mpsc::channel(options.lanes);
    let messages = options.messages.clone();
    let sending = async move {
        for message in messages.iter().cycle() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let sent = Instant::now();
            // Whoever has stopped listening knows why.
            if !window.is_open_for_requests() || sender.send(message.clone()).await.is_err() {
                return;
            }
            if note.send((sent, place)).await.is_err() {
                return;
            }
        }
    };
    let reading = async move {
        let mut answers: Streaming<A> = open(options, questions).await?;
        let mut all = Count::default();
        while let Some((sent, place)) = notes.recv().await {
            let answer = answers.message().await.map_err(|status| options.unanswered(told(&status)))?;
            let answer = answer.ok_or_else(|| options.unanswered("the server ended the stream"))?;
            all.answered(window, sent, count(answer).map_err(|detail| options.unanswered(detail))?);
            drop(place);
        }
        Ok(all.told(options))
    };
    // A fault of the reader ends the sender, since nobody listens any more.
    let ((), told) = tokio::join!(sending, reading);
    told
}

async fn open<A: Message + Default + 'static>(
    options: &SaturateOptions,
    questions: mpsc::Receiver<Bytes>,
) -> Result<Streaming<A>, LoadError> {
    let endpoint = Endpoint::from_shared(options.url.clone()).map_err(|error| options.bad_target(error))?;
    let channel = endpoint.tcp_nodelay(true).connect().await;
    let channel = channel.map_err(|source| LoadError::Connect { url: options.url.clone(), source })?;
    let mut client = Grpc::new(channel);
    client.ready().await.map_err(|error| options.bad_target(error))?;
    let mut request = Request::new(ReceiverStream::new(questions));
    let bearer = format!("Bearer {}", options.key).parse();
    let bearer = bearer.map_err(|_| options.bad_target("the key cannot be sent in a header"))?;
    request.metadata_mut().insert("authorization", bearer);
    request.metadata_mut().insert(CLASS.0, CLASS.1.parse().expect("a constant"));
    let answers = client.streaming(request, PathAndQuery::from_static(options.path), EncodedCodec::new()).await;
    Ok(answers.map_err(|status| options.unanswered(told(&status)))?.into_inner())
}

fn told(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
