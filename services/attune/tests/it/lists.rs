//! The product from the outside: items in, events in, and the next list is another one.

use std::thread;
use std::time::{Duration, Instant};

use attune_api::v1::recommend_batch_response::Outcome;
use attune_api::v1::recommend_request::Who;
use attune_api::v1::recommendation_client::RecommendationClient;
use attune_api::v1::{RecommendBatchRequest, RecommendRequest};
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tonic::Request;

use crate::http;
use crate::server::Server;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);

fn ask(server: &Server, path: &str, body: &Value) -> Value {
    let answer = http::post(server.address, path, server.key(), body);
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    answer.json()
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
    items.iter().map(|item| item["item_id"].as_str().unwrap().to_owned()).collect()
}

fn is_war(id: &str) -> bool {
    id.starts_with("war")
}

fn click(user: &str, item: &str) -> Value {
    json!({"type": "click", "user_id": user, "item_id": item})
}

fn events(server: &Server, events: Vec<Value>) {
    let count = events.len();
    let answer = ask(server, "/v1/events", &json!({ "events": events }));
    assert_eq!(answer["accepted"], json!(count), "{answer}");
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Two dozen films of two kinds, and people who keep to one of them.
fn fill(server: &Server) {
    let film = |number: usize| {
        let kind = if number.is_multiple_of(2) { "war" } else { "love" };
        json!({
            "id": format!("{kind}-{number}"),
            "title": format!("A film about {kind}, part {number}"),
            "attributes": {"genre": kind, "year": 1980 + number},
        })
    };
    ask(server, "/v1/items:batch", &json!({"items": (0..24).map(film).collect::<Vec<Value>>()}));
    let seen = |person: usize| {
        (0..5).map(move |step| {
            let number = 2 * ((person * 5 + step * 3) % 12) + person % 2;
            let kind = if person.is_multiple_of(2) { "war" } else { "love" };
            click(&format!("person-{person}"), &format!("{kind}-{number}"))
        })
    };
    events(server, (0..16).flat_map(seen).collect());
    until("all films can be recommended", || ids(&ask(server, "/v1/recommend", &json!({"k": 100}))).len() == 24);
    until("what goes together, and what reads alike, is known", || {
        let similar = ask(server, "/v1/similar", &json!({"item_id": "love-1", "k": 20, "explain": true}));
        let said = similar.to_string();
        ids(&similar).len() == 20 && said.contains("because_of") && said.contains("alike")
    });
}

#[test]
fn three_clicks_change_the_list_at_once_over_both_protocols() {
    let server = Server::start(&[]);
    fill(&server);
    let zoe = json!({"user_id": "zoe", "k": 8, "explain": true});
    let before = ask(&server, "/v1/recommend", &zoe);
    assert_eq!((before["items"].as_array().unwrap().len(), &before["degraded"]), (8, &json!(false)));
    assert_eq!(before["notes"][0]["code"], "no_history");

    events(&server, ["war-0", "war-6", "war-12"].map(|item| click("zoe", item)).to_vec());
    let after = ask(&server, "/v1/recommend", &zoe);
    let listed = ids(&after);
    assert!(listed.iter().filter(|id| is_war(id)).count() >= 6, "{after}");
    assert!(["war-0", "war-6", "war-12"].iter().all(|seen| !listed.contains(&(*seen).to_owned())), "{after}");
    assert_eq!((&after["degraded"], &after["notes"]), (&json!(false), &json!([])));
    let reasons = after["items"][0]["explain"]["sources"].to_string();
    assert!(["war-0", "war-6", "war-12"].iter().any(|seen| reasons.contains(seen)), "{reasons}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (one, stream) = runtime.block_on(over_grpc(&server));
    assert_eq!(one, listed);
    assert_eq!(stream[0], listed);
    assert_eq!(stream[1].len(), 8, "a stranger");
    assert!(stream[2].is_empty(), "a filter that makes no sense");

    let folder = server.stop();
    let server = Server::start_in(folder, &[]);
    let again = http::post(server.address, "/v1/recommend", "att_no", &zoe);
    assert_eq!(again.status, 401);
}

/// Zoe's list, and a stream with hers, a stranger's, and a request that is wrong.
async fn over_grpc(server: &Server) -> (Vec<String>, Vec<Vec<String>>) {
    let url = format!("http://{}", server.address);
    let channel = tonic::transport::Channel::from_shared(url).unwrap().connect().await.unwrap();
    let bearer: tonic::metadata::MetadataValue<_> = format!("Bearer {}", server.key()).parse().unwrap();
    let with_key = move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    };
    let mut client = RecommendationClient::with_interceptor(channel, with_key);
    let zoe = RecommendRequest { who: Some(Who::UserId("zoe".into())), k: Some(8), ..Default::default() };
    let names = |list: attune_api::v1::RecommendResponse| list.items.into_iter().map(|item| item.item_id).collect();
    let one = names(client.recommend(zoe.clone()).await.unwrap().into_inner());
    let stranger = RecommendRequest { k: Some(8), ..Default::default() };
    let wrong = RecommendRequest { filter: Some("genre == ".into()), ..Default::default() };
    let requests = [zoe, stranger, wrong].into_iter().zip(1..);
    let requests: Vec<_> = requests.map(|(request, id)| RecommendBatchRequest { id, request: Some(request) }).collect();
    let answers = client.recommend_batch(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap()).collect().await;
    assert_eq!(answers.iter().map(|answer| answer.id).collect::<Vec<u64>>(), [1, 2, 3]);
    let list = |outcome: Option<Outcome>| match outcome {
        Some(Outcome::Response(list)) => names(list),
        Some(Outcome::Error(error)) => {
            assert_eq!((error.code.as_str(), error.fields[0].pointer.as_str()), ("invalid", "/filter"));
            Vec::new()
        }
        None => panic!("an answer without an outcome"),
    };
    (one, answers.into_iter().map(|answer| list(answer.outcome)).collect())
}

#[test]
fn lists_are_filtered_ranked_paged_and_kept_over_a_restart() {
    let server = Server::start(&[]);
    fill(&server);
    let love = ask(&server, "/v1/recommend", &json!({"filter": "genre == \"love\" and year > 1999", "k": 20}));
    assert_eq!(ids(&love).len(), 2, "{love}");
    assert_eq!(love["notes"][1]["code"], "filter_too_narrow", "{love}");
    for (body, pointer) in [
        (json!({"filter": "genre =="}), "/filter"),
        (json!({"k": 0}), "/k"),
        (json!({"kk": 3}), "/kk"),
        (json!({"user_id": "a", "anonymous_id": "b"}), ""),
        (json!({"pipeline": "none such"}), "/pipeline"),
        (json!({"history": [{"item_id": "war-0", "timestamp": "yesterday"}]}), "/history/0/timestamp"),
    ] {
        let answer = http::post(server.address, "/v1/recommend", server.key(), &body);
        assert_eq!((answer.status, &answer.json()["errors"][0]["pointer"]), (422, &json!(pointer)), "{body}");
    }
    let missing = http::post(server.address, "/v1/similar", server.key(), &json!({"item_id": "none"}));
    assert_eq!(missing.status, 404, "{}", missing.text());

    let history = json!([{"item_id": "love-1", "type": "purchase"}, {"item_id": "love-5", "timestamp": 1_700_000_000}]);
    let rank = json!({"history": history, "item_ids": ["war-2", "love-3", "none"], "explain": true});
    let ranked = ask(&server, "/v1/rank", &rank);
    assert_eq!(ids(&ranked), ["love-3", "war-2"], "{ranked}");
    let trending = http::call(server.address, "GET", "/v1/trending?k=5", Some(server.key()), "").unwrap();
    assert_eq!(ids(&trending.json()).len(), 5, "{}", trending.text());
    let wrong = http::call(server.address, "GET", "/v1/trending?k=many", Some(server.key()), "").unwrap();
    assert_eq!(wrong.status, 422, "{}", wrong.text());

    let page = |cursor: &Value| ask(&server, "/v1/recommend", &json!({"user_id": "zoe", "k": 10, "cursor": cursor}));
    let first = page(&Value::Null);
    events(&server, vec![click("zoe", "war-4"), click("zoe", "war-8")]);
    let (second, mut all) = (page(&first["next_cursor"]), ids(&first));
    all.extend(ids(&second));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "nothing comes twice");
    let before = ids(&ask(&server, "/v1/recommend", &json!({"user_id": "zoe", "k": 100})));
    assert!(!before.contains(&"war-4".to_owned()) && before.len() == 22);

    let key = server.key().to_owned();
    let server = Server::start_in(server.stop(), &[]);
    let list = http::post(server.address, "/v1/recommend", &key, &json!({"user_id": "zoe", "k": 100}));
    let after = ids(&list.json());
    assert!(!after.contains(&"war-4".to_owned()) && after.len() == 22, "{}", list.text());
}
