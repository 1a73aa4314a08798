//! Events over the wire of the real binary: what is answered, and that what is answered survives.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use attune_api::v1::{self, track_stream_response::Outcome, tracking_client::TrackingClient};
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::Request;

use crate::http;
use crate::server::Server;

fn view(user: &str, id: &str) -> Value {
    json!({"type": "view", "user_id": user, "item_id": "i-1", "event_id": id})
}

fn post(server: &Server, events: Value) -> http::Answer {
    http::post(server.address, "/v1/events", server.key(), &json!({ "events": events }))
}

/// The ids of the events in the log, each as often as it stands there.
pub fn logged(folder: &std::path::Path) -> Vec<String> {
    use attune_api::log::Record;
    use attune_store::embedded::events::Log;
    use attune_store::events::{EventLog, Position, Settings};
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Log::open(folder, Settings::default()).await.unwrap();
        let tenant = "default".parse().unwrap();
        let bounds = log.bounds(&tenant).await.unwrap();
        let from: Vec<_> = bounds.iter().map(|one| Position { partition: one.partition, offset: 0 }).collect();
        let mut reader = log.read(&tenant, &from).await.unwrap();
        let mut ids = Vec::new();
        loop {
            let some = reader.poll(10_000, Duration::ZERO).await.unwrap();
            if some.is_empty() {
                return ids;
            }
            ids.extend(some.iter().filter_map(|one| match serde_json::from_slice(&one.payload).unwrap() {
                Record::Event(event) => Some(event.event_id),
                _ => None,
            }));
        }
    })
}

#[test]
fn rest_answers_by_index_and_names_what_is_wrong() {
    let server = Server::start(&[]);
    let answer =
        post(&server, json!([view("ann", "a"), view("ann", "a"), {"type": "view"}, {"user_id": 1}, view("ann", "b")]));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let json = answer.json();
    assert_eq!((&json["accepted"], &json["duplicates"]), (&json!(2), &json!(1)));
    let rejected: Vec<_> =
        json["rejected"].as_array().unwrap().iter().map(|one| (&one["index"], &one["code"])).collect();
    assert_eq!(rejected, [(&json!(2), &json!("invalid")), (&json!(3), &json!("invalid"))]);

    let call = |method: &str, path: &str, body: Value| {
        http::call(server.address, method, path, Some(server.key()), &body.to_string()).unwrap()
    };
    let letters = call("GET", "/v1/dead-letters?limit=1", json!({})).json();
    assert_eq!(letters["dead_letters"][0]["event"], json!({"type": "view"}));
    assert!(letters["next_cursor"].is_string());
    let ids = json!({"ids": [letters["dead_letters"][0]["id"]]});
    let replayed = call("POST", "/v1/dead-letters:replay", ids).json();
    assert_eq!((&replayed["replayed"], &replayed["rejected"][0]["code"]), (&json!(0), &json!("invalid")));
    let identify = json!({"anonymous_id": "d", "user_id": "ann"});
    assert_eq!(call("POST", "/v1/identify", identify).json(), json!({"is_new": true}));

    for (path, body, status, pointer) in [
        ("/v1/events", json!({"events": []}), 422, "/events"),
        ("/v1/events", json!({"events": vec![view("ann", "x"); 1_001]}), 422, "/events"),
        ("/v1/events", json!({"event": []}), 422, "/event"),
        ("/v1/identify", json!({"anonymous_id": "d"}), 422, "/user_id"),
        ("/v1/identify", json!({"anonymous_id": "\u{1}", "user_id": "ann"}), 422, "/anonymous_id"),
        ("/v1/dead-letters:replay", json!({"ids": []}), 422, "/ids"),
    ] {
        let answer = call("POST", path, body);
        assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (status, &json!(pointer)), "{path}");
    }
    assert_eq!(call("GET", "/v1/dead-letters?limit=many", json!({})).status, 422);
    let keyless = http::call(server.address, "POST", "/v1/events", None, "{}").unwrap();
    assert_eq!(keyless.status, 401);
}

fn event(user: &str, id: &str) -> v1::Event {
    v1::Event {
        event_id: Some(id.to_owned()),
        r#type: "view".to_owned(),
        user_id: Some(user.to_owned()),
        ..Default::default()
    }
}

#[test]
fn grpc_answers_the_same_and_streams() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.address)).unwrap();
        let mut client = TrackingClient::new(channel.connect().await.unwrap());
        fn with_key<T>(key: &str, message: T) -> Request<T> {
            let mut request = Request::new(message);
            request.metadata_mut().insert("x-api-key", key.parse().unwrap());
            request
        }
        let key = server.key();
        let batch = v1::TrackRequest { events: vec![event("ann", "a"), event("", "b")] };
        let answer = client.track(with_key(key, batch)).await.unwrap().into_inner();
        assert_eq!((answer.accepted, answer.rejected[0].index, &*answer.rejected[0].code), (1, 1, "invalid"));

        // One batch too many events: it costs itself, and the stream goes on.
        let batch = |id: u64| v1::TrackStreamRequest {
            id,
            request: Some(v1::TrackRequest {
                events: (0..if id == 3 { 1_001 } else { 100 }).map(|n| event("bob", &format!("{id}-{n}"))).collect(),
            }),
        };
        let batches = tokio_stream::iter((0..20).map(batch));
        let mut answers = client.track_stream(with_key(key, batches)).await.unwrap().into_inner();
        for id in 0..20 {
            let answer = answers.next().await.unwrap().unwrap();
            assert_eq!(answer.id, id);
            match answer.outcome.unwrap() {
                Outcome::Response(response) => assert_eq!((id != 3, response.accepted), (true, 100)),
                Outcome::Error(error) => assert_eq!((id, &*error.code), (3, "invalid")),
            }
        }
        assert!(answers.next().await.is_none());
        let identify = v1::IdentifyRequest { anonymous_id: "d".to_owned(), user_id: "ann".to_owned() };
        assert!(client.identify(with_key(key, identify)).await.unwrap().into_inner().is_new);
        let nobody = v1::IdentifyRequest { anonymous_id: String::new(), user_id: "ann".to_owned() };
        let status = client.identify(with_key(key, nobody)).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
    });
    let folder = server.stop();
    assert_eq!(logged(&folder.path().join("data/stores/events")).len(), 1 + 19 * 100);
}

/// Sends batches until it is told to stop, and notes what was acknowledged.
fn send(
    address: SocketAddr,
    key: &str,
    client: usize,
    stop: &AtomicBool,
    sent: &AtomicUsize,
    kept: &Mutex<Vec<String>>,
) {
    while !stop.load(Ordering::Relaxed) {
        let number = sent.fetch_add(1, Ordering::Relaxed);
        let ids: Vec<String> = (0..20).map(|n| format!("{number}-{n}")).collect();
        let events: Vec<Value> = ids.iter().map(|id| view(&format!("user-{client}"), id)).collect();
        let body = json!({ "events": events }).to_string();
        match http::call(address, "POST", "/v1/events", Some(key), &body) {
            Ok(answer) if answer.status == 202 && answer.json()["accepted"] == 20 => kept.lock().unwrap().extend(ids),
            // The server is gone: nothing was acknowledged.
            _ => return,
        }
    }
}

/// Fault 1 of the list: whatever was answered is there afterwards, once for each time that it was sent.
#[test]
fn sigkill_under_load_loses_no_acknowledged_event() {
    let mut server = Server::start(&[]);
    let key = server.key().to_owned();
    let (kept, sent) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    for round in 0..5_u64 {
        let before = kept.lock().unwrap().len();
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (stop, sent, kept, key, address) =
                    (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&kept), key.clone(), server.address);
                thread::spawn(move || send(address, &key, client, &stop, &sent, &kept))
            })
            .collect();
        while kept.lock().unwrap().len() < before + 500 {
            thread::sleep(Duration::from_millis(1 + 3 * round));
        }
        let folder = server.kill();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        server = Server::start_in(folder, &[]);
    }
    let folder = server.stop();
    let logged = logged(&folder.path().join("data/stores/events"));
    let found: BTreeSet<&String> = logged.iter().collect();
    let kept = kept.lock().unwrap();
    let lost: Vec<&String> = kept.iter().filter(|id| !found.contains(id)).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged events are lost: {:?}", lost.len(), kept.len(), lost.first());
    assert_eq!(found.len(), logged.len(), "no event was sent twice, and none may stand there twice");
    eprintln!("{} acknowledged, {} in the log", kept.len(), logged.len());
}
