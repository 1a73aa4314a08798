//! What a measurement found: plain data for JSON, and a table for a person.

use std::fmt;

use attune_api::v1::Model;
use serde::{Deserialize, Serialize};

use crate::ideal::TokenCost;
use crate::latency::Percentiles;
use crate::tally::OpenRun;

/// Everything that one call of [`run`](crate::run) found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Who answered.
    pub server: Server,
    /// Workers of the ideal servers, as many as the measured one has engines.
    pub workers: usize,
    /// Connections of the generator.
    pub connections: usize,
    /// Different texts, sent in turn, one a request.
    pub texts: usize,
    /// Their tokens on average, special tokens included.
    pub tokens_mean: f64,
    /// One short text, nothing else to do.
    pub idle: Idle,
    /// What a text costs an engine that has only this one, and the ideal server.
    pub idle_cost: TokenCost,
    /// Requests a second that the server answers when there are always enough of them.
    pub capacity_per_s: f64,
    /// The same in tokens.
    pub capacity_tokens_per_s: f64,
    /// `idle_cost`, scaled to this capacity: what it would cost in full batches only.
    pub full_batch_cost: TokenCost,
    /// Shares of capacity.
    pub levels: Vec<Level>,
    /// The highest rate at an objective, if asked for.
    pub knee: Option<KneeReport>,
}

/// The model that answered, as the server describes it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Name of the model.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Engine.
    pub engine: String,
    /// Instruction set of the engine.
    pub instruction_set: String,
    /// Of the matrix products.
    pub precision: String,
}

/// One text at a time on a server with nothing else to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Idle {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// End to end: from the request to its answer.
    pub latency: Percentiles,
    /// The engine within the server, by the server's clock.
    pub infer: Percentiles,
    /// Median of the engine alone, outside any server, if the caller measured it.
    pub engine_alone_ms: Option<f64>,
}

/// Open runs at one share of capacity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Level {
    /// Of capacity.
    pub share: f64,
    /// Requests offered a second.
    pub rate_per_s: f64,
    /// Each with arrivals of its own.
    pub runs: Vec<OpenRun>,
}

/// The search for the knee.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KneeReport {
    /// Longest p99.
    pub objective_ms: f64,
    /// The highest rate that met it, if any did.
    pub rate_per_s: Option<f64>,
    /// Every rate that was tried.
    pub runs: Vec<OpenRun>,
}

impl From<Model> for Server {
    fn from(model: Model) -> Self {
        Self {
            model: model.name,
            version: model.version,
            engine: model.engine,
            instruction_set: model.instruction_set,
            precision: model.precision,
        }
    }
}

impl Idle {
    /// How many times the median of the engine alone the median end to end is. Where the engine alone was not measured,
    /// the server's own figure stands for it.
    pub fn p50_to_engine(&self) -> f64 {
        self.latency.p50_ms / self.engine_alone_ms.unwrap_or(self.infer.p50_ms)
    }
}

impl Level {
    /// The middle one of the runs that count, by how far its p99 is from the ideal server's; `None` if none counts.
    pub fn median_p99_to_ideal(&self) -> Option<f64> {
        middle(self.counting().filter_map(OpenRun::p99_to_ideal))
    }

    /// The same for the server whose texts are as cheap as in a full batch.
    pub fn median_p99_to_full_batches(&self) -> Option<f64> {
        middle(self.counting().filter_map(OpenRun::p99_to_full_batches))
    }

    /// The median goodput of the runs that count.
    pub fn median_goodput_per_s(&self) -> Option<f64> {
        middle(self.counting().map(|run| run.goodput_per_s))
    }

    fn counting(&self) -> impl Iterator<Item = &OpenRun> {
        self.runs.iter().filter(|run| run.void.is_none())
    }
}

/// The middle one, or the upper of the two in the middle.
fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (server, idle) = (&self.server, &self.idle);
        writeln!(f, "{} {}, {} {}", server.model, server.version, server.engine, server.precision)?;
        writeln!(f, "{}, {} workers, {} connections", server.instruction_set, self.workers, self.connections)?;
        let engine =
            if idle.engine_alone_ms.is_some() { "the engine alone" } else { "the engine by the server's clock" };
        writeln!(
            f,
            "idle, one text of {} tokens: p50 {:.2} ms, p99 {:.2} ms; {:.2} times {engine}",
            idle.tokens,
            idle.latency.p50_ms,
            idle.latency.p99_ms,
            idle.p50_to_engine(),
        )?;
        let (calls, tokens) = (self.capacity_per_s, self.capacity_tokens_per_s);
        writeln!(f, "capacity: {calls:.0} texts/s of {:.1} tokens, {tokens:.0} tokens/s\n", self.tokens_mean)?;
        writeln!(
            f,
            "{:>7} {:>8} {:>9} {:>8} {:>8} {:>8} {:>9} {:>9} {:>9} {:>7} {:>11}",
            "offered",
            "texts/s",
            "goodput",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "refused",
            "ideal p99",
            "ratio",
            "full batch"
        )?;
        for level in &self.levels {
            level.runs.iter().try_for_each(|run| row(f, &format!("{:.0}%", 100.0 * level.share), run))?;
        }
        for level in &self.levels {
            self.summary(f, level)?;
        }
        let Some(knee) = &self.knee else { return Ok(()) };
        writeln!(f)?;
        knee.runs.iter().try_for_each(|run| row(f, "sweep", run))?;
        match knee.rate_per_s {
            Some(rate) => writeln!(f, "knee: {rate:.0} texts/s at p99 <= {} ms", knee.objective_ms),
            None => writeln!(f, "knee: no rate that was tried has p99 <= {} ms", knee.objective_ms),
        }
    }
}

impl Report {
    fn summary(&self, f: &mut fmt::Formatter<'_>, level: &Level) -> fmt::Result {
        let Some(goodput) = level.median_goodput_per_s() else {
            return writeln!(f, "{:.0}%: no run counts", 100.0 * level.share);
        };
        write!(
            f,
            "{:.0}%: median goodput {:.0}% of capacity",
            100.0 * level.share,
            100.0 * goodput / self.capacity_per_s
        )?;
        if let Some(ratio) = level.median_p99_to_ideal() {
            write!(f, ", median p99 {ratio:.2} times that of the ideal first-come server")?;
        }
        if let Some(ratio) = level.median_p99_to_full_batches() {
            write!(f, ", {ratio:.2} times if texts cost it no more than in full batches")?;
        }
        writeln!(f)
    }
}

/// One line of the table, and why it does not count.
fn row(f: &mut fmt::Formatter<'_>, name: &str, run: &OpenRun) -> fmt::Result {
    let told = &run.latency;
    let or_dash = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"));
    writeln!(
        f,
        "{name:>7} {:>8.1} {:>9.1} {:>8.2} {:>8.2} {:>8.2} {:>9.2} {:>9} {:>9} {:>7} {:>11}",
        run.rate_per_s,
        run.goodput_per_s,
        told.p50_ms,
        told.p90_ms,
        told.p99_ms,
        told.p999_ms,
        run.refused.count,
        or_dash(run.ideal.map(|ideal| ideal.p99_ms)),
        or_dash(run.p99_to_ideal()),
        or_dash(run.p99_to_full_batches()),
    )?;
    run.void.as_ref().map_or(Ok(()), |why| writeln!(f, "        VOID: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percentiles(p99_ms: f64) -> Percentiles {
        Percentiles { count: 100, mean_ms: 3.0, p50_ms: 2.0, p90_ms: 4.0, p99_ms, p999_ms: 9.0, max_ms: 9.5 }
    }

    fn run(p99_ms: f64, void: Option<&str>) -> OpenRun {
        OpenRun {
            rate_per_s: 50.0,
            seconds: 2.0,
            seed: 1,
            requests: 100,
            goodput_per_s: 49.0,
            latency: percentiles(p99_ms),
            refused: Percentiles::default(),
            late: 0,
            send_lag: percentiles(0.2),
            ideal: Some(percentiles(5.0)),
            ideal_full_batches: Some(percentiles(4.0)),
            void: void.map(str::to_owned),
        }
    }

    fn report() -> Report {
        let cost = TokenCost { fixed_ms: 0.1, per_token_ms: 0.2 };
        Report {
            server: Server::from(Model { name: "mini".into(), precision: "f32".into(), ..Model::default() }),
            workers: 2,
            connections: 4,
            texts: 10,
            tokens_mean: 25.0,
            idle: Idle {
                text: "short".into(),
                tokens: 7,
                latency: percentiles(5.0),
                infer: percentiles(4.0),
                engine_alone_ms: Some(1.6),
            },
            idle_cost: cost,
            capacity_per_s: 100.0,
            capacity_tokens_per_s: 2_500.0,
            full_batch_cost: cost,
            levels: vec![Level {
                share: 0.5,
                rate_per_s: 50.0,
                runs: vec![
                    run(6.0, None),
                    run(500.0, Some("the generator fell behind")),
                    run(7.0, None),
                    run(5.5, None),
                ],
            }],
            knee: Some(KneeReport { objective_ms: 10.0, rate_per_s: Some(80.0), runs: vec![run(9.0, None)] }),
        }
    }

    #[test]
    fn void_runs_are_shown_and_not_counted() {
        let report = report();
        assert_eq!(report.levels[0].median_p99_to_ideal(), Some(1.2));
        assert_eq!(report.levels[0].median_p99_to_full_batches(), Some(1.5));
        let table = report.to_string();
        assert!(table.contains("VOID: the generator fell behind"), "{table}");
        assert!(
            table.contains(
                "median goodput 49% of capacity, median p99 1.20 times that of the ideal first-come server, 1.50 times"
            ),
            "{table}"
        );
        assert!(table.contains("1.25 times the engine alone"), "{table}");
        assert!(table.contains("knee: 80 texts/s at p99 <= 10 ms"), "{table}");
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let json = serde_json::to_value(report()).unwrap();
        let read: Report = serde_json::from_value(json.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json);
        assert_eq!(json["levels"][0]["runs"][0]["latency"]["p99_ms"], 6.0);
    }
}
