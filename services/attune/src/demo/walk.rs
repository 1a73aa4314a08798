//! The first part of the walk: texts in numbers, and opinions. A stop is a few calls and what came back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use attune_api::rest::Inputs;
use attune_api::rest::openai::{EmbeddingValue, EmbeddingsRequest, EmbeddingsResponse};
use attune_api::rest::sentiment::{SentimentRequest, SentimentResponse};
use attune_api::v1;
use attune_sentiment::data::{Corpus, Part, Sentence};
use futures::{StreamExt, stream};

use crate::client::{self, Grpc, Rest};
use crate::term::{self, Style, styled};

/// Real texts in the batch.
pub const TEXTS: usize = 2_000;
/// Texts in one request of the batch: below the server's limit for one call.
const TEXTS_PER_REQUEST: usize = 50;
/// Requests of the batch in flight at once: enough that no engine waits for the wire.
const REQUESTS_IN_FLIGHT: usize = 4;
const MODEL: &str = "all-MiniLM-L6-v2";
const BAR_CELLS: f32 = 30.0;
const QUESTION: &str = "The actors were brilliant.";
const NEAREST_SHOWN: usize = 3;
const OPINIONS_SHOWN: usize = 6;
/// Neighbours in the file are of one source: the next one shown is this far on.
const SENTENCES_SKIPPED: usize = 41;

/// Walks through the server at `url`.
///
/// # Errors
/// A call failed, or its answer is not what it should be.
pub async fn run(url: &str, key: &str, texts: &[String], corpus: &Corpus) -> Result<()> {
    let rest = Rest::new(url, key);
    let mut grpc = client::grpc(url, key).await?;
    embeddings(&rest).await?;
    similarity(&rest).await?;
    sentiment(&rest, corpus).await?;
    both_protocols(&rest, &mut grpc).await?;
    let embeddings = batch(&rest, &mut grpc, texts).await?;
    nearest(&rest, texts, &embeddings).await
}

/// The heading of a stop.
pub fn stop(number: usize, title: &str, call: &str) {
    say!("\n{}  {}", styled(Style::Bold, format!("{number}. {title:<28}")), styled(Style::Dim, call));
}

async fn embed(rest: &Rest, texts: Vec<String>) -> Result<(Vec<Vec<f32>>, usize)> {
    let request = EmbeddingsRequest {
        input: Inputs::Texts(texts),
        model: MODEL.into(),
        encoding_format: None,
        dimensions: None,
        truncate: None,
        user: None,
    };
    let answer: EmbeddingsResponse = rest.post("/v1/embeddings", &request).await?;
    let rows = answer.data.into_iter().map(|one| match one.embedding {
        EmbeddingValue::Float(values) => Ok(values),
        EmbeddingValue::Base64(_) => anyhow::bail!("numbers were asked for, base64 came"),
    });
    Ok((rows.collect::<Result<_>>()?, answer.usage.total_tokens))
}

async fn embeddings(rest: &Rest) -> Result<()> {
    stop(1, "A sentence in numbers", "POST /v1/embeddings");
    let sentence = "A man is eating food.";
    let start = Instant::now();
    let (rows, tokens) = embed(rest, vec![sentence.into()]).await?;
    let row = rows.first().context("one text has one embedding")?;
    let first: Vec<String> = row.iter().take(5).map(|value| format!("{value:.4}")).collect();
    say!("   {sentence:?}");
    say!("   {} dimensions: {} ...", row.len(), first.join(" "));
    say!("   {}", styled(Style::Dim, format!("{tokens} tokens, {}", millis(start.elapsed()))));
    Ok(())
}

async fn similarity(rest: &Rest) -> Result<()> {
    stop(2, "Close in meaning", "POST /v1/embeddings, cosine");
    let sentences =
        ["That is a happy person", "That is a very happy person", "That is a happy dog", "Today is a sunny day"];
    let (rows, _) = embed(rest, sentences.map(str::to_owned).to_vec()).await?;
    say!("   {:?} and", sentences[0]);
    for (sentence, row) in sentences.iter().zip(&rows).skip(1) {
        let cosine = dot(&rows[0], row);
        let bar = "=".repeat((cosine.max(0.0) * BAR_CELLS).round() as usize);
        say!("   {cosine:.4}  {sentence:<28} {}", styled(Style::Green, bar));
    }
    Ok(())
}

async fn sentiment(rest: &Rest, corpus: &Corpus) -> Result<()> {
    stop(3, "What people think", "POST /v1/sentiment");
    // Sentences that fit a line, that the model was not trained on, of all three opinions.
    let unseen: Vec<&Sentence> = corpus.part(Part::Test);
    let some = |low: f64, high: f64| {
        let fits =
            move |one: &&&Sentence| (30..72).contains(&one.text.len()) && low <= one.rating && one.rating <= high;
        unseen.iter().filter(fits).step_by(SENTENCES_SKIPPED).take(OPINIONS_SHOWN / 3)
    };
    let chosen: Vec<&Sentence> = some(1.5, 4.0).chain(some(-0.2, 0.2)).chain(some(-4.0, -1.5)).copied().collect();
    let answer = classify(rest, chosen.iter().map(|text| text.text.clone()).collect()).await?;
    say!("   {}", styled(Style::Dim, "model              people (-4 to 4)"));
    for (text, result) in chosen.iter().zip(&answer.results) {
        let label = styled(colour(&result.label), format!("{:<8}", result.label));
        say!("   {label} {:>4.0}%     {:>+5.1}      {}", 100.0 * result.score, text.rating, text.text.trim());
    }
    Ok(())
}

async fn classify(rest: &Rest, inputs: Vec<String>) -> Result<SentimentResponse> {
    rest.post("/v1/sentiment", &SentimentRequest { inputs, model: None, truncate: None }).await
}

/// The colour of an opinion.
pub fn colour(label: &str) -> Style {
    match label {
        "positive" => Style::Green,
        "negative" => Style::Red,
        _ => Style::Yellow,
    }
}

async fn both_protocols(rest: &Rest, grpc: &mut Grpc) -> Result<()> {
    stop(4, "The same over gRPC", "attune.v1.Inference/Embed, Classify");
    let sentence = "What a lovely day.".to_owned();
    let embed_request =
        v1::EmbedRequest { model: MODEL.into(), inputs: vec![sentence.clone()], ..v1::EmbedRequest::default() };
    let start = Instant::now();
    let embedded = grpc.embed(embed_request).await?.into_inner();
    let took = start.elapsed();
    let (rows, _) = embed(rest, vec![sentence.clone()]).await?;
    let same = embedded.embeddings.first().is_some_and(|one| one.values == rows[0]);
    ensure!(same, "gRPC and REST answered with different embeddings");
    let classify_request = v1::ClassifyRequest { inputs: vec![sentence.clone()], ..v1::ClassifyRequest::default() };
    let classified = grpc.classify(classify_request).await?.into_inner();
    let result = classified.results.first().context("one text has one result")?;
    say!("   {sentence:?}: {} {:.0}%", styled(colour(&result.label), &result.label), 100.0 * result.score);
    say!("   its embedding equals REST's bit for bit {}", styled(Style::Dim, format!("({})", millis(took))));
    Ok(())
}

/// Embeds all texts over each protocol, and returns the embeddings.
async fn batch(rest: &Rest, grpc: &mut Grpc, texts: &[String]) -> Result<Vec<Vec<f32>>> {
    stop(5, &format!("{} real texts", thousands(texts.len())), "POST /v1/embeddings; EmbedStream");
    let chunks: Vec<Vec<String>> = texts.chunks(TEXTS_PER_REQUEST).map(|chunk| chunk.to_vec()).collect();

    let bar = term::count_bar("over REST", texts.len() as u64);
    let start = Instant::now();
    let mut answers = stream::iter(chunks.clone()).map(|chunk| embed(rest, chunk)).buffered(REQUESTS_IN_FLIGHT);
    let (mut over_rest, mut tokens) = (Vec::with_capacity(texts.len()), 0);
    while let Some(answer) = answers.next().await {
        let (rows, count) = answer?;
        bar.inc(rows.len() as u64);
        over_rest.extend(rows);
        tokens += count;
    }
    drop(answers);
    bar.finish_and_clear();
    throughput("REST", texts.len(), tokens, start.elapsed());

    let bar = term::count_bar("over gRPC", texts.len() as u64);
    let start = Instant::now();
    let requests = chunks.into_iter().zip(0..).map(|(inputs, id)| {
        let request = v1::EmbedRequest { model: MODEL.into(), inputs, ..v1::EmbedRequest::default() };
        v1::EmbedStreamRequest { id, request: Some(request) }
    });
    let mut answers = grpc.embed_stream(stream::iter(requests)).await?.into_inner();
    let mut over_grpc: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
    while let Some(answer) = answers.message().await? {
        let rows = match answer.outcome.context("an answer has an outcome")? {
            v1::embed_stream_response::Outcome::Response(response) => response.embeddings,
            v1::embed_stream_response::Outcome::Error(error) => anyhow::bail!("item {}: {}", answer.id, error.detail),
        };
        bar.inc(rows.len() as u64);
        over_grpc.extend(rows.into_iter().map(|one| one.values));
    }
    bar.finish_and_clear();
    throughput("gRPC", texts.len(), tokens, start.elapsed());
    ensure!(over_rest == over_grpc, "REST and gRPC answered with different embeddings");
    say!("   all {} embeddings are equal bit for bit", over_rest.len());
    Ok(over_rest)
}

fn throughput(protocol: &str, texts: usize, tokens: usize, took: Duration) {
    let seconds = took.as_secs_f64();
    let rates = format!("{:.0} texts/s, {:.0} tokens/s", texts as f64 / seconds, tokens as f64 / seconds);
    let detail = styled(Style::Dim, format!("{tokens} tokens in {seconds:.1} s"));
    say!("   {protocol}  {}  {detail}", styled(Style::Green, rates));
}

async fn nearest(rest: &Rest, texts: &[String], embeddings: &[Vec<f32>]) -> Result<()> {
    stop(6, "Found by meaning", "cosine over the batch");
    let (question, _) = embed(rest, vec![QUESTION.into()]).await?;
    let mut scored: Vec<(f32, &String)> = embeddings.iter().map(|row| dot(&question[0], row)).zip(texts).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    say!("   nearest to {QUESTION:?}:");
    for (cosine, text) in scored.iter().take(NEAREST_SHOWN) {
        say!("   {cosine:.4}  {}", text.trim());
    }
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// 2000 as `2,000`.
pub fn thousands(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1_000), number % 1_000),
    }
}

/// A time for a person.
pub fn millis(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}
