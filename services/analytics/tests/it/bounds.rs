//! What a report may take: rows, memory, time, places.

use std::time::{Duration, Instant};

use attune_analytics::Settings;
use attune_api::ErrorCode;
use attune_api::analytics::{Analytics, Report};
use attune_api::log::{Event, Record};
use attune_api::rest::analytics::Question;
use attune_lake::load_manifest;
use serde_json::json;

use crate::world::{Reviews, Silent, World, ask, call, name};
use crate::{MINUTE_MS, START_MS};

const EVENTS: i64 = 60_000;

/// An event a minute, of many people.
async fn many() -> World {
    let world = World::new().await;
    let event = |n: i64| {
        let event = Event {
            event_id: format!("e-{n}"),
            r#type: "view".into(),
            time_ms: START_MS + n * MINUTE_MS,
            surface: Some(format!("surface-{}", n % 7)),
            ..Event::default()
        };
        (format!("subject-with-a-name-of-some-length-{}", (n * 7_919) % 3_001), Record::Event(event))
    };
    world.append("acme", &(0..EVENTS).map(event).collect::<Vec<_>>()).await;
    world.flush("acme", 5_000).await;
    world
}

fn all() -> serde_json::Value {
    json!({"from": START_MS / 1_000, "to": START_MS / 1_000 + 60 * EVENTS})
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_rows_and_too_much_memory_are_refused_and_nothing_is_cut_off() {
    let world = many().await;
    let service = world.service(Reviews(Vec::new()), Settings::default());
    let mut minutes = all();
    minutes["interval"] = "minute".into();
    let refused = ask(&service, Report::Timeseries, minutes).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert!(refused.detail.contains("more than 10000 rows"), "{}", refused.detail);
    let sessions = ask(&service, Report::Sessions, all()).await.unwrap();
    assert!(sessions.rows[0][0].as_i64().unwrap() > 3_000);

    let little = Settings { report_bytes_max: 5 << 20, ..Settings::default() };
    let service = world.service(Reviews(Vec::new()), little.clone());
    let refused = ask(&service, Report::Sessions, all()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Invalid);
    assert!(refused.detail.contains("more than the 5 MiB"), "{}", refused.detail);
    let total = ask(&service, Report::ActiveUsers, all()).await.unwrap();
    assert_eq!(total.rows, [[json!(3_001)]], "what needs less is answered");

    // What a killed process left is gone, and what is sorted goes there.
    let spill = world.folder.path().join("spill");
    std::fs::create_dir_all(spill.join("left")).unwrap();
    let service = world.service(Reviews(Vec::new()), Settings { spill: Some(spill.clone()), ..little });
    assert!(!spill.join("left").exists());
    assert_eq!(ask(&service, Report::Sessions, all()).await.unwrap(), sessions);
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_ends_with_its_time_and_gives_its_place_back() {
    let world = World::new().await;
    let service = world.service(Silent, Settings { reports_max: 1, ..Settings::default() });
    let late = attune_api::Call { deadline: Some(Instant::now() + Duration::from_millis(200)), ..call("acme") };
    let waiting = service.report(&late, Report::Sentiment, Question::default());
    let (waiting, refused) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ask(&service, Report::Timeseries, json!({})).await
    });
    assert_eq!(waiting.unwrap_err().code, ErrorCode::DeadlineExceeded);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Overloaded);
    assert!(refused.retry_after.is_some());
    // Its work is ended in the background.
    let free = async {
        while ask(&service, Report::Timeseries, json!({})).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), free).await.expect("its place is free again");

    let service = world.service(Silent, Settings { time_max: Duration::from_millis(50), ..Settings::default() });
    let refused = ask(&service, Report::Sentiment, json!({})).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::DeadlineExceeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_gone_is_no_mistake_of_who_asks() {
    let world = World::new().await;
    let event = Event { event_id: "e-1".into(), r#type: "view".into(), time_ms: START_MS, ..Event::default() };
    world.append("acme", &[("s-1".to_owned(), Record::Event(event))]).await;
    world.flush("acme", 1).await;
    let service = world.service(Reviews(Vec::new()), Settings::default());
    assert_eq!(ask(&service, Report::ActiveUsers, all()).await.unwrap().rows, [[json!(1)]]);
    for file in load_manifest(&*world.objects, &name("acme")).await.unwrap().files {
        world.objects.delete(&name("acme"), &file.key).await.unwrap();
    }
    let refused = ask(&service, Report::ActiveUsers, all()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Internal);
    assert!(!refused.detail.contains("parquet"), "{}", refused.detail);
}
