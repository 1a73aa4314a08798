//! S3: the suite, and the faults of a server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attune_store::ErrorKind;
use attune_store::network::objects::{S3, S3Options};

use super::{put, read};
use crate::own_server::{OwnServer, free_port, say, silent_port};
use crate::servers::{server, tenant};

/// The access key of the servers under `docker/servers`, where the environment has none.
const ACCESS_KEY: (&str, &str) = ("attune", "attune-secret");

fn options() -> Option<S3Options> {
    let uri = server("ATTUNE_TEST_S3")?;
    let with_key = uri.replacen("s3://", &format!("s3://{}:{}@", ACCESS_KEY.0, ACCESS_KEY.1), 1);
    Some(S3Options::from_uri(&uri).or_else(|_| S3Options::from_uri(&with_key)).unwrap())
}

fn local(port: u16) -> S3Options {
    S3Options {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        path_style: true,
        timeout: Duration::from_secs(2),
        attempts: 2,
        ..S3Options::new("attune", ACCESS_KEY.0, ACCESS_KEY.1)
    }
}

async fn open() -> Option<(S3, ())> {
    Some((S3::open(options()?).await.unwrap(), ()))
}

objects_suite!(open);

/// Whether the server says that it is MinIO, in the head of any answer.
async fn is_minio(endpoint: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Some(host) = endpoint.strip_prefix("http://") else { return false };
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    connection.write_all(format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).lines().any(|line| line.eq_ignore_ascii_case("server: minio"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_hold_what_lies_below_an_object() {
    let Some(options) = options() else { return };
    if is_minio(options.endpoint.as_deref().unwrap_or_default()).await {
        say("skipped: MinIO leaves out of its lists what lies below an object; Amazon's S3 does not");
        return;
    }
    let objects = S3::open(options).await.unwrap();
    super::suite::lists_hold_what_lies_below_an_object(&objects, &tenant()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_absent_is_named() {
    let port = free_port();
    let error = S3::open(local(port)).await.err().unwrap();
    assert!(error.kind == ErrorKind::Unavailable && error.is_retryable(), "{error}");
    assert!(error.detail.contains(&format!("127.0.0.1:{port}")) && error.detail.contains("refused"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_never_answers_is_not_waited_for() {
    let began = Instant::now();
    let error = S3::open(local(silent_port().await)).await.err().unwrap();
    assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_secret_is_denied_and_not_shown() {
    let Some(mut options) = options() else { return };
    options.credentials.1 = "hidden-secret".to_owned();
    let error = S3::open(options).await.err().unwrap();
    assert!(error.kind == ErrorKind::Denied && !error.is_retryable(), "{error}");
    assert!(!format!("{error:?}").contains("hidden-secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_a_killed_server() {
    if server("ATTUNE_TEST_S3").is_none() {
        return;
    }
    let port = free_port();
    let minio = OwnServer::start("s3", vec![("S3_PORT", port.to_string())]).await;
    let objects = Arc::new(S3::open(S3Options { attempts: 1, ..local(port) }).await.unwrap());
    let tenant = tenant();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (objects, tenant, stop) = (objects.clone(), tenant.clone(), stop.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("{writer}/{number}");
                    match put(&*objects, &tenant, &key, key.clone().repeat(1_000)).await {
                        Ok(_) => acknowledged.push(key),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
                acknowledged
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(2)).await;
    minio.run("kill").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    minio.run("start").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for writer in writers {
        acknowledged.extend(writer.await.unwrap());
    }
    let mut lost = 0;
    for key in &acknowledged {
        let found = read(&*objects, &tenant, key).await;
        lost += usize::from(!found.is_ok_and(|bytes| bytes == key.repeat(1_000).as_bytes()));
    }
    say(&format!("S3, killed under writes: {} objects acknowledged, {lost} lost", acknowledged.len()));
    assert!(acknowledged.len() > 20, "{} objects are too few to tell", acknowledged.len());
    assert_eq!(lost, 0);
}
