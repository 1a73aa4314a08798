//! The protocol, and the service that it goes through.

use attune_inference::{CallContext, InferenceError, WorkClass};
use attune_sentiment::data::{Class, Corpus, Part, SOURCES};
use attune_sentiment::evaluate::{self, EvaluateError};
use attune_sentiment::service::{SentimentService, ServiceError};

use crate::support::Fixture;

fn call() -> CallContext {
    CallContext { caller: "test".into(), class: WorkClass::Interactive, deadline: None }
}

fn service(fixture: &Fixture) -> SentimentService {
    SentimentService::new(fixture.inference(&fixture.path("adapter")), "mood-alias").unwrap()
}

#[tokio::test]
async fn every_sentence_of_the_part_is_judged_and_the_figures_come_as_table_and_json() {
    let fixture = Fixture::new();
    let mut done = 0;
    let evaluation = evaluate::run(&service(&fixture), &fixture.data(), Part::Test, |n| done = n).await.unwrap();
    let corpus = Corpus::read(&fixture.data()).unwrap();
    assert_eq!((done, evaluation.sentences), (corpus.part(Part::Test).len(), done));
    let json = serde_json::to_value(&evaluation).unwrap();
    assert_eq!((json["protocol"].as_str(), json["part"].as_str()), (Some("sentiment"), Some("test")));
    assert_eq!(json["report"]["all"]["three_classes"]["count"], done);
    let table = evaluation.to_string();
    assert!(SOURCES.iter().all(|source| table.contains(source)) && table.contains(&evaluation.version), "{table}");
}

#[tokio::test]
async fn a_text_is_judged_alike_alone_and_in_company() {
    let fixture = Fixture::new();
    let service = service(&fixture);
    let texts: Vec<String> = ["the film was good", "", "sad sad dog"].map(String::from).to_vec();
    let together = service.judge(texts.clone(), call()).await.unwrap();
    for (text, sentiment) in texts.into_iter().zip(&together) {
        assert_eq!(service.judge(vec![text], call()).await.unwrap(), [*sentiment]);
        assert!((sentiment.probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(
            Class::ALL.iter().all(|class| sentiment.probability(*class) <= sentiment.probability(sentiment.class()))
        );
    }
    assert_eq!(service.judge(Vec::new(), call()).await, Err(InferenceError::NoInputs));
}

#[tokio::test]
async fn labels_are_found_by_name_whatever_their_order() {
    let fixture = Fixture::new();
    let config = std::fs::read_to_string(fixture.path("adapter").join("adapter_config.json")).unwrap();
    let swapped = config.replace("negative", "other").replace("positive", "NEGATIVE").replace("other", "positive");
    let service = service(&fixture);
    let text = || vec!["very bad".to_string()];
    let [negative, neutral, positive] = service.judge(text(), call()).await.unwrap()[0].probabilities;
    std::fs::write(fixture.path("adapter").join("adapter_config.json"), swapped).unwrap();
    let again = self::service(&fixture).judge(text(), call()).await.unwrap()[0].probabilities;
    assert_eq!(again, [positive, neutral, negative]);
}

#[tokio::test]
async fn a_model_that_cannot_tell_sentiment_is_refused() {
    let fixture = Fixture::new();
    let inference = fixture.inference(&fixture.path("adapter"));
    let unknown = SentimentService::new(inference.clone(), "nobody").unwrap_err();
    assert!(matches!(unknown, ServiceError::UnknownModel { known, .. } if known == ["tiny", "mood"]));
    let embeds = SentimentService::new(inference, "tiny").unwrap_err();
    assert!(matches!(embeds, ServiceError::OtherLabels { labels, .. } if labels.is_empty()));
}

#[tokio::test]
async fn a_part_without_sentences_has_no_figures() {
    let fixture = Fixture::new();
    for source in SOURCES {
        fixture.write_source(source, "1_1\t0.5\tgood\n");
    }
    let corpus = Corpus::read(&fixture.data()).unwrap();
    let absent = [Part::Dev, Part::Test].into_iter().find(|part| corpus.part(*part).is_empty());
    let absent = absent.expect("four documents do not fall into both parts");
    let refused = evaluate::evaluate(&service(&fixture), &corpus, absent, |_| ()).await.unwrap_err();
    assert!(matches!(refused, EvaluateError::NothingToJudge(part) if part == absent));
}
