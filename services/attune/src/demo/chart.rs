//! The last stop: how many events there were each minute, asked of the server and drawn.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_api::moment::now_ms;
use attune_api::rest::Timestamp;
use attune_api::rest::analytics::Table;
use serde_json::{Value, json};

use super::crowd::PAST_MS;
use super::lists::Shop;
use super::walk::{millis, stop};
use crate::term::{Style, styled};

const MINUTE_MS: i64 = 60_000;
/// The walk since the lists takes less, on the slowest machine and stores.
const WALK_MS: i64 = 60 * MINUTE_MS;
/// Minutes that fit beside each other.
const COLUMNS: usize = 24;
/// Lines of the chart.
const LINES: usize = 5;
/// From an eighth of a line to a whole one.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Shows it.
///
/// # Errors
/// The call failed, or the server has counted something else than it acknowledged.
pub async fn run(shop: &Shop) -> Result<()> {
    stop(14, "The last minutes", "POST /v1/analytics/timeseries");
    let from_ms = now_ms() - PAST_MS - WALK_MS;
    let question = json!({"from": Timestamp(from_ms).text(), "interval": "minute", "group_by": ["type"]});
    let start = Instant::now();
    let table: Table = shop.rest.post("/v1/analytics/timeseries", &question).await?;
    let took = start.elapsed();
    let (mut by_minute, mut by_type) = (BTreeMap::<i64, u64>::new(), BTreeMap::<String, u64>::new());
    for row in &table.rows {
        let (minute_ms, kind, count) = cell(&table, row).with_context(|| format!("no row of the report: {row:?}"))?;
        *by_minute.entry(minute_ms.div_euclid(MINUTE_MS)).or_default() += count;
        *by_type.entry(kind).or_default() += count;
    }
    ensure!(by_type == shop.sent, "the server acknowledged {:?} and counts {by_type:?}", shop.sent);
    draw(&by_minute)?;
    let counts: Vec<String> = by_type.iter().map(|(kind, count)| format!("{count} {kind}s")).collect();
    let detail = styled(Style::Dim, format!("({})", millis(took)));
    say!("   {}: every event that was acknowledged, once {detail}", counts.join(", "));
    Ok(())
}

fn cell(table: &Table, row: &[Value]) -> Option<(i64, String, u64)> {
    let at = |name: &str| row.get(table.column(name)?);
    let time = Timestamp::parse(at("time")?.as_str()?)?;
    Some((time.0, at("type")?.as_str()?.to_owned(), at("count")?.as_u64()?))
}

fn draw(by_minute: &BTreeMap<i64, u64>) -> Result<()> {
    let last = *by_minute.keys().last().context("there were events")?;
    let first = (*by_minute.keys().next().unwrap_or(&last)).max(last + 1 - COLUMNS as i64);
    let counts: Vec<u64> = (first..=last).map(|minute| by_minute.get(&minute).copied().unwrap_or(0)).collect();
    let max = counts.iter().copied().max().unwrap_or(0);
    for (line, text) in bars(&counts, LINES).iter().enumerate() {
        let label = if line == 0 { max.to_string() } else { String::new() };
        say!("   {label:>5} {}", styled(Style::Green, text.trim_end()));
    }
    let clock = |minute: i64| Timestamp(minute * MINUTE_MS).text()[11..16].to_owned();
    let width = (3 * counts.len()).saturating_sub(6);
    say!(
        "   {:>5} {:<width$} {}",
        "",
        clock(first),
        styled(Style::Dim, format!("{} UTC, events a minute", clock(last)))
    );
    Ok(())
}

/// Columns of two characters, the highest of them as high as all lines, to an eighth of a line; from the top.
fn bars(counts: &[u64], lines: usize) -> Vec<String> {
    let max = counts.iter().copied().max().unwrap_or(0).max(1) as u128;
    let all = (8 * lines) as u128;
    // Rounded up: what is not nothing is seen.
    let eighths = |count: u64| (u128::from(count) * all).div_ceil(max) as usize;
    let block = |count: u64, below: usize| match eighths(count).saturating_sub(8 * below).min(8) {
        0 => ' ',
        part => BLOCKS[part - 1],
    };
    let line =
        |below: usize| counts.iter().flat_map(|count| [block(*count, below), block(*count, below), ' ']).collect();
    (0..lines).rev().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_high_as_their_counts() {
        assert_eq!(bars(&[0, 1, 8, 16], 2), ["         ██ ", "   ▁▁ ██ ██ "]);
        assert_eq!(bars(&[1_000_000, 1], 1), ["██ ▁▁ "], "what is not nothing is seen");
        assert_eq!(bars(&[0], 1), ["   "]);
        assert_eq!(bars(&[], 2), ["", ""]);
    }
}
