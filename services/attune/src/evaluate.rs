//! `attune evaluate`: the figures of a model under a named protocol, in this process or through a running server.
//!
//! Both ways of judging sentiment go through tokenizer, queue and engine; the second adds the wire. They must agree.
//! Recommenders are trained on the protocol's own split, see [`recommend`].

mod off_policy;
mod recommend;
mod served;
mod signal;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use attune_api::rest::sentiment::{SentimentRequest, SentimentResponse};
use attune_inference::Inference;
use attune_ranking::evaluate as ranking;
use attune_sentiment::data::{Class, Corpus, Part, Sentence};
use attune_sentiment::evaluate::{Evaluation, PROTOCOL, evaluate};
use attune_sentiment::metrics::{self, Judged};
use attune_sentiment::service::{Sentiment, SentimentService};
use clap::{Args, ValueEnum};

use crate::belongs::{self, Belonging};
use crate::bench::write_json;
use crate::client::Rest;
use crate::config::{Config, EngineFlags, Model};
use crate::{compose, serve, term, texts};

/// The protocol that judges sentiment, and the model that it judges by default.
const SENTIMENT: &str = "sentiment";

/// Protocols beside those of recommenders.
const OURS: [&str; 3] = [SENTIMENT, off_policy::PROTOCOL, signal::PROTOCOL];

/// Texts of one request to a running server.
const REQUEST_TEXTS: usize = 200;

/// What can be typed after `attune evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Protocols:
  sentiment    the labelled sentences, split by a hash of document or text into
               2,309 test, 2,240 dev and 19,154 train. Strong: |rating| >= 0.5,
               and whether positive outranks negative where people were positive

  recommenders-75-25, recbole-811-full, recbole-811-refit, user-80-10-10,
  user-90-10, leave-last-out-full, global-time, users-cold, items-cold
               recommenders, trained here on the training part of each split and
               asked to rank all items: MovieLens-100K (attune models pull
               movielens-100k), or events of your own with --events. Every event
               counts alike, as in the published figures, unless --worth says
               otherwise. A folder that `attune train` wrote gives its options and
               is trained anew: its own model has seen the events asked about.
               With --served a server of its own is told the training events, its
               trainer makes a recommender of them, and the lists are asked for
               over REST

  sentiment-signal
               whether lists are better where the blend knows what reviews say of
               the items. Semi-synthetic: a tenth of MovieLens-100K's ratings become
               reviews, sentences that people have labelled and our own classifier
               judges. Without them, with them, and with their words shuffled

  off-policy   what a policy would have earned, from what another one logged, by
               inverse propensities, the same normalised, a model of rewards, and
               both together. On the Open Bandit data (attune models pull
               open-bandit), where each estimate stands beside the truth, or rows
               of your own with --rows; --policy names what is asked about

Examples:
  attune evaluate --protocol sentiment
  attune evaluate --protocol sentiment --precision int8
  attune evaluate --protocol sentiment --adapter sentiment-1,sentiment-2
  ATTUNE_KEY=att_... attune evaluate --protocol sentiment --url http://127.0.0.1:8080
  attune evaluate --protocol recbole-811-full --model ease --json ease.json
  attune evaluate --protocol user-90-10 --model blend --events events.csv
  attune evaluate --protocol user-90-10 --served --json served.json
  attune evaluate --compare ease.json blend.json
  attune evaluate --protocol sentiment-signal --seeds 5 --json signal.json
  attune evaluate --protocol off-policy --rows shown.csv --policy chances.csv")]
pub struct Options {
    /// Flags of the engine.
    #[command(flatten)]
    pub flags: EngineFlags,
    /// What is measured, and how
    #[arg(long, value_name = "NAME", required_unless_present = "compare", value_parser = protocol_name)]
    protocol: Option<String>,
    /// The configured classifier; or what to train: popular, item-knn, als, ease, sequential, naive-bayes, content, blend, or with the options
    /// of which recommender, by name or folder [default: sentiment, ease]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Flags of recommenders.
    #[command(flatten)]
    recommend: recommend::Flags,
    /// Flags of logged policies.
    #[command(flatten)]
    off_policy: off_policy::LoggedFlags,
    /// Adapters to put on its base instead, by name or path, with commas; their mean is printed too
    #[arg(long = "adapter", value_name = "ADAPTER", value_delimiter = ',', conflicts_with = "url")]
    adapters: Vec<String>,
    /// The part of the data [default: test]
    #[arg(long)]
    part: Option<PartName>,
    /// Ask a running server, over REST
    #[arg(long, requires = "key")]
    url: Option<String>,
    /// Its key
    #[arg(long, env = "ATTUNE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Also write everything to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A protocol that there is.
fn protocol_name(name: &str) -> Result<String, String> {
    if OURS.contains(&name) || ranking::Protocol::named(name).is_ok() {
        return Ok(name.to_owned());
    }
    let known: Vec<&str> = ranking::PROTOCOLS.iter().map(|protocol| protocol.name).collect();
    Err(format!("there is no such protocol: use {} or one of {}", OURS.join(", "), known.join(", ")))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PartName {
    Train,
    Dev,
    Test,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Train => Self::Train,
            PartName::Dev => Self::Dev,
            PartName::Test => Self::Test,
        }
    }
}

/// Measures under the protocol that was asked for.
///
/// # Errors
/// An option does nothing under the protocol, the data or a model is missing, or an answer fails.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    options.check()?;
    let (flags, model, json) = (&options.recommend, options.model.as_deref(), options.json.as_deref());
    match options.protocol.as_deref() {
        None => recommend::compare(flags),
        Some(SENTIMENT) => sentiment(config, options, model.unwrap_or(SENTIMENT)),
        Some(off_policy::PROTOCOL) => off_policy::run(config, &options.off_policy, &flags.map, json),
        Some(signal::PROTOCOL) => signal::run(config, model, flags, json),
        Some(protocol) => recommend::run(config, ranking::Protocol::named(protocol)?, model, flags, json),
    }
}

/// What is asked for, as far as options depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Compare,
    Sentiment,
    Signal,
    OffPolicy,
    Recommenders,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare => f.write_str("--compare"),
            Self::Sentiment => write!(f, "--protocol {SENTIMENT}"),
            Self::Signal => write!(f, "--protocol {}", signal::PROTOCOL),
            Self::OffPolicy => write!(f, "--protocol {}", off_policy::PROTOCOL),
            Self::Recommenders => f.write_str("the protocols of recommenders"),
        }
    }
}

impl Options {
    fn asked(&self) -> Asked {
        match self.protocol.as_deref() {
            None => Asked::Compare,
            Some(SENTIMENT) => Asked::Sentiment,
            Some(signal::PROTOCOL) => Asked::Signal,
            Some(off_policy::PROTOCOL) => Asked::OffPolicy,
            Some(_) => Asked::Recommenders,
        }
    }

    /// Refuses what would do nothing.
    fn check(&self) -> Result<()> {
        use Asked::{OffPolicy, Recommenders, Sentiment, Signal};
        let (flags, has_rows) = (&self.recommend, self.off_policy.rows.is_some());
        let table: [Belonging<'_, Asked>; 12] = [
            ("--model", self.model.is_some(), &[Sentiment, Signal, Recommenders]),
            ("--events", flags.events.is_some(), &[Recommenders]),
            ("--map", !flags.map.is_empty(), &[Recommenders, OffPolicy]),
            ("--seeds", flags.seeds.is_some(), &[Recommenders, Signal]),
            ("--worth", flags.worth.is_given(), &[Recommenders, Signal]),
            ("--validation", flags.validation, &[Recommenders]),
            ("--served", flags.served, &[Recommenders]),
            ("--rows", has_rows, &[OffPolicy]),
            ("--adapter", !self.adapters.is_empty(), &[Sentiment]),
            ("--part", self.part.is_some(), &[Sentiment]),
            ("--url", self.url.is_some(), &[Sentiment]),
            ("--json", self.json.is_some(), &[Sentiment, Signal, OffPolicy, Recommenders]),
        ];
        belongs::check(self.asked(), &table)?;
        ensure!(
            flags.events.is_some() || has_rows || flags.map.is_empty(),
            "--map names columns of a file: name it by --events or --rows"
        );
        Ok(())
    }
}

/// Prints the figures, and their mean where there are several models.
fn sentiment(config: &Config, options: &Options, model: &str) -> Result<()> {
    let (corpus, part) = (Corpus::read(&texts::folder(config))?, options.part.unwrap_or(PartName::Test).into());
    let runtime = serve::runtime()?;
    let evaluations = runtime.block_on(async {
        if let Some((url, key)) = options.url.as_ref().zip(options.key.as_ref()) {
            return Ok(vec![through_server(url, key, model, &corpus, part).await?]);
        }
        let mut evaluations = Vec::new();
        for model in candidates(config, options, model)? {
            evaluations.push(in_this_process(config, &model, &corpus, part).await?);
        }
        anyhow::Ok(evaluations)
    })?;
    for evaluation in &evaluations {
        say!("{evaluation}");
    }
    if evaluations.len() > 1 {
        print_mean(&evaluations);
    }
    options.json.as_ref().map_or(Ok(()), |path| write_json(&evaluations, path))
}

fn classifier<'c>(config: &'c Config, name: &str) -> Result<&'c Model> {
    let model = config.models.iter().find(|model| model.name == name);
    model.with_context(|| format!("no configured model is called {name:?}"))
}

fn candidates(config: &Config, options: &Options, name: &str) -> Result<Vec<Model>> {
    let model = classifier(config, name)?;
    if options.adapters.is_empty() {
        return Ok(vec![model.clone()]);
    }
    let with = |adapter: &String| Model { name: adapter.clone(), adapter: Some(adapter.clone()), ..model.clone() };
    Ok(options.adapters.iter().map(with).collect())
}

async fn in_this_process(config: &Config, model: &Model, corpus: &Corpus, part: Part) -> Result<Evaluation> {
    let inference = Inference::start(compose::inference(config), vec![compose::spec(config, model)?])?;
    let service = SentimentService::new(inference, &model.name)?;
    let bar = term::count_bar(&model.name, corpus.part(part).len() as u64);
    let evaluation = evaluate(&service, corpus, part, |done| bar.set_position(done as u64)).await?;
    bar.finish_and_clear();
    Ok(evaluation)
}

async fn through_server(url: &str, key: &str, model: &str, corpus: &Corpus, part: Part) -> Result<Evaluation> {
    let rest = Rest::new(url.trim_end_matches('/'), key);
    let sentences = corpus.part(part);
    ensure!(!sentences.is_empty(), "the {part} part of the data is empty");
    let bar = term::count_bar(url, sentences.len() as u64);
    let start = Instant::now();
    let (mut judged, mut version) = (Vec::with_capacity(sentences.len()), String::new());
    for some in sentences.chunks(REQUEST_TEXTS) {
        let inputs = some.iter().map(|sentence| sentence.text.clone()).collect();
        let request = SentimentRequest { inputs, model: Some(model.to_owned()), truncate: None };
        let answer: SentimentResponse = rest.post("/v1/sentiment", &request).await?;
        judged.extend(judge(some, &answer)?);
        version = answer.version;
        bar.set_position(judged.len() as u64);
    }
    bar.finish_and_clear();
    Ok(Evaluation {
        protocol: PROTOCOL,
        part,
        sentences: sentences.len(),
        data_sha256: corpus.fingerprint.clone(),
        model: model.to_owned(),
        version,
        engine: format!("the server at {url}"),
        report: metrics::report(&judged),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn judge<'a>(sentences: &[&'a Sentence], answer: &SentimentResponse) -> Result<Vec<Judged<'a>>> {
    ensure!(answer.results.len() == sentences.len(), "the server answered a different number of texts");
    let judged = sentences.iter().zip(&answer.results).map(|(&sentence, result)| {
        let mut probabilities = [0.0; 3];
        for class in Class::ALL {
            let score = result.scores.get(class.name());
            probabilities[class.index()] =
                *score.with_context(|| format!("the server's model has no label {:?}", class.name()))?;
        }
        Ok(Judged { sentence, sentiment: Sentiment { probabilities } })
    });
    judged.collect()
}

fn print_mean(evaluations: &[Evaluation]) {
    let mean =
        |figure: &dyn Fn(&Evaluation) -> f64| evaluations.iter().map(figure).sum::<f64>() / evaluations.len() as f64;
    say!(
        "mean of {}: strong {:.3}, three classes {:.3}, macro-F1 {:.3}",
        evaluations.len(),
        mean(&|one| one.report.all.strong.share),
        mean(&|one| one.report.all.three_classes.share),
        mean(&|one| one.report.all.macro_f1)
    );
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(line: &str) -> Result<Options, clap::Error> {
        Line::try_parse_from(line.split(' ')).map(|line| line.options)
    }

    fn refusal(line: &str) -> String {
        parsed(line).unwrap().check().unwrap_err().to_string()
    }

    #[test]
    fn an_option_that_would_do_nothing_is_refused() {
        for (line, option) in [
            ("evaluate --compare a.json b.json --json c.json", "--json does nothing with --compare"),
            ("evaluate --compare a.json b.json --model ease", "--model does nothing with --compare"),
            ("evaluate --protocol user-90-10 --adapter a", "--adapter does nothing with the protocols of recommenders"),
            ("evaluate --protocol user-90-10 --part dev", "--part does nothing"),
            ("evaluate --protocol user-90-10 --rows r.csv", "--rows does nothing"),
            ("evaluate --protocol user-90-10 --url u --key k", "--url does nothing"),
            ("evaluate --protocol off-policy --events e.csv", "--events does nothing with --protocol off-policy"),
            ("evaluate --protocol off-policy --served", "--served does nothing"),
            ("evaluate --protocol off-policy --seeds 5", "--seeds does nothing"),
            ("evaluate --protocol sentiment --worth alike", "--worth does nothing with --protocol sentiment"),
            ("evaluate --protocol sentiment-signal --events e.csv", "--events does nothing"),
            ("evaluate --protocol user-90-10 --map a=b", "name it by --events or --rows"),
        ] {
            assert!(refusal(line).contains(option), "{line}: {}", refusal(line));
        }
        assert!(parsed("evaluate --protocol off-policy --policy p.csv").unwrap_err().to_string().contains("--rows"));
        assert!(parsed("evaluate --protocol user-90-10 --seeds 0").is_err());
    }

    #[test]
    fn the_options_of_each_protocol_are_taken() {
        for line in [
            "evaluate --compare a.json b.json",
            "evaluate --protocol sentiment --adapter a,b --part dev --json j.json",
            "evaluate --protocol sentiment --url u --key k --model m",
            "evaluate --protocol sentiment-signal --seeds 5 --worth alike --model als --json j.json",
            "evaluate --protocol off-policy --rows r.csv --policy p.csv --map item_id=what --json j.json",
            "evaluate --protocol user-90-10 --events e.csv --map a=b --seeds 2 --worth alike --validation --model ease",
            "evaluate --protocol users-cold --served --json j.json",
        ] {
            assert!(parsed(line).unwrap().check().is_ok(), "{line}");
        }
    }
}
