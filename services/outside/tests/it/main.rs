//! A service of somebody's own over a real connection, whatever it does.

mod service;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use attune_api::outside::{Outside, OutsideError, Wait};
use attune_api::rest::outside::{OutsideItem, OutsideRequest};
use attune_outside::{Host, HttpOutside, OutsideConfig};
use attune_store::guard::BreakerSettings;

use crate::service::Service;

/// Far longer than anything here takes: a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

fn config(service: &Service) -> OutsideConfig {
    let host = Host { origin: service.origin.clone(), ..Host::default() };
    OutsideConfig { hosts: vec![host], ..OutsideConfig::default() }
}

fn wait(at_most: Duration) -> Wait {
    Wait { at_most, until: Instant::now() + PATIENCE }
}

fn request() -> OutsideRequest {
    OutsideRequest { request_id: "list-1".into(), tenant: "shop".into(), k: 10, ..OutsideRequest::default() }
}

async fn ask(outside: &HttpOutside, url: &str, wait: Wait) -> Result<Vec<OutsideItem>, OutsideError> {
    tokio::time::timeout(2 * PATIENCE, outside.ask(url, &request(), wait)).await.expect("it hangs")
}

/// Never opens.
fn patient() -> BreakerSettings {
    BreakerSettings { calls_min: usize::MAX, ..BreakerSettings::default() }
}

#[tokio::test]
async fn a_service_is_told_what_is_wanted_and_nothing_of_the_caller() {
    let (service, folder) = (Service::start().await, tempfile::tempdir().unwrap());
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "s3cret\n").unwrap();
    let host = Host { origin: service.origin.clone(), token_file, ..Host::default() };
    let outside = HttpOutside::new(&OutsideConfig { hosts: vec![host], ..OutsideConfig::default() }).unwrap();
    let items = ask(&outside, &service.at("/good?a=b"), wait(PATIENCE)).await.unwrap();
    assert_eq!(items.iter().map(|item| item.score).collect::<Vec<_>>(), [0.0, 1.0, 2.0]);
    let (head, body) = service.heard.calls.lock().unwrap()[0].clone();
    let (line, headers) = head.split_once("\r\n").unwrap();
    assert_eq!(line, "post /good?a=b http/1.1");
    let mut names: Vec<&str> = headers.lines().map(|line| line.split(':').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "authorization", "content-length", "content-type", "host", "user-agent"]);
    assert!(headers.contains("authorization: bearer s3cret"));
    assert_eq!(body, r#"{"request_id":"list-1","tenant":"shop","pipeline":"","source":"","task":"propose","k":10}"#);
}

#[tokio::test]
async fn whatever_a_service_does_is_told_and_over_in_time() {
    let service = Service::start().await;
    let outside = HttpOutside::new(&config(&service)).unwrap().with_breaker(patient());
    for (path, said) in [
        ("/500", "answered 500"),
        ("/404", "answered 404"),
        ("/moved", "redirections are not followed"),
        ("/rubbish", "answered something else than"),
        ("/infinite", "answered something else than"),
        ("/many", "answered 1001 items"),
        ("/long", "answered more than 1048576 bytes"),
        ("/endless", "answered more than 1048576 bytes"),
        ("/cut", "broke off in its answer"),
        ("/shut", "closed the connection without an answer"),
        ("/no-http", "closed the connection without an answer"),
        ("/heads", "closed the connection without an answer"),
    ] {
        let error = ask(&outside, &service.at(path), wait(PATIENCE)).await.unwrap_err();
        assert!(matches!(&error, OutsideError::Failed(told) if told.contains(said)), "{path}: {error}");
        assert!(!error.to_string().contains("secret") && !error.to_string().contains(&service.origin), "{error}");
    }
    for path in ["/never", "/drip"] {
        let error = ask(&outside, &service.at(path), wait(SHORT)).await.unwrap_err();
        assert!(matches!(error, OutsideError::Late(_)), "{path}: {error}");
        let until = Wait { at_most: PATIENCE, until: Instant::now() + SHORT };
        let error = ask(&outside, &service.at(path), until).await.unwrap_err();
        assert!(matches!(error, OutsideError::Late(_)), "{path}: {error}");
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let host = Host { origin: format!("http://{nobody}"), ..Host::default() };
    let outside = HttpOutside::new(&OutsideConfig { hosts: vec![host], ..OutsideConfig::default() }).unwrap();
    let error = ask(&outside, &format!("http://{nobody}/"), wait(PATIENCE)).await.unwrap_err();
    assert_eq!(error, OutsideError::Failed("cannot be reached".into()));
    assert!(service.calls() > 0 && ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_err());
}

#[tokio::test]
async fn only_hosts_that_the_operator_names_are_asked() {
    let (service, other) = (Service::start().await, Service::start().await);
    let mut config = config(&service);
    config.hosts[0].tenants = vec!["shop".into()];
    let outside = HttpOutside::new(&config).unwrap();
    let port = service.origin.rsplit(':').next().unwrap();
    let theirs = other.origin.strip_prefix("http://").unwrap();
    for url in [
        other.at("/good"),
        format!("{}@{theirs}/good", service.origin),
        format!("http://ann:secret@127.0.0.1:{port}/good"),
        format!("https://127.0.0.1:{port}/good"),
        format!("http://localhost:{port}/good"),
        "http://127.0.0.1/good".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::1]/good".to_owned(),
        "file:///etc/passwd".to_owned(),
        format!("{}/good#there", service.origin),
        service.at(&"/x".repeat(2_000)),
        "good".to_owned(),
        String::new(),
    ] {
        let why = outside.check("shop", &url).expect_err(&url);
        assert!(!why.is_empty());
        let error = ask(&outside, &url, wait(PATIENCE)).await.unwrap_err();
        assert!(matches!(error, OutsideError::NotAsked(_)), "{url}: {error}");
    }
    assert!(outside.check("another", &service.at("/good")).is_err(), "the host is the shop's");
    assert_eq!(outside.check("shop", &service.at("/good")), Ok(()));
    // Where it points is asked no more than anything else, though it is a host that may be asked.
    assert!(ask(&outside, &service.at("/moved"), wait(PATIENCE)).await.is_err());
    assert_eq!((service.calls(), other.heard.connections.load(Ordering::Relaxed)), (1, 0));
    let none = HttpOutside::new(&OutsideConfig::default()).unwrap();
    assert!(none.check("shop", &service.at("/good")).unwrap_err().contains("[outside]"));
}

#[tokio::test]
async fn an_address_that_fails_is_left_alone_and_asked_again() {
    let service = Service::start().await;
    let pause = Duration::from_millis(1);
    let breaker = BreakerSettings { pause_min: PATIENCE, ..BreakerSettings::default() };
    let outside = HttpOutside::new(&config(&service)).unwrap().with_breaker(breaker);
    for _ in 0..breaker.calls_min {
        assert!(matches!(ask(&outside, &service.at("/500"), wait(PATIENCE)).await, Err(OutsideError::Failed(_))));
    }
    let error = ask(&outside, &service.at("/500"), wait(PATIENCE)).await.unwrap_err();
    assert!(error.to_string().starts_with("it is not asked: 5 of its last 5 calls failed"), "{error}");
    assert_eq!(service.calls(), breaker.calls_min, "nobody came");
    assert!(ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_ok(), "another address of the host");

    let breaker = BreakerSettings { pause_min: pause, pause_max: pause, ..breaker };
    let outside = HttpOutside::new(&config(&service)).unwrap().with_breaker(breaker);
    service.heard.is_ill.store(true, Ordering::Relaxed);
    for _ in 0..breaker.calls_min {
        assert!(ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_err());
    }
    service.heard.is_ill.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    while ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_err() {
        assert!(begun.elapsed() < PATIENCE, "it is not asked again");
        tokio::time::sleep(pause).await;
    }
    assert!(ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_ok());
}

#[tokio::test]
async fn who_is_not_waited_for_says_nothing_against_the_service() {
    let service = Service::start().await;
    let outside = HttpOutside::new(&config(&service)).unwrap();
    for _ in 0..20 {
        let until = Wait { at_most: PATIENCE, until: Instant::now() + Duration::from_millis(1) };
        assert!(matches!(ask(&outside, &service.at("/never"), until).await, Err(OutsideError::Late(_))));
        let (url, request) = (service.at("/never"), request());
        let gone = outside.ask(&url, &request, wait(PATIENCE));
        assert!(tokio::time::timeout(Duration::from_millis(1), gone).await.is_err());
    }
    let error = ask(&outside, &service.at("/never"), wait(SHORT)).await.unwrap_err();
    assert!(matches!(error, OutsideError::Late(_)), "it is still asked: {error}");
}

#[tokio::test]
async fn a_host_has_no_more_connections_than_places() {
    let service = Service::start().await;
    let outside =
        HttpOutside::new(&OutsideConfig { calls_max: 3, ..config(&service) }).unwrap().with_breaker(patient());
    let outside = Arc::new(outside);
    let url = service.at("/never");
    let held: Vec<_> = (0..3)
        .map(|_| {
            let (outside, url) = (outside.clone(), url.clone());
            tokio::spawn(async move { ask(&outside, &url, wait(PATIENCE)).await })
        })
        .collect();
    let begun = Instant::now();
    while service.calls() < 3 {
        assert!(begun.elapsed() < PATIENCE, "three are under way");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = ask(&outside, &service.at("/good"), wait(SHORT)).await.unwrap_err();
    assert!(matches!(&error, OutsideError::NotAsked(told) if told.contains("all places")), "{error}");
    held.iter().for_each(tokio::task::JoinHandle::abort);
    for call in held {
        call.await.unwrap_err();
    }
    for _ in 0..10 {
        assert!(ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_ok(), "places are given back");
    }
    assert!(service.heard.connections.load(Ordering::Relaxed) <= 4, "one is used again and again");
}

#[tokio::test]
async fn calls_are_counted_by_what_came_of_them() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let _local = metrics::set_default_local_recorder(&recorder);
    let service = Service::start().await;
    let breaker = BreakerSettings { pause_min: PATIENCE, ..BreakerSettings::default() };
    let outside = HttpOutside::new(&config(&service)).unwrap().with_breaker(breaker);
    assert!(ask(&outside, &service.at("/good"), wait(PATIENCE)).await.is_ok());
    for _ in 0..6 {
        assert!(ask(&outside, &service.at("/500"), wait(PATIENCE)).await.is_err());
    }
    assert!(ask(&outside, &service.at("/never"), wait(SHORT)).await.is_err());
    let (text, origin) = (recorder.handle().render(), &service.origin);
    for (outcome, count) in [("ok", 1), ("failed", 5), ("not_asked", 1), ("late", 1)] {
        let line = format!("attune_outside_calls_total{{origin=\"{origin}\",outcome=\"{outcome}\"}} {count}");
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(text.contains(&format!("attune_outside_breakers_open{{origin=\"{origin}\"}} 1")), "{text}");
    assert!(text.contains(&format!("attune_outside_call_seconds_count{{origin=\"{origin}\"}} 7")), "{text}");
}
