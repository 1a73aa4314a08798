//! Training beside live traffic, on the same cores: not how fast it is, which depends on the machine, but what makes it
//! stand back. Every thread that trains has the lowest priority that the system knows, which next to a thread that
//! answers is one part in seventy of a core, and nobody else stands back. That they are no more than was configured is
//! tested where they are started, in `ranking/src/train/parallel.rs`.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http;
use crate::server::{Server, config};
use crate::trainer::note;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(120);
const PEOPLE: usize = 200;
const FILMS: usize = 120;
/// The lowest priority (setpriority(2)).
const NICE_MAX: i64 = 19;

/// Name and priority of every thread of a process, by proc(5).
fn threads_of(process: u32) -> Vec<(String, i64)> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    // Threads may end while they are looked at.
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    let read = |stat: String| {
        let (name, figures) = stat.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.to_owned(), figures.split(' ').nth(16)?.parse().ok()?))
    };
    stats.filter_map(read).collect()
}

fn post(server: &Server, path: &str, body: &Value) -> Value {
    let answer = http::post(server.address, path, server.key(), body);
    assert!((200..300).contains(&answer.status), "{path}: {}", answer.text());
    answer.json()
}

fn start() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let ours = "[lake]\nflush_s = 1\n[trainer]\nmodel = \"als\"\noptions = [\"factors=96\", \"epochs=150\"]\n\
         every_s = 300000000\nevents_min = 1000\nthreads = 2\n";
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{ours}{text}")).unwrap();
    Server::start_in(folder, &[])
}

#[test]
#[cfg(target_os = "linux")]
fn threads_that_train_stand_back_and_no_others_do() {
    let server = start();
    let film = |number: usize| json!({"id": format!("film-{number}"), "title": format!("Film {number}")});
    post(&server, "/v1/items:batch", &json!({"items": (0..FILMS).map(film).collect::<Vec<_>>()}));
    let click = |person: usize, step: usize| {
        let film = 2 * ((person * 5 + step * 7) % (FILMS / 2)) + person % 2;
        json!({"type": "click", "user_id": format!("p{person}"), "item_id": format!("film-{film}")})
    };
    for people in (0..PEOPLE).collect::<Vec<_>>().chunks(50) {
        let clicks = people.iter().flat_map(|person| (0..12).map(|step| click(*person, step)));
        post(&server, "/v1/events", &json!({"events": clicks.collect::<Vec<_>>()}));
    }
    let nice = threads_of(server.id()).iter().map(|(_, nice)| *nice).min().unwrap();
    assert!(nice < NICE_MAX, "this test's own priority is the lowest that there is");
    let (is_over, server) = (AtomicBool::new(false), &server);
    let (mut trained, mut others) = (BTreeSet::new(), BTreeSet::new());
    thread::scope(|scope| {
        // Somebody asks all the while, and gets an answer each time.
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                post(server, "/v1/recommend", &json!({"user_id": "p3", "k": 5}));
            }
        });
        let begun = Instant::now();
        while note(server).is_empty() {
            assert!(begun.elapsed() < PATIENCE, "nothing is trained");
            let looked = Instant::now();
            while looked.elapsed() < Duration::from_millis(200) {
                let is_training = |(name, _): &(String, i64)| name.starts_with("training");
                let (training, rest): (Vec<_>, Vec<_>) = threads_of(server.id()).into_iter().partition(is_training);
                trained.extend(training.into_iter().map(|(_, nice)| nice));
                others.extend(rest.into_iter().filter(|(_, other)| *other != nice));
                thread::sleep(Duration::from_millis(1));
            }
        }
        is_over.store(true, Ordering::Relaxed);
        asking.join().unwrap();
    });
    assert!(note(server).contains("promoted"), "{}", note(server));
    // A thread sets its priority as its first act, so that one may be seen that has not come to it.
    trained.remove(&nice);
    assert_eq!(trained, BTreeSet::from([NICE_MAX]), "of the threads that train");
    assert_eq!(others, BTreeSet::new(), "nobody else has another priority than the process");
}
