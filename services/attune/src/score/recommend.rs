//! What `attune score --task recommend` needs beside its job: a verified recommender, and what is known of items.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use attune_batch::read::{ColumnMap, ItemAttributes, KindFlag};
use attune_batch::recommender::{self, Recommender};
use attune_batch::task::{ItemFilter, Recommend, RecommendOptions};
use attune_kernels::Isa;
use attune_ranking::filter::{Expr, Filter, parse};
use clap::Args;

use crate::bench::workers;
use crate::config::Config;
use crate::term;
use crate::train::input_file;
use crate::worth::WorthFlag;

/// Flags of recommendations.
#[derive(Debug, Args)]
#[command(next_help_heading = "Recommendations")]
pub struct Flags {
    /// Items a list [default: 10]
    #[arg(long, value_name = "N")]
    k: Option<usize>,
    /// Leave out what a user has met, in training or in the history of his row [default: true]
    #[arg(long, value_name = "BOOL")]
    exclude_seen: Option<bool>,
    /// Recommend only items for which this holds, such as: category == "news" and price < 20
    #[arg(long, value_name = "EXPR", requires = "items")]
    filter: Option<String>,
    /// Attributes of items: a column item_id, and one for each attribute that the filter names
    #[arg(long, value_name = "FILE", requires = "filter")]
    items: Option<PathBuf>,
    /// A column that has another name in the file of items
    #[arg(long = "items-map", value_name = "OURS=THEIRS", requires = "items")]
    items_columns: Vec<String>,
    /// The kind of an attribute, where its values do not tell: keyword, keyword_list, number, boolean, time
    #[arg(long = "kind", value_name = "NAME=KIND", requires = "items")]
    kinds: Vec<KindFlag>,
    /// What events of a row's history are worth.
    #[command(flatten)]
    worth: WorthFlag,
}

impl Flags {
    /// The flags, and whether each was given.
    pub fn given(&self) -> [(&'static str, bool); 7] {
        [
            ("--k", self.k.is_some()),
            ("--exclude-seen", self.exclude_seen.is_some()),
            ("--filter", self.filter.is_some()),
            ("--items", self.items.is_some()),
            ("--items-map", !self.items_columns.is_empty()),
            ("--kind", !self.kinds.is_empty()),
            ("--worth", self.worth.is_given()),
        ]
    }
}

/// Items a list, where nobody says.
const K: usize = 10;
const MODEL_HINT: &str =
    "--task recommend needs --model: the name of a recommender, or its folder; `attune train` makes one";

/// Loads the recommender, and what is known of items.
///
/// # Errors
/// The folder is missing or damaged, the filter does not parse or fit, or `k` makes no sense.
pub fn load(config: &Config, model: Option<&str>, flags: &Flags) -> Result<Recommend> {
    let folder = recommender::resolve(&config.data, model.context(MODEL_HINT)?)?;
    let recommender = Recommender::load(&folder)?;
    let mut options = RecommendOptions {
        k: flags.k.unwrap_or(K),
        exclude_seen: flags.exclude_seen.unwrap_or(true),
        filter: None,
        worth: None,
        settings: BTreeMap::new(),
        instruction_set: Isa::active()?.to_string(),
        threads: workers(config),
    };
    if flags.worth.is_given() {
        options.worth = Some(flags.worth.or(&recommender.data.worth, config)?);
    }
    if let Some((text, path)) = flags.filter.as_ref().zip(flags.items.as_ref()) {
        let expr = parse(text).with_context(|| format!("--filter {text}"))?;
        let map = ColumnMap::of_flag("--items-map", &flags.items_columns)?;
        let mut names = Vec::new();
        attributes(&expr, &mut names);
        check_kinds(&flags.kinds, &names)?;
        let found = ItemAttributes::read(path, &map, &names, &flags.kinds, &recommender.items).context("--items")?;
        told(&found, recommender.items.len());
        let filter = Filter::check(&expr, &found.schema).with_context(|| format!("--filter {text}"))?;
        options.settings.insert("filter".into(), text.clone());
        options.settings.insert("items_sha256".into(), input_file("items", path, &map)?.sha256);
        options.settings.insert("items_schema".into(), serde_json::to_string(&found.schema)?);
        options.filter = Some(ItemFilter { filter, schema: found.schema, by_row: found.by_row });
    }
    Ok(Recommend::new(recommender, options)?)
}

/// The attributes that a filter names, each once.
fn attributes(expr: &Expr, names: &mut Vec<String>) {
    match expr {
        Expr::Or(parts) | Expr::And(parts) => parts.iter().for_each(|part| attributes(part, names)),
        Expr::Not(part) => attributes(part, names),
        Expr::Is(attribute) | Expr::Compare(attribute, ..) | Expr::In(attribute, _) | Expr::NotIn(attribute, _) => {
            if !names.contains(&attribute.name) {
                names.push(attribute.name.clone());
            }
        }
    }
}

/// Each kind is of an attribute that the filter names, and said once.
fn check_kinds(kinds: &[KindFlag], names: &[String]) -> Result<()> {
    for (number, KindFlag(name, _)) in kinds.iter().enumerate() {
        ensure!(names.contains(name), "--kind {name}=...: the filter names {} and no {name}", names.join(", "));
        let is_first = kinds[..number].iter().all(|KindFlag(before, _)| before != name);
        ensure!(is_first, "--kind names {name} twice: an attribute is of one kind");
    }
    Ok(())
}

fn told(found: &ItemAttributes, items: usize) {
    let kinds: Vec<String> = found.schema.iter().map(|(name, kind)| format!("{name} ({kind})")).collect();
    let with = found.by_row.iter().filter(|attributes| !attributes.is_empty()).count();
    let [with, items, unknown] = [with, items, found.unknown].map(|count| term::grouped(count as u64));
    term::detail(&format!(
        "{with} of {items} items have {}; {unknown} others are unknown to the model",
        kinds.join(", ")
    ));
    if let (Some(first), count) = &found.rejected {
        term::warn(&format!("{count} rows of --items were left out, the first is row {}: {}", first.row, first.reason));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_of_attributes_of_the_filter_and_said_once() {
        let check = |kinds: &[&str]| {
            let kinds: Vec<KindFlag> = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
            check_kinds(&kinds, &["price".to_owned(), "zip".to_owned()]).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["zip=keyword", "price=number"]), Ok(()));
        let unknown = check(&["pric=number"]).unwrap_err();
        assert_eq!(unknown, "--kind pric=...: the filter names price, zip and no pric");
        assert!(check(&["zip=keyword", "zip=number"]).unwrap_err().contains("twice"));
    }
}
