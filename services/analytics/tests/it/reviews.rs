//! What reviews say.

use attune_analytics::Settings;
use attune_api::analytics::{JudgedReview, Report};
use serde_json::{Value, json};

use crate::world::{Reviews, World, ask};
use crate::{MINUTE_MS, START_MS};

fn review(item: &str, minute: i64, sentiment: Option<f64>) -> JudgedReview {
    JudgedReview { item_id: item.into(), time_ms: START_MS + minute * MINUTE_MS, rating: Some(4.0), sentiment }
}

#[tokio::test(flavor = "multi_thread")]
async fn reviews_have_a_mean_by_item_and_time() {
    let world = World::new().await;
    // The newest first; the last one is from before the time that is asked about.
    let reviews = vec![
        review("a", 2_000, Some(-0.5)),
        review("b", 1_500, None),
        review("a", 100, Some(0.25)),
        review("b", 90, Some(1.0)),
        review("a", 80, Some(0.75)),
        review("a", -10, Some(-1.0)),
        review("a", -5_000, Some(-1.0)),
    ];
    let service = world.service(Reviews(reviews), Settings::default());
    let question = |more: Value| {
        let mut question = json!({"from": START_MS / 1_000});
        question["to"] = json!(START_MS / 1_000 + 10 * 24 * 3_600);
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        question
    };
    let found = ask(&service, Report::Sentiment, question(json!({}))).await.unwrap();
    let names: Vec<&str> = found.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["item_id", "sentiment", "judged", "count"]);
    assert_eq!(
        found.rows,
        [vec![json!("a"), json!(0.5 / 3.0), json!(3), json!(3)], vec![json!("b"), json!(1.0), json!(1), json!(2)]]
    );
    let by_day = ask(&service, Report::Sentiment, question(json!({"interval": "day", "group_by": []}))).await.unwrap();
    let means: Vec<&Value> = by_day.rows.iter().map(|row| &row[1]).collect();
    assert_eq!(means, [&json!(2.0 / 3.0), &json!(-0.5)]);
    let good = ask(&service, Report::Sentiment, question(json!({"filter": "sentiment > 0.5"}))).await.unwrap();
    assert_eq!(good.rows.len(), 2);
    let none = ask(&service, Report::Sentiment, json!({"from": 0, "to": 60, "group_by": []})).await.unwrap();
    assert_eq!(none.rows, [[Value::Null, json!(0), json!(0)]]);
}
