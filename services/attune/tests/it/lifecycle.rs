//! A server's life: ready, busy, drained, started again.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http::{self, Answer};
use crate::server::{Server, attune, config, config_with, models, run, signal};

/// Texts of the request below: more than any machine here computes before the next look at the queue.
const LONG_REQUEST_TEXTS: usize = 96;

/// What an idle server has besides the program's own file, at most.
const OWN_KIB_MAX: u64 = 190 << 10;

/// One request with tenths of a second of work on a fast machine, and seconds on a busy one.
fn long_request(address: SocketAddr, key: &str) -> thread::JoinHandle<Answer> {
    let text = "the quick brown fox jumps over the lazy dog ".repeat(10);
    let body = json!({"model": "mini", "input": vec![text; LONG_REQUEST_TEXTS]});
    let key = key.to_owned();
    thread::spawn(move || http::post(address, "/v1/embeddings", &key, &body))
}

fn wait_until_busy(address: SocketAddr) {
    let start = Instant::now();
    while http::get(address, "/readyz").json()["queue"]["texts"].as_u64().unwrap() == 0 {
        assert!(start.elapsed() < Duration::from_secs(60), "the request never reached the queue");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn sigterm_lets_what_is_in_flight_finish() {
    let mut server = Server::start(&[]);
    let request = long_request(server.address, server.key());
    wait_until_busy(server.address);
    server.terminate();
    let answer = request.join().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["data"].as_array().unwrap().len(), LONG_REQUEST_TEXTS);
    assert!(server.wait().success(), "a drained server exits with 0");
    assert!(http::call(server.address, "GET", "/livez", None, "").is_err(), "nobody listens any more");
}

#[test]
fn sighup_ends_a_server_in_order_unless_it_is_to_outlive_its_terminal() {
    let mut server = Server::start(&[]);
    // What a write beyond the limit on files is told by, which ends nothing.
    signal(server.id(), "XFSZ");
    assert_eq!(http::get(server.address, "/livez").status, 200);
    signal(server.id(), "HUP");
    assert!(server.wait().success());

    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (config(folder.path()), folder.path().join("data"));
    let plain = attune(&["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap(), "serve"]);
    let mut command = std::process::Command::new("nohup");
    for (name, _) in plain.get_envs() {
        command.env_remove(name);
    }
    command.arg(plain.get_program()).args(plain.get_args()).args(["--listen", "127.0.0.1:0"]);
    let (nothing, piped) = (std::process::Stdio::null, std::process::Stdio::piped);
    let mut child = command.stdin(nothing()).stdout(piped()).stderr(nothing()).spawn().unwrap();
    let mut lines = printed(&mut child);
    assert!(lines.any(|line| line.starts_with("ready")));
    signal(child.id(), "HUP");
    thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none(), "nohup is to be kept");
    signal(child.id(), "TERM");
    lines.for_each(drop);
    assert!(child.wait().unwrap().success());
}

#[test]
fn health_answers_do_not_wait_behind_model_work() {
    let server = Server::start(&["--workers", "1"]);
    let requests: Vec<_> = (0..2).map(|_| long_request(server.address, server.key())).collect();
    wait_until_busy(server.address);
    let mut times = Vec::new();
    while !requests.iter().all(thread::JoinHandle::is_finished) {
        for path in ["/livez", "/readyz", "/metrics"] {
            let start = Instant::now();
            assert_eq!(http::get(server.address, path).status, 200);
            times.push(start.elapsed());
        }
        thread::sleep(Duration::from_millis(20));
    }
    for request in requests {
        assert_eq!(request.join().unwrap().status, 200);
    }
    times.sort();
    eprintln!(
        "{} health answers under load: median {:?}, worst {:?}",
        times.len(),
        times[times.len() / 2],
        times[times.len() - 1]
    );
}

#[test]
fn the_key_is_printed_once_and_kept_as_a_hash() {
    let first = Server::start(&[]);
    let key = first.key().to_owned();
    assert!(first.report.contains(&key));
    let folder = first.stop();

    for file in files_below(&folder.path().join("data")) {
        let bytes = std::fs::read(&file).unwrap();
        let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
        assert!(!found, "{} holds the key", file.display());
    }
    let second = Server::start_in(folder, &[]);
    assert!(second.key.is_none(), "a later start prints no key: {}", second.report);
    let body = json!({"model": "mini", "input": "still the same key"});
    assert_eq!(http::post(second.address, "/v1/embeddings", &key, &body).status, 200);
    let wrong = format!("{}x", &key[..key.len() - 1]);
    assert_eq!(http::post(second.address, "/v1/embeddings", &wrong, &body).status, 401);
}

#[test]
fn a_start_that_fails_makes_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let missing = config_with(folder.path(), &folder.path().join("nowhere"), "sentiment");
    let data = folder.path().join("data");
    let failed = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--config",
        missing.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    assert_eq!(failed.status.code(), Some(1));
    config(folder.path());
    let server = Server::start_in(folder, &[]);
    assert_eq!(server.embed(&["the key that was printed"]).len(), 1);
}

/// Wrong files among those that a start reads, and at last right ones.
#[test]
fn a_start_that_cannot_offer_what_it_should_never_says_that_it_is_ready() {
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../gateway/tests/it/certificates");
    let tls = |key: &str| {
        let (certificate, key) = (certificates.join("one.pem"), certificates.join(key));
        format!("[server.tls]\ncertificate = '{}'\nkey = '{}'\n", certificate.display(), key.display())
    };
    let outside = "[[outside.hosts]]\norigin = \"https://models.example\"\ntoken_file = '/nowhere/token'\n".to_owned();
    for (wrong, why) in [(tls("two.key"), "server.tls"), (outside, "/nowhere/token")] {
        let folder = tempfile::tempdir().unwrap();
        let path = config(folder.path());
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &wrong).unwrap();
        let data = folder.path().join("data");
        let (config, data) = (path.to_str().unwrap(), data.to_str().unwrap());
        let failed = run(&["serve", "--listen", "127.0.0.1:0", "--config", config, "--data", data]);
        let (printed, said) = (String::from_utf8_lossy(&failed.stdout), String::from_utf8_lossy(&failed.stderr));
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains(why), "{why}: {said}");
        assert!(printed.is_empty(), "neither that it is ready nor a key: {printed}");
        assert!(!folder.path().join("data/keys").exists(), "{why}: a key was made that nobody saw");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &tls("one.key")).unwrap();
    let server = Server::start_in(folder, &[]);
    assert!(server.key.is_some(), "{}", server.report);
    let said = format!("https://{}", server.address);
    assert!(server.report.contains(&said) && !server.report.contains("http://"), "{}", server.report);
}

/// A store that takes connections and never says a word holds the start up for an hour.
#[test]
fn sigterm_ends_a_start_that_is_not_over() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let uri = format!("postgres://ann@{}/db", silent.local_addr().unwrap());
    let stores = format!("[stores]\nopen_s_max = 3600\nrelational = '{uri}'\n");
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &stores).unwrap();
    let data = folder.path().join("data");
    let (path, data) = (path.to_str().unwrap(), data.to_str().unwrap());
    let mut child = attune(&["serve", "--listen", "127.0.0.1:0", "--config", path, "--data", data]).spawn().unwrap();
    let (begun, mut connection) = (Instant::now(), None);
    let status = loop {
        if connection.is_none()
            && let Ok((stream, _)) = silent.accept()
        {
            // It has come as far as that store.
            connection = Some(stream);
            assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        }
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if begun.elapsed() > Duration::from_secs(60) => {
                child.kill().unwrap();
                panic!("the start goes on; it came to the store: {}", connection.is_some());
            }
            None => thread::sleep(Duration::from_millis(10)),
        }
    };
    let output = child.wait_with_output().unwrap();
    let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(status.success(), "{said}");
    assert_eq!(printed, "stopped before it was ready\n", "{said}");
}

#[test]
fn a_variable_that_is_no_unicode_and_a_reader_that_leaves_end_nothing() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    let output = attune(&["models", "list"]).env("ODD", odd).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut child = attune(&["models", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The lines that a process prints, as they come.
fn printed(child: &mut std::process::Child) -> impl Iterator<Item = String> + use<> {
    use std::io::BufRead;
    std::io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok)
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn a_demo_server_keeps_neither_a_key_nor_data() {
    let server = Server::start(&["--demo"]);
    assert_eq!(server.embed(&["a key for this run only"]).len(), 1);
    let folder = server.stop();
    let names = std::fs::read_dir(folder.path().join("data")).unwrap().flatten().map(|entry| entry.file_name());
    let left: Vec<_> = names.filter(|name| name != "models").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn ctrl_c_ends_a_demo_in_order_in_the_middle_of_its_walk() {
    let folder = tempfile::tempdir().unwrap();
    let (config, data) = (config(folder.path()), folder.path().join("data"));
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(models(), data.join("models")).unwrap();
    let words = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let mut child = attune(&[&["demo", "--listen", "127.0.0.1:0"], &words[..]].concat()).spawn().unwrap();
    let mut lines = printed(&mut child);
    assert!(lines.any(|line| line.starts_with("1. ")), "the walk begins");
    signal(child.id(), "INT");
    lines.for_each(drop);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_ready_server_says_so_and_how_big_it_is() {
    let server = Server::start(&["--precision", "f32"]);
    let ready = http::get(server.address, "/readyz");
    assert_eq!(ready.status, 200);
    assert_eq!(ready.json()["models"].as_array().unwrap().len(), 2, "{}", ready.text());
    let live = http::get(server.address, "/livez");
    assert_eq!(live.status, 200);
    assert!(live.head.contains("x-request-id: "), "{}", live.head);
    let models = http::call(server.address, "GET", "/v1/models", Some(server.key()), "").unwrap().json();
    let names: Vec<_> = models["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert!(names.contains(&"all-MiniLM-L6-v2") && names.contains(&"sentiment"), "{names:?}");
    // The weights of the two models are 132 MB. What loading took besides is given back within some seconds; how much of the
    // program's own file is resident depends on how it was built, and is told only.
    let own = || server.resident_kib("RssAnon");
    let started = Instant::now();
    while own() >= OWN_KIB_MAX && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(200));
    }
    let own = own();
    eprintln!("resident: {} KiB, {own} KiB without files; {}", server.resident_kib("VmRSS"), server.report.trim_end());
    assert!(own < OWN_KIB_MAX, "{own} KiB");
}
