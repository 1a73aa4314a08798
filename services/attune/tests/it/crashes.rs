//! What was acknowledged has its effect, once: clients that resend and reorder, and a server that is killed again and
//! again, against the clients' own count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use attune_api::rest::Timestamp;
use attune_lake::{Dataset, load_file, load_manifest, read};
use attune_store::embedded::objects::LocalObjects;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::server::{Server, config, run};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const USERS: usize = 200;
const EVENTS_EACH: usize = 20;
const ITEMS: usize = 40;
const CLIENTS: usize = 8;
const KILLS: usize = 5;
/// New events of a call, and earlier ones that go along again.
const BATCH: (usize, usize) = (20, 6);
/// What the types of events are worth, which are all types after which an item is not shown again.
const KINDS: [(&str, f64); 3] = [("view", 1.0), ("click", 1.0), ("purchase", 8.0)];

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// One event of a user, the same whenever it is made.
fn event(user: usize, number: usize, now_ms: i64) -> Value {
    let mut chance = Chance((user * EVENTS_EACH + number) as u64);
    chance.below(2);
    let (item, kind) = (chance.below(ITEMS), KINDS[chance.below(KINDS.len())].0);
    // Half a minute, in no order.
    let time_ms = now_ms - chance.below(30_000) as i64;
    json!({
        "event_id": format!("{user}-{number}"), "type": kind, "user_id": format!("u{user}"),
        "item_id": format!("i{item}"), "timestamp": time_ms as f64 / 1e3,
    })
}

fn item(event: &Value) -> &str {
    event["item_id"].as_str().unwrap()
}

/// Where the server is now, and how far the clients are.
struct Play {
    address: Mutex<SocketAddr>,
    key: String,
    acknowledged: AtomicUsize,
}

impl Play {
    /// Sends until it is acknowledged, to whichever server there is.
    fn send(&self, events: &[Value]) {
        let (body, start) = (json!({ "events": events }).to_string(), Instant::now());
        loop {
            assert!(start.elapsed() < PATIENCE, "nobody takes the events");
            let address = *self.address.lock().unwrap();
            match http::call(address, "POST", "/v1/events", Some(&self.key), &body) {
                Ok(answer) if answer.status == 202 => {
                    let answer = answer.json();
                    let taken = answer["accepted"].as_u64().unwrap() + answer["duplicates"].as_u64().unwrap();
                    assert_eq!((taken as usize, &answer["rejected"]), (events.len(), &json!([])));
                    return;
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// What was acknowledged is in the next list, unless the server has gone meanwhile or says that it may lack something.
    fn list_knows(&self, user: &str, done: &BTreeSet<String>) {
        let body = json!({"user_id": user, "k": 100}).to_string();
        let address = *self.address.lock().unwrap();
        let Ok(answer) = http::call(address, "POST", "/v1/recommend", Some(&self.key), &body) else { return };
        if answer.status == 200 && answer.json()["degraded"] == json!(false) {
            let shown = shown(&answer.json());
            let again: Vec<_> = shown.intersection(done).collect();
            assert!(again.is_empty(), "{user} is shown {again:?} again");
        }
    }
}

/// One client: its users' events in no order, some of them again and again.
fn client(play: &Play, number: usize, now_ms: i64) {
    let mut chance = Chance(number as u64 + 77);
    let users = USERS / CLIENTS * number..USERS / CLIENTS * (number + 1);
    let mut events: Vec<Value> =
        users.flat_map(|user| (0..EVENTS_EACH).map(move |number| event(user, number, now_ms))).collect();
    for place in (1..events.len()).rev() {
        events.swap(place, chance.below(place + 1));
    }
    let mut done: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for start in (0..events.len()).step_by(BATCH.0) {
        let fresh = &events[start..(start + BATCH.0).min(events.len())];
        let mut batch = fresh.to_vec();
        for _ in 0..BATCH.1 {
            batch.insert(chance.below(batch.len() + 1), events[chance.below(start + fresh.len())].clone());
        }
        play.send(&batch);
        for event in fresh {
            done.entry(event["user_id"].as_str().unwrap().to_owned()).or_default().insert(item(event).to_owned());
        }
        let user = fresh[0]["user_id"].as_str().unwrap();
        play.list_knows(user, &done[user]);
        play.acknowledged.fetch_add(fresh.len(), Ordering::Relaxed);
    }
}

fn shown(list: &Value) -> BTreeSet<String> {
    list["items"].as_array().unwrap().iter().map(|shown| item(shown).to_owned()).collect()
}

fn until(what: &str, mut lacks: impl FnMut() -> Option<String>) {
    let start = Instant::now();
    while let Some(lack) = lacks() {
        assert!(start.elapsed() < PATIENCE, "{what}: {lack}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What a source says of each item, over the mean of all: it scores by the logarithm.
fn said(list: &Value, source: &str) -> BTreeMap<String, f64> {
    let of = |shown: &Value| {
        let sources = shown["explain"]["sources"].as_array().unwrap().clone();
        let said = sources.into_iter().find(|said| said["source"] == source)?;
        Some((item(shown).to_owned(), said["score"].as_f64().unwrap().exp_m1()))
    };
    list["items"].as_array().unwrap().iter().filter_map(of).collect()
}

/// The clients' own count of what events on each item are worth, over the mean.
fn counted(events: &[Value]) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for event in events {
        let worth = KINDS.iter().find(|(kind, _)| event["type"] == *kind).unwrap().1;
        *sums.entry(item(event).to_owned()).or_default() += worth;
    }
    let mean = sums.values().sum::<f64>() / sums.len() as f64;
    sums.into_iter().map(|(item, sum)| (item, sum / mean)).collect()
}

/// How two counts differ by more than a share; one event too many or too few on one item is such a difference.
fn differs(found: &BTreeMap<String, f64>, counted: &BTreeMap<String, f64>, share: f64) -> Option<String> {
    if !found.keys().eq(counted.keys()) {
        return Some(format!("{} items where {} are", found.len(), counted.len()));
    }
    let far = found.iter().find(|(item, value)| (*value / counted[*item] - 1.0).abs() > share);
    far.map(|(item, value)| format!("{item} has {value}, the clients count {}", counted[item]))
}

/// How many events of each type there are in each minute: as the server's reports have it, and as the clients count.
fn per_minute(events: &[Value]) -> BTreeMap<(i64, String), u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        let minute = (event["timestamp"].as_f64().unwrap() / 60.0) as i64;
        *counts.entry((minute, event["type"].as_str().unwrap().to_owned())).or_default() += 1;
    }
    counts
}

fn reported(server: &Server, key: &str, report: &str, question: &Value) -> Vec<Vec<Value>> {
    let answer = http::post(server.address, &format!("/v1/analytics/{report}"), key, question);
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_value(answer.json()["rows"].clone()).unwrap()
}

/// Reports count what the clients do, no event more and none less.
fn reports_agree(server: &Server, key: &str, events: &[Value]) {
    let question = json!({"interval": "minute", "group_by": ["type"]});
    let mut found: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for row in reported(server, key, "timeseries", &question) {
        let minute = Timestamp::parse(row[0].as_str().unwrap()).unwrap().0.div_euclid(60_000);
        found.insert((minute, row[1].as_str().unwrap().to_owned()), row[2].as_u64().unwrap());
    }
    assert_eq!(found, per_minute(events));
    let mut expected: BTreeMap<String, (u64, BTreeSet<&str>)> = BTreeMap::new();
    for event in events {
        let (count, people) = expected.entry(item(event).to_owned()).or_default();
        *count += 1;
        people.insert(event["user_id"].as_str().unwrap());
    }
    let rows = reported(server, key, "top-items", &json!({ "k": ITEMS }));
    let found = rows.iter().map(|row| (row[0].as_str().unwrap().to_owned(), [row[1].as_u64(), row[2].as_u64()]));
    let expected = expected.into_iter().map(|(item, (count, people))| (item, [count, people.len() as u64].map(Some)));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected.collect());
}

/// Each event of the lake, with how often it is there.
fn in_the_lake(data: &Path) -> BTreeMap<String, usize> {
    use arrow::array::AsArray;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let objects = LocalObjects::open(&data.join("stores/objects"), "http://127.0.0.1:1").await.unwrap();
        let tenant = "default".parse().unwrap();
        let mut found: BTreeMap<String, usize> = BTreeMap::new();
        for file in load_manifest(&objects, &tenant).await.unwrap().files {
            if file.dataset == Dataset::Events {
                let rows = read(load_file(&objects, &tenant, &file).await.unwrap()).unwrap();
                let ids = rows.column_by_name("event_id").unwrap().as_string::<i32>().clone();
                ids.iter().flatten().for_each(|id| *found.entry(id.to_owned()).or_default() += 1);
            }
        }
        found
    })
}

fn start(folder: &TempDir) {
    let path = config(folder.path());
    let text = fs::read_to_string(&path).unwrap();
    // Snapshots and files of the lake are written between the kills.
    let text = text.replace("[recommendation]\n", "[recommendation]\nsnapshot_s = 1\n");
    fs::write(path, format!("[lake]\nflush_s = 1\n[trainer]\nmodel = \"\"\n{text}")).unwrap();
}

#[test]
fn after_five_kills_nothing_acknowledged_is_lost_and_nothing_is_counted_twice() {
    let folder = tempfile::tempdir().unwrap();
    start(&folder);
    let mut server = Server::start_in(folder, &[]);
    let key = server.key().to_owned();
    let items: Vec<Value> = (0..ITEMS).map(|n| json!({"id": format!("i{n}"), "title": format!("Thing {n}")})).collect();
    assert_eq!(http::post(server.address, "/v1/items:batch", &key, &json!({ "items": items })).status, 200);
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let (address, acknowledged) = (Mutex::new(server.address), AtomicUsize::new(0));
    let play = Arc::new(Play { address, key: key.clone(), acknowledged });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let play = Arc::clone(&play);
            thread::spawn(move || client(&play, number, now_ms))
        })
        .collect();
    let total = USERS * EVENTS_EACH;
    for kill in 1..=KILLS {
        while play.acknowledged.load(Ordering::Relaxed) < total * kill / (KILLS + 1) {
            assert!(clients.iter().any(|client| !client.is_finished()), "the clients ended early");
            thread::sleep(Duration::from_millis(1));
        }
        server = Server::start_in(server.kill(), &[]);
        *play.address.lock().unwrap() = server.address;
    }
    clients.into_iter().for_each(|client| client.join().unwrap());

    let events: Vec<Value> =
        (0..USERS).flat_map(|user| (0..EVENTS_EACH).map(move |number| event(user, number, now_ms))).collect();
    let expected = counted(&events);
    until("what is popular and rising", || {
        let ask = json!({"k": 100, "explain": true});
        let list = http::post(server.address, "/v1/recommend", &key, &ask).json();
        let popular = differs(&said(&list, "popular"), &expected, 2e-5);
        popular.or_else(|| differs(&said(&list, "trending"), &expected, 2e-3))
    });
    let catalogue: BTreeSet<String> = (0..ITEMS).map(|number| format!("i{number}")).collect();
    for (user, events) in events.chunks(EVENTS_EACH).enumerate() {
        let seen: BTreeSet<String> = events.iter().map(|event| item(event).to_owned()).collect();
        let ask = json!({"user_id": format!("u{user}"), "k": 100});
        let list = http::post(server.address, "/v1/recommend", &key, &ask);
        assert_eq!(shown(&list.json()), &catalogue - &seen, "u{user}: {}", list.text());
    }

    reports_agree(&server, &key, &events);

    let folder = server.stop();
    let data = folder.path().join("data");
    let found = in_the_lake(&data);
    assert!(found.values().all(|times| *times == 1), "an event is in the lake twice");
    assert_eq!(found.len(), total);
    assert!(events.iter().all(|event| found.contains_key(event["event_id"].as_str().unwrap())));

    // What was derived through five kills is what a replay of the log makes.
    let config = folder.path().join("test.toml");
    let replay = || {
        let output = run(&["replay", "--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let told = replay();
    assert!(told.contains("4,000 events of 200 users, as before"), "{told}");
    assert!(told.contains("4,000 rows of events") && told.matches("as before").count() == 2, "{told}");
    assert_eq!(in_the_lake(&data), found);
    let server = Server::start_in(folder, &[]);
    let list = http::post(server.address, "/v1/recommend", &key, &json!({"k": 100, "explain": true})).json();
    assert_eq!(differs(&said(&list, "popular"), &expected, 2e-5), None);
    reports_agree(&server, &key, &events);
}
