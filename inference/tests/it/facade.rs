//! Calls as services make them, on a tiny model.

use std::time::{Duration, Instant};

use attune_inference::testing::{HIDDEN, POSITIONS, write_tiny_adapter, write_tiny_model};
use attune_inference::{
    CallContext, ClassifyRequest, EmbedRequest, EngineChoice, Inference, InferenceConfig, InferenceError, Input,
    ModelSpec, Task, Truncate, WorkClass,
};
use tempfile::TempDir;

struct Served {
    inference: Inference,
    _folder: TempDir,
}

fn served(engine: EngineChoice) -> Served {
    let folder = TempDir::new().unwrap();
    let (model, adapter) = (folder.path().join("tiny"), folder.path().join("mood"));
    write_tiny_model(&model, 1).unwrap();
    write_tiny_adapter(&adapter, 2).unwrap();
    let spec = |name: &str, adapter| ModelSpec {
        name: name.into(),
        aliases: vec![format!("{name}-alias")],
        path: model.clone(),
        adapter,
        precision: None,
        max_tokens: None,
    };
    let models = vec![spec("tiny", None), spec("mood", Some(adapter))];
    let config = InferenceConfig { engine, workers: Some(2), ..InferenceConfig::default() };
    Served { inference: Inference::start(config, models).unwrap(), _folder: folder }
}

fn call() -> CallContext {
    CallContext { caller: "test".into(), class: WorkClass::Interactive, deadline: None }
}

fn texts(texts: &[&str]) -> Vec<Input> {
    texts.iter().map(|text| Input::Text((*text).into())).collect()
}

fn embed(inputs: Vec<Input>) -> EmbedRequest {
    EmbedRequest { model: "tiny".into(), inputs, truncate: Truncate::End, dimensions: None, normalize: true }
}

#[tokio::test]
async fn embeddings_have_unit_length_and_the_order_of_the_texts() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    let both = inference.embed(embed(texts(&["good film", ""])), call()).await.unwrap();
    let alone = inference.embed(embed(texts(&[""])), call()).await.unwrap();
    assert_eq!((both.dimensions, both.tokens.as_slice(), both.values.len()), (HIDDEN, &[4, 2][..], 2 * HIDDEN));
    assert_eq!(both.values[HIDDEN..], alone.values);
    let norm: f32 = both.values[..HIDDEN].iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-6, "{norm}");
}

#[tokio::test]
async fn ids_are_the_text_they_stand_for() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    let from_text = inference.embed(embed(texts(&["good film"])), call()).await.unwrap();
    let from_ids = inference.embed(embed(vec![Input::Tokens(vec![2, 10, 12, 3])]), call()).await.unwrap();
    assert_eq!(from_text.values, from_ids.values);
}

#[tokio::test]
async fn fused_probabilities_are_candles() {
    let mut found = Vec::new();
    for engine in [EngineChoice::Cpu, EngineChoice::Reference] {
        let Served { inference, _folder } = served(engine);
        let request = ClassifyRequest {
            model: "mood-alias".into(),
            inputs: texts(&["the film is good .", "bad bad bad", "hello world"]),
            truncate: Truncate::End,
        };
        let answer = inference.classify(request, call()).await.unwrap();
        assert_eq!(answer.labels.as_ref(), ["negative", "neutral", "positive"]);
        assert!(answer.probabilities.chunks(3).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6));
        found.push(answer.probabilities);
    }
    assert!(found[0].iter().zip(&found[1]).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
}

#[tokio::test]
async fn long_texts_are_cut_or_refused_as_asked() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    let long = "good ".repeat(100);
    let mut request = embed(texts(&["bad", &long]));
    let cut = inference.embed(request.clone(), call()).await.unwrap();
    assert_eq!((cut.tokens.as_slice(), cut.truncated.as_slice()), (&[3, POSITIONS][..], &[false, true][..]));
    request.truncate = Truncate::Refuse;
    let refused = inference.embed(request, call()).await.unwrap_err();
    assert_eq!(refused, InferenceError::TooManyTokens { index: 1, tokens: 102, max: POSITIONS });
}

#[tokio::test]
async fn what_the_caller_can_mend_is_said_before_any_work() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    let refuse = async |request| inference.embed(request, call()).await.unwrap_err();
    assert_eq!(refuse(embed(Vec::new())).await, InferenceError::NoInputs);
    assert_eq!(refuse(embed(texts(&[""; 1025]))).await, InferenceError::TooManyInputs { count: 1025, max: 1024 });
    let huge = "x".repeat((1 << 20) + 1);
    let too_large = InferenceError::TextTooLarge { index: 0, bytes: (1 << 20) + 1, max: 1 << 20 };
    assert_eq!(refuse(embed(texts(&[&huge]))).await, too_large);
    let unknown = InferenceError::UnknownToken { index: 0, token: 27, vocabulary: 27 };
    assert_eq!(refuse(embed(vec![Input::Tokens(vec![2, 27])])).await, unknown);
    assert_eq!(refuse(embed(vec![Input::Tokens(Vec::new())])).await, InferenceError::NoTokens { index: 0 });
    let dimensions = EmbedRequest { dimensions: Some(HIDDEN + 1), ..embed(texts(&["a"])) };
    assert_eq!(refuse(dimensions).await, InferenceError::BadDimensions { asked: HIDDEN + 1, max: HIDDEN });
    let elsewhere = EmbedRequest { model: "nobody".into(), ..embed(texts(&["a"])) };
    assert!(matches!(refuse(elsewhere).await, InferenceError::UnknownModel { known, .. } if known == ["tiny", "mood"]));
    let wrong = EmbedRequest { model: "mood".into(), ..embed(texts(&["a"])) };
    assert!(matches!(refuse(wrong).await, InferenceError::WrongTask { asked: "embed", .. }));
    let late = CallContext { deadline: Some(Instant::now() - Duration::from_millis(1)), ..call() };
    assert_eq!(inference.embed(embed(texts(&["a"])), late).await.unwrap_err(), InferenceError::DeadlinePassed);
}

#[tokio::test]
async fn models_tell_what_they_are() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    let models = inference.models();
    assert_eq!(models[0].task, Task::Embed { dimensions: HIDDEN });
    assert!(matches!(&models[1].task, Task::Classify { labels } if labels.len() == 3));
    assert_ne!(models[0].version, models[1].version, "an adapter is part of a version");
    assert!(models[1].adapted && models[1].base == "tiny");
}

#[tokio::test]
async fn a_drained_core_takes_no_more() {
    let Served { inference, _folder } = served(EngineChoice::Cpu);
    inference.drain().await;
    assert!(!inference.is_ready());
    assert_eq!(inference.embed(embed(texts(&["a"])), call()).await.unwrap_err(), InferenceError::Draining);
}
