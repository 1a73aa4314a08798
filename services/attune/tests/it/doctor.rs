//! `attune doctor` with the real binary: what a start could not read is bad. Its part `data`: a sound installation is
//! told nothing, and each fault that is planted in a copy of it is found, by its code.

mod plant;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http;
use crate::score::said;
use crate::server::{Server, config, run};

use plant::{ITEMS, PEOPLE, Planted, views};

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const HOUR_S: i64 = 3_600;
/// How lines of the doctor begin.
const GOOD: &str = "ok  ";
const WARNING: &str = "warn";
const BAD: &str = "BAD ";

/// Plants a fault in an installation, and says what is to be added to the configuration and to the command.
type Plant = fn(&Planted) -> (&'static str, Vec<String>);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn post(server: &Server, path: &str, body: &Value) -> Value {
    let answer = http::post(server.address, path, server.key(), body);
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    answer.json()
}

/// A small shop that does everything right: its folder, after the server was stopped.
fn sound() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            config(folder.path());
            let server = Server::start_in(folder, &[]);
            let item = |number: usize| {
                let attributes = json!({"kind": if number < 3 { "cup" } else { "tea" }});
                json!({"id": format!("item-{number}"), "title": format!("Thing {number}"), "attributes": attributes})
            };
            post(&server, "/v1/items:batch", &json!({"items": (0..ITEMS).map(item).collect::<Vec<_>>()}));
            post(&server, "/v1/events", &json!({"events": views(5)}));
            until("all items have their embedding", || {
                http::get(server.address, "/metrics").text().contains("attune_content_waiting_items 0\n")
            });
            until("everything can be shown", || {
                post(&server, "/v1/recommend", &json!({"k": 100}))["items"].as_array().unwrap().len() == ITEMS
            });
            for person in 0..PEOPLE {
                let user = format!("user-{person}");
                let list = post(&server, "/v1/recommend", &json!({"user_id": user, "k": 5}));
                let (list_id, item) = (&list["request_id"], &list["items"][0]["item_id"]);
                let click = json!({"type": "click", "user_id": user, "item_id": item, "request_id": list_id});
                post(&server, "/v1/events", &json!({ "events": [click] }));
            }
            server.stop()
        })
        .path()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// A copy of the sound installation.
fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    config(folder.path());
    copy(&sound().join("data"), &folder.path().join("data"));
    folder
}

/// What the doctor says of a folder: whether it succeeded, what it printed, and its report of the one tenant.
fn examined(folder: &Path, flags: &[String]) -> (bool, String, Value) {
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let fixed = ["doctor", "data", "--config", &at("test.toml"), "--data", &at("data"), "--json", &at("found.json")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = run(&[&fixed, &flags[..]].concat());
    let text = said(&output);
    let report = fs::read(at("found.json")).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report.as_array().map(Vec::len), Some(1), "{report}");
    (output.status.success(), text, report[0].take())
}

fn later(seconds: i64) -> Vec<String> {
    vec!["--at".to_owned(), (plant::now_ms() / 1_000 + seconds).to_string()]
}

fn nothing_more() -> (&'static str, Vec<String>) {
    ("", Vec::new())
}

/// What the doctor says of everything but data; each of these names has a line with that mark.
fn looked_over(folder: &Path, configuration: &str, mark: &str, names: &[&str]) -> String {
    let (path, data) = (folder.join("attune.toml"), folder.join("data"));
    fs::write(&path, configuration).unwrap();
    let fixed = ["doctor", "--listen", "127.0.0.1:0", "--config", path.to_str().unwrap()];
    let output = run(&[&fixed[..], &["--data", data.to_str().unwrap()]].concat());
    let text = said(&output);
    for name in names {
        let begins = format!("{mark} {name} ");
        assert!(text.lines().any(|line| line.starts_with(&begins)), "{begins:?}: {text}");
    }
    assert!(mark != BAD || output.status.code() == Some(1), "{text}");
    text
}

#[test]
fn files_that_a_start_could_not_read_are_bad() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/tests/it/certificates");
    let (token, keys) = (folder.path().join("token"), folder.path().join("keys.json"));
    fs::write(&token, "secret").unwrap();
    let key = json!({"kty": "oct", "kid": "k", "k": "YSBzZWNyZXQgdGhhdCBib3RoIHNpZGVzIGtub3cuLi4"});
    fs::write(&keys, json!({"keys": [key]}).to_string()).unwrap();
    let configuration = |key: &str, token: &Path, keys: &Path| {
        let (certificate, key) = (certificates.join("one.pem"), certificates.join(key));
        let tls = format!("[server.tls]\ncertificate = '{}'\nkey = '{}'\n", certificate.display(), key.display());
        let jwt = format!("[auth.jwt]\nkeys = '{}'\nissuer = 'https://id.example'\n", keys.display());
        let host = format!("origin = 'https://models.example'\ntoken_file = '{}'\n", token.display());
        format!("{tls}{jwt}[[outside.hosts]]\n{host}")
    };
    let (names, nowhere) = (["certificate", "token keys", "outside"], Path::new("/nowhere"));
    looked_over(folder.path(), &configuration("one.key", &token, &keys), GOOD, &names);
    let text = looked_over(folder.path(), &configuration("two.key", nowhere, nowhere), BAD, &names);
    assert!(["(server.tls)", "outside.hosts", "(auth.jwt.keys)"].iter().all(|key| text.contains(key)), "{text}");
}

#[test]
fn a_secret_and_a_lake_that_cannot_be_read_are_bad() {
    let folder = copied();
    looked_over(folder.path(), "", GOOD, &["keys", "lake", "event log"]);
    for name in ["keys/keys.secret", "stores/objects/default/data/+lake/=manifest.json"] {
        let path = folder.path().join("data").join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let text = looked_over(folder.path(), "", BAD, &["keys", "lake"]);
    assert!(text.contains("keys.secret is damaged") && text.contains("manifest"), "{text}");
}

#[test]
fn a_log_that_lost_its_files_is_told_of() {
    let folder = copied();
    let log = folder.path().join("data/stores/events");
    for gone in [log.join("default/events"), log] {
        fs::remove_dir_all(gone).unwrap();
        let text = looked_over(folder.path(), "", WARNING, &["event log"]);
        let words = ["default: partition", "of the log ends at 0, and was read up to", "attune replay --accept-loss"];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[test]
fn a_sound_installation_is_told_nothing() {
    let folder = copied();
    let (is_good, text, report) = examined(folder.path(), &[]);
    assert!(is_good && text.contains("nothing that commonly goes wrong was found"), "{text}");
    assert_eq!((&report["findings"], &report["not_looked_at"]), (&json!([]), &json!([])));
    let counts = ["events", "lists", "items"].map(|name| report[name].as_u64().unwrap() as usize);
    assert!(counts[0] == 6 * PEOPLE && counts[1] > PEOPLE && counts[2] == ITEMS, "{report}");
}

#[test]
fn each_fault_that_is_planted_is_found() {
    let errors = ["items_unknown", "no_positive_events", "no_items", "filter_excludes", "pipeline_impersonal"];
    let errors = [&errors[..], &["model_stale", "consumer_lags", "ids_change"]].concat();
    let faults: &[(&[&str], Plant)] = &[
        (&["no_items"], |planted| {
            planted.clear("items");
            nothing_more()
        }),
        (&["items_unknown"], |planted| {
            planted.track((0..500).map(|n| planted.event(n, "view", &format!(" Item-{}", n % ITEMS))));
            nothing_more()
        }),
        (&["type_without_weight"], |planted| {
            planted.track((0..60).map(|n| planted.event(n, "clik", &plant::item(n))));
            nothing_more()
        }),
        (&["no_positive_events"], |_| {
            ("[worth.kinds.view]\nweight = 0\n[worth.kinds.click]\nweight = 0\n", Vec::new())
        }),
        (&["values_off_scale"], |planted| {
            let rating = |n: usize| plant::with(planted.event(n, "rating", &plant::item(n)), "value", json!(n % 2));
            planted.track((0..60).map(rating));
            nothing_more()
        }),
        (&["duplicates"], |planted| {
            let events: Vec<Value> = (0..60).map(|n| planted.event(n, "view", &plant::item(n))).collect();
            (0..3).for_each(|_| planted.track(events.clone()));
            planted.flush();
            nothing_more()
        }),
        (&["repeated_events"], |planted| {
            let again = |n: usize| planted.event(n % 30, "view", &plant::item(n % 30));
            let id = |n: usize| plant::with(again(n), "event_id", json!(format!("again-{n}")));
            planted.track((0..120).map(id));
            nothing_more()
        }),
        (&["no_exposures"], |planted| {
            planted.without_history();
            planted.track(views(5));
            nothing_more()
        }),
        (&["clocks_ahead"], |planted| {
            let soon = |n: usize| plant::at(planted.event(n, "view", &plant::item(n)), plant::now_ms() + 60_000);
            planted.track((0..80).map(soon));
            nothing_more()
        }),
        (&["clocks_behind"], |planted| {
            let local = |n: usize| {
                plant::at(planted.event(n, "view", &plant::item(n)), plant::now_ms() - 2 * HOUR_S * 1_000 - n as i64)
            };
            planted.track((0..400).map(local));
            nothing_more()
        }),
        (&["clocks_refused"], |planted| {
            // Milliseconds where seconds are expected are a time in a far future.
            let in_ms =
                |n: usize| plant::with(planted.event(n, "view", &plant::item(n)), "timestamp", json!(plant::now_ms()));
            planted.track((0..60).map(in_ms));
            nothing_more()
        }),
        (&["times_ancient"], |planted| {
            planted.track(
                (0..60)
                    .map(|n| plant::at(planted.event(n, "view", &plant::item(n)), plant::now_ms() / 1_000 + n as i64)),
            );
            nothing_more()
        }),
        (&["shared_id"], |planted| {
            let guest = |n: usize| plant::with(planted.event(n, "view", &plant::item(n)), "user_id", json!("guest"));
            planted.track((0..150).map(guest));
            nothing_more()
        }),
        (&["ids_change"], |planted| {
            let new = |n: usize| {
                plant::with(planted.event(n, "view", &plant::item(n)), "user_id", json!(format!("page-{n}")))
            };
            planted.track((0..1_300).map(new));
            nothing_more()
        }),
        (&["times_equal"], |planted| {
            let at_once = |n: usize| plant::at(planted.event(n, "view", &plant::item(n)), 1_750_000_000_000 + n as i64);
            planted.track((0..4_000).map(at_once));
            nothing_more()
        }),
        (&["lists_to_strangers"], |planted| {
            planted.expose(400);
            nothing_more()
        }),
        (&["clicks_without_list"], |planted| {
            planted.track((0..900).map(|n| planted.event(n, "click", &plant::item(n))));
            nothing_more()
        }),
        (&["filter_excludes"], |planted| {
            planted.define("rule", "sale", json!({"filter": "kind == \"tea\"", "effect": {"quota": {"at_most": 0}}}));
            nothing_more()
        }),
        (&["definition_broken"], |planted| {
            planted.define("rule", "sale", json!({"filter": "colour == \"red\"", "effect": "bury"}));
            nothing_more()
        }),
        (&["pipeline_impersonal"], |planted| {
            let sources = json!({"sources": [{"source": "popular"}, {"source": "latest"}]});
            planted.define("pipeline", "default", sources);
            nothing_more()
        }),
        (&["items_hidden"], |planted| {
            planted.hide(ITEMS * 3 / 5);
            nothing_more()
        }),
        (&["items_without_vectors"], |planted| {
            planted.clear("item_vectors");
            nothing_more()
        }),
        (&["model_stale"], |planted| {
            planted.serve_model(10);
            ("", later(10 * 24 * HOUR_S))
        }),
        (&["model_missing"], |_| ("[trainer]\nevents_min = 100\n", Vec::new())),
        (&["consumer_lags"], |planted| {
            planted.track((0..3).map(|n| planted.event(n, "view", &plant::item(n))));
            ("", later(HOUR_S))
        }),
    ];
    assert!(faults.len() >= 12);
    for (codes, plant) in faults {
        let folder = copied();
        let (more, flags) = plant(&Planted::open(&folder.path().join("data")));
        let path = folder.path().join("test.toml");
        fs::write(&path, format!("{more}{}", fs::read_to_string(&path).unwrap())).unwrap();
        let (is_good, text, report) = examined(folder.path(), &flags);
        let findings = report["findings"].as_array().unwrap();
        let found: Vec<&str> = findings.iter().map(|finding| finding["code"].as_str().unwrap()).collect();
        assert_eq!(&found, codes, "{text}");
        assert_eq!(is_good, !codes.iter().any(|code| errors.contains(code)), "{text}");
        for finding in findings {
            let told = ["seen", "where", "remedy"].map(|name| finding[name].as_str().unwrap());
            assert!(told.iter().all(|told| !told.is_empty() && text.contains(told)), "{finding}: {text}");
        }
    }
}

#[test]
fn names_and_numbers_are_those_of_the_installation() {
    let folder = copied();
    let planted = Planted::open(&folder.path().join("data"));
    let guest = |n: usize| plant::with(planted.event(n, "view", "item 7"), "user_id", json!("guest"));
    planted.track((0..400).map(guest));
    drop(planted);
    let (is_good, text, report) = examined(folder.path(), &[]);
    assert!(!is_good && text.contains("of one of 61 people, the user `guest`"), "{text}");
    assert!(text.contains("400 of 760 events (53%) are about items") && text.contains("such as `item 7`"), "{text}");
    assert_eq!(report["findings"][0]["count"], 400);
}

#[test]
fn beside_a_server_it_reads_what_it_can_and_says_what_it_cannot() {
    let server = Server::start_in(copied(), &[]);
    let address = server.address.to_string();
    let (is_good, text, report) = examined(server.folder.path(), &["--listen".to_owned(), address]);
    assert!(is_good, "{text}");
    let skipped: Vec<&str> = report["not_looked_at"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(skipped.len() == 1 && skipped[0].contains("GET /v1/dead-letters"), "{skipped:?}");
    assert_eq!(report["events"].as_u64().unwrap() as usize, 6 * PEOPLE);
    let (_, text, report) = examined(server.folder.path(), &["--listen".to_owned(), "127.0.0.1:1".to_owned()]);
    assert_eq!(report["not_looked_at"].as_array().unwrap().len(), 2, "{text}");
    assert!(text.contains("http://127.0.0.1:1/readyz does not tell"), "{text}");
}

/// A consumer that cannot come on, in a server that answers every request.
#[test]
fn beside_a_server_it_is_asked_who_is_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    fs::write(&path, format!("[lake]\nflush_s = 1\n{}", fs::read_to_string(&path).unwrap())).unwrap();
    let server = Server::start_in(folder, &[]);
    post(&server, "/v1/items:batch", &json!({"items": [{"id": "item-1", "title": "Thing"}]}));
    post(&server, "/v1/events", &json!({"events": views(1)}));
    let lake = server.folder.path().join("data/stores/objects/default/data/+lake");
    until("the lake is written", || lake.join("=manifest.json").is_file());
    // A file where the folder of lists is to be: no commit with a list can succeed.
    fs::write(lake.join("+exposures"), "in the way").unwrap();
    until("a list is served", || {
        !post(&server, "/v1/recommend", &json!({"k": 1}))["items"].as_array().unwrap().is_empty()
    });
    let flags = ["--listen".to_owned(), server.address.to_string()];
    until("the lake falls behind", || {
        thread::sleep(Duration::from_secs(3));
        let (_, _, report) = examined(server.folder.path(), &flags);
        let findings = report["findings"].as_array().unwrap();
        let lag = findings.iter().find(|finding| finding["code"] == "consumer_lags");
        lag.is_some_and(|lag| {
            assert!(lag["seen"].as_str().unwrap().contains("`lake` is "), "{lag}");
            assert!(lag["where"].as_str().unwrap().ends_with("/readyz"), "{lag}");
            true
        })
    });
}

#[test]
fn where_there_is_no_installation_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for words in [
        &["doctor", "data"][..],
        &["keys", "list"],
        &["keys", "revoke", "key_none"],
        &["recommenders", "list"],
        &["recommenders", "rollback"],
        &["recommenders", "promote", "ease"],
        &["replay"],
        &["train", "ease", "--lake"],
    ] {
        let output = run(&[words, &["--data", data.to_str().unwrap()]].concat());
        let (is_done, said) = (output.status.success(), said(&output));
        assert!(!is_done && (words.contains(&"promote") || said.contains("there is no installation")), "{said}");
        assert!(!data.exists(), "{words:?}: {said}");
    }
    let folder = copied();
    let data = folder.path().join("data");
    let output = run(&["doctor", "data", "--tenant", "nobody", "--data", data.to_str().unwrap()]);
    assert!(said(&output).contains("there is no tenant nobody; there are default"), "{}", said(&output));
    let output = run(&["doctor", "stores", "--json", "x.json", "--data", data.to_str().unwrap()]);
    assert!(said(&output).contains("flags of `attune doctor data`"), "{}", said(&output));
}
