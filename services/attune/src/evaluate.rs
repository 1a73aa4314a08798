//! `attune evaluate`: the figures of a model under a named protocol, in this process or through a running server.
//!
//! Both ways of judging sentiment go through tokenizer, queue and engine; the second adds the wire. They must agree.
//! Recommenders are trained on the protocol's own split, see [`recommend`].

mod off_policy;
mod recommend;
mod served;
mod signal;

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
    /// The part of the data
    #[arg(long, default_value = "test")]
    part: PartName,
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
/// The data or a model is missing, or an answer fails.
pub fn run(config: &Config, options: &Options) -> Result<()> {
    let has_file = options.recommend.events.is_some() || options.off_policy.has_rows();
    ensure!(
        has_file || options.recommend.map.is_empty(),
        "--map names columns of a file: name it by --events or --rows"
    );
    match options.protocol.as_deref() {
        None => recommend::compare(&options.recommend),
        Some(SENTIMENT) => sentiment(config, options, options.model.as_deref().unwrap_or(SENTIMENT)),
        Some(off_policy::PROTOCOL) => {
            off_policy::run(config, &options.off_policy, &options.recommend.map, options.json.as_deref())
        }
        Some(protocol) => {
            ensure!(
                options.url.is_none(),
                "--url asks a server about sentiment; a server that {protocol} asks must know nothing else: --served starts one"
            );
            if protocol == signal::PROTOCOL {
                return signal::run(config, options.model.as_deref(), &options.recommend, options.json.as_deref());
            }
            let protocol = ranking::Protocol::named(protocol)?;
            recommend::run(config, protocol, options.model.as_deref(), &options.recommend, options.json.as_deref())
        }
    }
}

/// Prints the figures, and their mean where there are several models.
fn sentiment(config: &Config, options: &Options, model: &str) -> Result<()> {
    let (corpus, part) = (Corpus::read(&texts::folder(config))?, options.part.into());
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
