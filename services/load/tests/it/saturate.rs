//! Closed loops against servers that are known.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use attune_api::v1::{EmbedStreamRequest, EmbedStreamResponse};
use attune_load::{LoadError, SaturateOptions, saturate_rest, saturate_stream};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::net::TcpListener;

use crate::server::{Behaviour, KEY, start};

const SERVICE: Duration = Duration::from_millis(5);

/// A server of REST that answers with what it was sent; every third time it has too much to do, and of `/broken` it knows
/// nothing.
fn echo() -> SocketAddr {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let asked = Arc::new(AtomicUsize::new(0));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asked = Arc::clone(&asked);
                let service = service_fn(move |request| answer(request, Arc::clone(&asked)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    });
    receiver.recv().unwrap()
}

async fn answer(request: Request<Incoming>, asked: Arc<AtomicUsize>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = match (request.uri().path(), request.headers().get("authorization")) {
        ("/broken", _) => StatusCode::INTERNAL_SERVER_ERROR,
        (_, Some(key)) if *key == format!("Bearer {KEY}") => match asked.fetch_add(1, Ordering::Relaxed) % 3 {
            2 => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::ACCEPTED,
        },
        _ => StatusCode::UNAUTHORIZED,
    };
    tokio::time::sleep(SERVICE).await;
    let body = request.into_body().collect().await.unwrap().to_bytes();
    Ok(Response::builder().status(status).body(Full::new(body)).unwrap())
}

fn options(address: SocketAddr, path: &'static str) -> SaturateOptions {
    SaturateOptions {
        url: format!("http://{address}"),
        key: KEY.to_owned(),
        path,
        messages: vec![Bytes::from_static(b"7"), Bytes::from_static(b"7")],
        lanes: 3,
        warm_up: Duration::from_millis(50),
        length: Duration::from_millis(600),
    }
}

fn number(answer: &[u8]) -> Result<u64, String> {
    std::str::from_utf8(answer).ok().and_then(|text| text.parse().ok()).ok_or_else(|| "no number".to_owned())
}

#[test]
fn rest_is_asked_again_and_again_and_refusals_are_told() {
    let run = saturate_rest(&options(echo(), "/echo"), number).unwrap();
    // A slow machine only makes it fewer.
    let most = 3.0 * 600.0 / 5.0 + 3.0;
    assert!(run.latency.count > 0 && run.refused > 0 && (run.latency.count + run.refused) as f64 <= most, "{run:?}");
    assert_eq!(run.counted, 7 * run.latency.count);
    assert!(run.latency.p50_ms >= 5.0, "{run:?}");
}

#[test]
fn what_is_no_answer_ends_the_run() {
    let address = echo();
    let ended = |options: SaturateOptions, count| match saturate_rest(&options, count) {
        Err(LoadError::Unanswered { detail, .. }) => detail,
        other => panic!("{other:?}"),
    };
    assert!(ended(options(address, "/broken"), number).starts_with("500"));
    assert!(ended(SaturateOptions { key: "other".into(), ..options(address, "/echo") }, number).starts_with("401"));
    assert_eq!(ended(options(address, "/echo"), |_| Err("not this".to_owned())), "not this");
    let nobody = SaturateOptions { url: "http://127.0.0.1:1".into(), ..options(address, "/echo") };
    assert!(matches!(saturate_rest(&nobody, number), Err(LoadError::Target { .. })));
}

#[test]
fn a_stream_is_kept_full_and_answers_in_order() {
    let behaviour = Behaviour { service: SERVICE, workers: 1, places: 1_000, stall: None };
    let message = |id| Bytes::from(EmbedStreamRequest { id, request: None }.encode_to_vec());
    let options = SaturateOptions {
        messages: vec![message(1), message(2)],
        ..options(start(behaviour), "/attune.v1.Inference/EmbedStream")
    };
    let run = saturate_stream(&options, |answer: EmbedStreamResponse| Ok(answer.id)).unwrap();
    let (answers, most) = (run.latency.count, 600.0 / 5.0 + 3.0);
    assert!(answers > 0 && answers as f64 <= most, "{run:?}");
    assert!(run.counted.abs_diff(answers * 3 / 2) <= 1, "in turn: {run:?}");
    // Three are under way, and one is answered at a time.
    assert!(run.latency.p50_ms >= 10.0, "{run:?}");
    let wrong = saturate_stream(&options, |_: EmbedStreamResponse| Err("not this".to_owned()));
    assert!(matches!(wrong, Err(LoadError::Unanswered { .. })), "{wrong:?}");
}
