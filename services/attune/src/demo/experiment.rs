//! The stop about experiments: two ways to make a list, visitors who keep theirs, and what came of each.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_api::moment::now_ms;
use attune_api::rest::analytics::Table;
use attune_api::rest::recommendation::{Context as Place, RecommendRequest, RecommendResponse};
use attune_api::rest::tracking::EventInput;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use super::crowd::{Person, event};
use super::lists::{PATIENCE, PAUSE, Shop};
use super::walk::stop;
use crate::term::{Style, styled};

/// Visitors that we made up.
const VISITORS: usize = 300;
/// Films in each one's list.
const SHOWN: usize = 10;
/// Of the films that he would like, he clicks on one in so many.
const CLICKS_ONE_IN: u64 = 6;
/// So many visitors come again.
const COME_AGAIN: usize = 30;
const IN_FLIGHT: usize = 4;
const SURFACE: &str = "home";
/// The pipeline that shows everybody the same, whose requests the experiment is about.
const POPULAR: &str = "home";
/// The arms: names, and the pipelines that make their lists.
const ARMS: [(&str, &str); 2] = [("for everybody", POPULAR), ("personal", "default")];
/// Arms of such sizes come by chance once in a thousand experiments.
const RATIO_P_MIN: f64 = 0.001;

/// What the client itself has counted of an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counted {
    visitors: u64,
    clicks: u64,
    /// Visitors who clicked at all.
    clicked: u64,
}

/// Shows it.
///
/// # Errors
/// A call failed, somebody changed arms, or the report says something else than what the visitors did.
pub async fn run(shop: &mut Shop) -> Result<()> {
    stop(13, "Which way is better?", "PUT /v1/experiments/{name}, POST /v1/analytics/experiments");
    begin(shop).await?;
    let now_ms = now_ms();
    let mut visitors: Vec<Person> = (0..VISITORS).map(|number| Person::new("visitor", number)).collect();
    let past: Vec<EventInput> = visitors.iter_mut().flat_map(|visitor| shop.crowd.past(visitor, now_ms)).collect();
    shop.send(&past).await?;
    let names: Vec<String> = visitors.iter().map(|visitor| visitor.name.clone()).collect();
    let lists = ask_for(shop, &names).await?;
    let again = ask_for(shop, &names[..COME_AGAIN]).await?;
    for (name, (first, second)) in names.iter().zip(lists.iter().zip(&again)) {
        ensure!(
            first.pipeline == second.pipeline,
            "{name} was first in {}, then in {}",
            first.pipeline,
            second.pipeline
        );
    }
    let (clicks, counted) = clicks(shop, &mut visitors, &lists)?;
    shop.send(&clicks).await?;
    say!(
        "   {VISITORS} visitors whom we made up see a list of {SHOWN}, and click on one in {CLICKS_ONE_IN} of the films\n   \
         that they would like; {COME_AGAIN} of them come again and are in the same arm"
    );
    show(&report(shop, &counted).await?)
}

/// Defines the experiment, and waits until lists are made by it.
async fn begin(shop: &Shop) -> Result<()> {
    shop.define(&format!("/v1/pipelines/{POPULAR}"), json!({"sources": [{"source": "popular"}]})).await?;
    let share = 1.0 / ARMS.len() as f64;
    let arms: Vec<Value> =
        ARMS.iter().map(|(name, pipeline)| json!({"name": name, "share": share, "pipeline": pipeline})).collect();
    shop.define("/v1/experiments/personal-lists", json!({"pipeline": POPULAR, "arms": arms})).await?;
    let start = Instant::now();
    for number in 0.. {
        // Somebody new each time, since half of them are in the arm that is as it was. They are on no surface.
        let ask = request(&format!("passer-by-{number}"), None);
        let list: Result<RecommendResponse> = shop.rest.post("/v1/recommend", &ask).await;
        if list.as_ref().is_ok_and(|list| list.pipeline != POPULAR) {
            break;
        }
        ensure!(start.elapsed() < PATIENCE, "the experiment has not begun: {list:?}");
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

fn request(user: &str, surface: Option<&str>) -> RecommendRequest {
    RecommendRequest {
        user_id: Some(user.to_owned()),
        k: Some(SHOWN),
        pipeline: Some(POPULAR.to_owned()),
        context: surface.map(|surface| Place { surface: Some(surface.to_owned()), ..Place::default() }),
        ..RecommendRequest::default()
    }
}

/// A list for each, in their order.
async fn ask_for(shop: &Shop, names: &[String]) -> Result<Vec<RecommendResponse>> {
    let ask = |name: String| async move { shop.rest.post("/v1/recommend", &request(&name, Some(SURFACE))).await };
    stream::iter(names.to_vec()).map(ask).buffered(IN_FLIGHT).try_collect().await
}

/// What the visitors click on, and what that makes of each arm, by the arm's name.
fn clicks(
    shop: &Shop,
    visitors: &mut [Person],
    lists: &[RecommendResponse],
) -> Result<(Vec<EventInput>, BTreeMap<&'static str, Counted>)> {
    let (mut events, mut counted) = (Vec::new(), BTreeMap::<_, Counted>::new());
    for (visitor, list) in visitors.iter_mut().zip(lists) {
        let (arm, _) = *ARMS.iter().find(|(_, pipeline)| *pipeline == list.pipeline).context("a list of no arm")?;
        let before = events.len();
        for item in &list.items {
            if shop.crowd.likes(visitor, &item.item_id) && visitor.one_in(CLICKS_ONE_IN) {
                let click = event("click", &visitor.name, &item.item_id);
                let (request_id, surface) = (Some(list.request_id.clone()), Some(SURFACE.to_owned()));
                events.push(EventInput { request_id, surface, ..click });
            }
        }
        let clicks = (events.len() - before) as u64;
        let counted = counted.entry(arm).or_default();
        counted.visitors += 1;
        counted.clicks += clicks;
        counted.clicked += u64::from(clicks > 0);
    }
    Ok((events, counted))
}

/// A row of the report.
#[derive(Debug)]
struct Arm {
    name: String,
    counted: Counted,
    /// Of its visitors, how many clicked: the share, and the interval of 95%.
    rate: [f64; 3],
    ratio_p: f64,
}

fn arms(table: &Table) -> Result<Vec<Arm>> {
    let place = |name: &str| table.column(name).with_context(|| format!("the report has no column {name}"));
    let row = |row: &Vec<Value>| {
        let count = |name: &str| Ok::<_, anyhow::Error>(row[place(name)?].as_u64().unwrap_or(0));
        let number = |name: &str| Ok::<_, anyhow::Error>(row[place(name)?].as_f64().unwrap_or(f64::NAN));
        Ok(Arm {
            name: row[place("arm")?].as_str().unwrap_or_default().to_owned(),
            counted: Counted { visitors: count("users")?, clicks: count("clicks")?, clicked: count("converted")? },
            rate: [number("rate")?, number("rate_low")?, number("rate_high")?],
            ratio_p: number("ratio_p")?,
        })
    };
    table.rows.iter().map(row).collect()
}

/// Asks until what was shown a moment ago is in the report, which then has to be what the visitors did.
async fn report(shop: &Shop, counted: &BTreeMap<&'static str, Counted>) -> Result<Vec<Arm>> {
    let question = json!({"filter": format!("surface == {SURFACE:?}")});
    let start = Instant::now();
    loop {
        let table: Table = shop.rest.post("/v1/analytics/experiments", &question).await?;
        let arms = arms(&table)?;
        if arms.iter().map(|arm| (arm.name.as_str(), arm.counted)).eq(counted.iter().map(|(name, one)| (*name, *one))) {
            return Ok(arms);
        }
        ensure!(start.elapsed() < PATIENCE, "the visitors did {counted:?}, the report says {arms:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn show(arms: &[Arm]) -> Result<()> {
    say!("   {}", styled(Style::Dim, "arm              visitors   clicks   clicked at all"));
    for Arm { name, counted, rate, .. } in arms {
        let [mean, low, high] = rate.map(|share| 100.0 * share);
        let rate = styled(Style::Green, format!("{mean:>4.0}%"));
        let range = styled(Style::Dim, format!("({low:.0}% to {high:.0}%)"));
        say!("   {name:<16} {:>8} {:>8}   {rate} {range}", counted.visitors, counted.clicks);
    }
    let [everybody, personal] = arms else { anyhow::bail!("{} arms instead of two: {arms:?}", arms.len()) };
    ensure!(personal.ratio_p >= RATIO_P_MIN, "the arms are of sizes that chance hardly gives: {arms:?}");
    let size = format!("arms of these sizes: p = {:.2}", personal.ratio_p);
    ensure!(personal.rate[1] > everybody.rate[2], "personal lists are not certainly better: {arms:?}");
    say!("   personal lists are better, beyond both intervals {}", styled(Style::Dim, format!("({size})")));
    Ok(())
}
