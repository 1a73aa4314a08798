//! The card of a recommender, for a person: what it is, what it learned from, how good it is, how to make it again.

use std::fmt::Write;

use attune_ranking::evaluate::Report;
use attune_ranking::score::RankBand;
use serde_json::Value;

use super::store::{DataCard, Stored};
use super::{Measured, Settings};

/// The card in Markdown.
pub(super) fn card(stored: &Stored) -> String {
    let Stored { name, command, settings, data, measured, blend, .. } = stored;
    let mut card = format!("# {name}\n\nA recommender: {}.\n\n", about(settings));
    write_line(
        &mut card,
        format_args!("Written by `{command}`; that command on the same file writes the same bytes.\n"),
    );
    figures(&mut card, measured);
    lists(&mut card, blend);
    options(&mut card, settings);
    describe(&mut card, data);
    card.push_str(
        "\n## Limits\n\n\
         It knows the users and items of these events and nothing of others: a new user is answered by the items of his\n\
         history, and without one by what is popular; a new item is never recommended before the next training. Figures\n\
         on held-out events say how well it foretells what people did, not what a recommendation changes.\n",
    );
    card
}

fn about(settings: &Settings) -> &'static str {
    match settings {
        Settings::Popular => "what everybody likes, the same list for all",
        Settings::ItemKnn(_) => "item neighbours, by cosine with shrinkage",
        Settings::Als(_) => "a factor model (implicit alternating least squares)",
        Settings::Ease(_) => "a linear item-to-item model in closed form (EASE)",
        Settings::Sequential(_) => "what comes next, from a history that fades",
        Settings::NaiveBayes(_) => "what is liked lately, and what goes with it",
        Settings::Content(_) => "a factor model in which new items are placed by their attributes",
        Settings::Blend(_) => "a weighted sum of several models",
        Settings::Vectors(_) => "vectors that were made elsewhere",
    }
}

fn figures(card: &mut String, measured: &Measured) {
    card.push_str("## Figures\n\n");
    let report = match measured {
        Measured::Not { reason } => return write_line(card, format_args!("Not measured: {reason}.\n")),
        Measured::HeldOut(report) => report,
    };
    let Report { protocol, seed, k, bootstrap, groups, .. } = &**report;
    write_line(
        card,
        format_args!(
            "Of a model with the same options, trained without the events that it was asked about: protocol `{protocol}`,\n\
             seed {seed}, every item ranked, lists of {k}; intervals of {}% over users. The model of this folder was then\n\
             trained on all events.\n",
            100.0 * bootstrap.level
        ),
    );
    for group in groups {
        if group.users == 0 {
            write_line(card, format_args!("{}: nobody to ask.\n", group.name));
            continue;
        }
        write_line(
            card,
            format_args!("| {}, {} users | mean | from | to |\n|---|---|---|---|", group.name, group.users),
        );
        for (metric, interval) in &group.metrics {
            let (name, mean, low, high) = (metric.name(), interval.mean, interval.low, interval.high);
            write_line(card, format_args!("| {name}@{k} | {mean:.4} | {low:.4} | {high:.4} |"));
        }
        write_line(card, format_args!("| coverage | {:.4} | | |\n", group.coverage));
    }
}

/// What was learned beside the model; it depends on the catalogue, and the command alone does not make it again.
fn lists(card: &mut String, blend: &[RankBand]) {
    if blend.is_empty() {
        return;
    }
    card.push_str(
        "## In lists\n\n\
         What the ranks of each source, and features of the items, weigh best, by how many events are known of a user:\n\
         learned from lists for users of whom something was held back, with the catalogue as it was then.\n\n",
    );
    for RankBand { events_min, weights } in blend {
        let weighty = weights.iter().filter(|(_, weight)| **weight > 0.0);
        let weights: Vec<String> = weighty.map(|(name, weight)| format!("{name} {weight:.2}")).collect();
        write_line(card, format_args!("- from {events_min} on: {}", weights.join(", ")));
    }
    card.push('\n');
}

fn options(card: &mut String, settings: &Settings) {
    card.push_str("## Options\n\n");
    match settings.options() {
        Value::Null => card.push_str("None.\n\n"),
        options => {
            let text = serde_json::to_string_pretty(&options).expect("plain data");
            write_line(card, format_args!("```json\n{text}\n```\n"));
        }
    }
}

fn describe(card: &mut String, data: &DataCard) {
    card.push_str("## Data\n\n");
    for input in &data.inputs {
        let (role, file, bytes, sha256) = (&input.role, &input.file, input.bytes, &input.sha256);
        write_line(card, format_args!("- {role}: `{file}`, {bytes} bytes, SHA-256 `{sha256}`"));
    }
    let (users, items, events, rejected) = (data.users, data.items, data.events, data.rejected);
    write_line(card, format_args!("- {users} users, {items} items, {events} events; {rejected} rows were left out"));
    if let (Some(first), Some(last)) = (data.first, data.last) {
        write_line(card, format_args!("- from {} to {}", date(first), date(last)));
    }
    for (kind, count) in &data.kinds {
        let worth = serde_json::to_string(data.worth.of(kind)).expect("plain data");
        write_line(card, format_args!("- `{kind}`: {count} events, each worth `{worth}`"));
    }
}

fn date(seconds: i64) -> String {
    let time = chrono::DateTime::from_timestamp(seconds, 0);
    time.map_or_else(|| seconds.to_string(), |time| time.format("%Y-%m-%d").to_string())
}

fn write_line(card: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(card, "{line}").expect("a string takes all that is written to it");
}
