//! The sentiment of texts, from whichever classifier of the inference core is asked.
//!
//! A model names its classes itself (`id2label`); this is the one place that finds negative, neutral and positive among
//! them, whatever their order, and refuses a model that has other classes.

use attune_inference::{CallContext, ClassifyRequest, Inference, InferenceError, Input, ModelInfo, Task, Truncate};

use crate::data::Class;

/// Why a model cannot tell sentiment.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Nothing of that name is loaded.
    #[error("no model {name:?} is loaded; there are {known:?}")]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It is an embedding model, or its classes are others.
    #[error("model {name:?} has the labels {labels:?}; sentiment needs negative, neutral and positive")]
    OtherLabels {
        /// The model.
        name: String,
        /// Its labels; none for an embedding model.
        labels: Vec<String>,
    },
}

/// What a model makes of one text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sentiment {
    /// The probabilities of negative, neutral and positive.
    pub probabilities: [f32; 3],
}

impl Sentiment {
    /// The most probable class; the lower index where two are equal.
    pub fn class(&self) -> Class {
        let ahead = |best: Class, class: Class| self.probability(class) > self.probability(best);
        Class::ALL.into_iter().fold(Class::Negative, |best, class| if ahead(best, class) { class } else { best })
    }

    /// The probability of one class.
    pub fn probability(&self, class: Class) -> f32 {
        self.probabilities[class.index()]
    }
}

/// Judges texts with one model.
#[derive(Clone, Debug)]
pub struct SentimentService {
    inference: Inference,
    model: ModelInfo,
    /// Where each [`Class`] stands among the model's labels.
    places: [usize; 3],
}

impl SentimentService {
    /// Takes the model of that name or alias.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none, or its classes are not those of sentiment.
    pub fn new(inference: Inference, name: &str) -> Result<Self, ServiceError> {
        let models = inference.models();
        let Some(model) = models.iter().find(|model| model.answers_to(name)) else {
            let known = models.iter().map(|model| model.name.clone()).collect();
            return Err(ServiceError::UnknownModel { name: name.to_string(), known });
        };
        let labels: &[String] = match &model.task {
            Task::Classify { labels } => labels,
            Task::Embed { .. } => &[],
        };
        let place = |class: Class| labels.iter().position(|label| label.eq_ignore_ascii_case(class.name()));
        match Class::ALL.map(place) {
            [Some(negative), Some(neutral), Some(positive)] if labels.len() == Class::ALL.len() => {
                Ok(Self { model: model.clone(), places: [negative, neutral, positive], inference })
            }
            _ => Err(ServiceError::OtherLabels { name: name.to_string(), labels: labels.to_vec() }),
        }
    }

    /// The model that judges.
    pub fn model(&self) -> &ModelInfo {
        &self.model
    }

    /// Judges texts; answers in their order. The end of a text that is too long is cut off.
    ///
    /// # Errors
    /// As [`Inference::classify`].
    pub async fn judge(&self, texts: Vec<String>, call: CallContext) -> Result<Vec<Sentiment>, InferenceError> {
        let inputs = texts.into_iter().map(Input::Text).collect();
        let request = ClassifyRequest { model: self.model.name.clone(), inputs, truncate: Truncate::End };
        let answer = self.inference.classify(request, call).await?;
        let rows = answer.probabilities.chunks_exact(self.places.len());
        Ok(rows.map(|row| Sentiment { probabilities: self.places.map(|place| row[place]) }).collect())
    }
}
