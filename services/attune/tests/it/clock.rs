//! A clock that jumps an hour either way: no limit and no token is bypassed. The real binary, under a library of a page that
//! tells it the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tempfile::TempDir;

use crate::http;
use crate::server::{Server, config};

/// When the server thinks that it starts: 2030-01-01T00:00:00Z, for which the tokens below are signed.
const START_S: i64 = 1_893_456_000;
const HOUR_S: i64 = 3_600;
/// The secret of the tokens below, as a JSON Web Key has it.
const SECRET: &str = "YSBzZWNyZXQgZm9yIGEgY2xvY2sgdGhhdCBqdW1wcy4";
/// Good for half an hour from `START_S`.
const GOOD: &str = "\
    eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJhdHR1bmUiLCJzdWIiOiJh\
    bm4iLCJzY29wZSI6InJlYWQiLCJleHAiOjE4OTM0NTc4MDB9.kWpula7cGYUlxWKyAae2Qnx8Fs6KbB7P93Adoosuh7o";
/// Over ten minutes before `START_S`.
const EXPIRED: &str = "\
    eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJhdHR1bmUiLCJzdWIiOiJh\
    bm4iLCJzY29wZSI6InJlYWQiLCJleHAiOjE4OTM0NTU0MDB9.j_YarfMdrNME-O24ZU3xbCIiMMnYnsED91RitvcKTIE";
/// Good from half an hour after `START_S`.
const EARLY: &str = "\
    eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJhdHR1bmUiLCJzdWIiOiJh\
    bm4iLCJzY29wZSI6InJlYWQiLCJuYmYiOjE4OTM0NTc4MDAsImV4cCI6MTg5MzQ2MzIwMH0.Mzso9fHiD4qYn6yxRoe1ihwdY38ejadbk\
    A3dNxIkEvA";

/// A server, and the clock that it sees.
struct Clocked {
    server: Server,
    file: PathBuf,
    real_start_s: i64,
    _library: TempDir,
}

impl Clocked {
    fn start() -> Self {
        let (folder, library) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (file, built) = (library.path().join("offset"), build(library.path()));
        let real_start_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        fs::write(&file, (START_S - real_start_s).to_ne_bytes()).unwrap();
        let keys = folder.path().join("keys.json");
        fs::write(&keys, json!({"keys": [{"kty": "oct", "k": SECRET}]}).to_string()).unwrap();
        let path = config(folder.path());
        let text = fs::read_to_string(&path).unwrap()
            + &format!(
                "[auth.jwt]\nkeys = '{}'\nissuer = \"https://id.example\"\ntenant = \"default\"\nleeway_s = 0\n\
                 [limits]\nkey_per_s = 1\nkey_burst = 100\n",
                keys.display()
            );
        fs::write(&path, text).unwrap();
        let variables = [("LD_PRELOAD", built.to_str().unwrap()), ("TEST_CLOCK_OFFSET", file.to_str().unwrap())];
        let server = Server::start_with(folder, &[], &variables);
        Self { server, file, real_start_s, _library: library }
    }

    /// Sets the clock to so many seconds off where it would have come by itself.
    fn jump(&self, by_s: i64) {
        // In place: the library has the file mapped.
        let offset = START_S - self.real_start_s + by_s;
        let mut file = fs::OpenOptions::new().write(true).open(&self.file).unwrap();
        std::io::Write::write_all(&mut file, &offset.to_ne_bytes()).unwrap();
    }

    fn ask(&self, key: &str) -> u16 {
        http::call(self.server.address, "GET", "/v1/models", Some(key), "").unwrap().status
    }

    fn make(&self, method: &str, path: &str, body: &serde_json::Value) -> serde_json::Value {
        let answer = http::call(self.server.address, method, path, Some(self.server.key()), &body.to_string()).unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.text());
        answer.json()
    }
}

fn build(folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock.c");
    let library = folder.join("clock.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.expect("a C compiler, as the build needs one").success());
    library
}

#[test]
fn a_clock_that_jumps_lets_nobody_in() {
    let clocked = Clocked::start();
    let now = http::call(clocked.server.address, "GET", "/v1/api-keys", Some(clocked.server.key()), "").unwrap();
    assert!(now.text().contains("2030-01-01T00:"), "the server does not see the clock of this test: {}", now.text());

    // Tokens. Those that are over stay so, and those that are not good yet too.
    for by_s in [0, -HOUR_S, HOUR_S, 0] {
        clocked.jump(by_s);
        assert_eq!(clocked.ask(EXPIRED), 401, "{by_s}");
        assert_eq!(clocked.ask(EARLY), 401, "{by_s}");
        assert_eq!(clocked.ask(GOOD), if by_s > 0 { 401 } else { 200 }, "{by_s}");
    }

    // A key, and a signed address, that end in a moment: what has ended does not begin again.
    let spent_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64 - clocked.real_start_s;
    let spec = json!({"title": "short", "scopes": ["read"], "expires_at": START_S + spent_s + 3});
    let short = clocked.make("POST", "/v1/api-keys", &spec)["secret"].as_str().unwrap().to_owned();
    clocked.make("PUT", "/v1/items/film", &json!({"title": "A film"}));
    let place = clocked.make("POST", "/v1/items/film/assets", &json!({"name": "poster.jpg", "good_for_s": 3}));
    let url = place["url"].as_str().unwrap();
    let path = &url[url.find("/v1/").unwrap()..];
    let put = || http::call(clocked.server.address, "PUT", path, None, "a picture").unwrap().status;
    assert_eq!((clocked.ask(&short), put() < 300), (200, true));
    thread::sleep(Duration::from_secs(4));
    for by_s in [0, -HOUR_S, HOUR_S, 0] {
        clocked.jump(by_s);
        assert_eq!((clocked.ask(&short), put()), (401, 403), "{by_s}");
    }

    // A rate: an hour of the clock is no hour.
    let spec = json!({"title": "busy", "scopes": ["read"]});
    let busy = clocked.make("POST", "/v1/api-keys", &spec)["secret"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    let mut allowed = 0_u64;
    for by_s in [0, HOUR_S, 0, -HOUR_S, 0] {
        clocked.jump(by_s);
        for _ in 0..120 {
            allowed += u64::from(clocked.ask(&busy) == 200);
        }
    }
    let at_most = 100 + 1 + begun.elapsed().as_secs();
    assert!((100..=at_most).contains(&allowed), "{allowed} requests were let through, at most {at_most} were due");
}
