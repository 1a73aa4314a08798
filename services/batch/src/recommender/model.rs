//! The models as one type: scored alike, taken apart into tensors and put together again.

use std::sync::Arc;

use attune_ranking::data::{History, Scorer};
use attune_ranking::index::Metric;
use attune_ranking::train::{
    Als, AlsParts, Blend, Ease, ItemKnn, Lately, NaiveBayes, NaiveBayesParts, Popular, Sequential, SparseParts,
};

use super::settings::{BlendSettings, ContentSettings, Settings, VectorSettings};
use super::tensors::{Tensors, Values};
use super::vectors::Vectors;

/// A trained model.
pub enum Model {
    /// What everybody likes.
    Popular(Popular),
    /// Item neighbours.
    ItemKnn(ItemKnn),
    /// Matrix factorisation.
    Als(Als),
    /// A linear item-to-item model.
    Ease(Ease),
    /// What follows what.
    Sequential(Sequential),
    /// What is liked lately, and what goes with it.
    NaiveBayes(NaiveBayes),
    /// Several models as one.
    Blend(Blended),
    /// Vectors made elsewhere.
    Vectors(Vectors),
}

/// A blend, and its parts as what they are.
pub struct Blended {
    parts: Vec<Arc<Model>>,
    blend: Blend,
}

/// A model whose scores are inner products or cosines: its best items are found without scoring all.
#[derive(Clone, Copy, Debug)]
pub struct Factors<'a> {
    /// Values a vector.
    pub width: usize,
    /// Users by width.
    pub users: &'a [f32],
    /// Items by width.
    pub items: &'a [f32],
    /// What a score is.
    pub metric: Metric,
}

impl<'a> Factors<'a> {
    /// The vector of a user who has one.
    pub fn user(&self, row: u32) -> Option<&'a [f32]> {
        self.users.get(row as usize * self.width..)?.get(..self.width)
    }
}

impl Blended {
    /// Parts and the weights of their scores.
    ///
    /// # Errors
    /// They contradict each other.
    pub fn new(parts: Vec<Arc<Model>>, weights: Vec<f32>) -> Result<Self, attune_ranking::train::TrainError> {
        let scorers = parts.iter().map(|part| Arc::clone(part) as Arc<dyn Scorer + Send>).collect();
        Ok(Self { blend: Blend::new(scorers, weights)?, parts })
    }

    /// The weight of each part.
    pub fn weights(&self) -> &[f32] {
        self.blend.weights()
    }
}

impl Model {
    /// The model's vectors, where it has some.
    pub fn factors(&self) -> Option<Factors<'_>> {
        match self {
            Self::Als(als) => Some(Factors {
                width: als.factors(),
                users: als.user_factors(),
                items: als.item_factors(),
                metric: Metric::InnerProduct,
            }),
            Self::Vectors(vectors) => Some(vectors.factors()),
            _ => None,
        }
    }

    /// The vector of a user who has none, from what he did; `None` where the model has no vectors, or none comes out.
    pub fn fold_in(&self, history: History<'_>) -> Option<Vec<f32>> {
        let vector = match self {
            Self::Als(als) => als.fold_in_user(history.items, history.weights),
            Self::Vectors(vectors) => vectors.fold_in(history),
            _ => return None,
        };
        vector.iter().any(|value| *value != 0.0).then_some(vector)
    }

    /// The same without what it knows of single users: whoever asks tells it what he did.
    #[must_use]
    pub fn without_people(self) -> Self {
        match self {
            Self::Als(als) => {
                let parts = AlsParts { users: Vec::new(), ..als.into_parts() };
                Self::Als(Als::from_parts(parts).expect("the parts of a model, with fewer users"))
            }
            Self::Blend(Blended { parts, blend }) => {
                let weights = blend.weights().to_vec();
                // The blend shares the parts; without it each has one owner.
                drop(blend);
                let own = |part| Arc::into_inner(part).expect("nobody else holds a part");
                let parts = parts.into_iter().map(|part| Arc::new(own(part).without_people())).collect();
                Self::Blend(Blended::new(parts, weights).expect("the parts of a blend"))
            }
            Self::Vectors(vectors) => Self::Vectors(Vectors { users: Vec::new(), ..vectors }),
            other => other,
        }
    }

    /// Whether the model can answer for somebody of whom nothing is known.
    pub fn knows_what_is_popular(&self) -> bool {
        !matches!(self, Self::Vectors(vectors) if vectors.popular.is_none())
    }

    fn scorer(&self) -> &dyn Scorer {
        match self {
            Self::Popular(model) => model,
            Self::ItemKnn(model) => model,
            Self::Als(model) => model,
            Self::Ease(model) => model,
            Self::Sequential(model) => model,
            Self::NaiveBayes(model) => model,
            Self::Blend(model) => &model.blend,
            Self::Vectors(model) => model,
        }
    }

    /// All that the model is, with names that begin with `before`.
    pub(super) fn into_tensors(self, before: &str, tensors: &mut Tensors) {
        let mut put = |name: &str, width: usize, values| tensors.put(format!("{before}{name}"), width, values);
        match self {
            Self::Popular(popular) => put("popular", 1, Values::F32(popular.scores().to_vec())),
            Self::Als(als) => {
                let AlsParts { options, users, items, popular, weight_scale } = als.into_parts();
                put("users", options.factors, Values::F32(users));
                put("items", options.factors, Values::F32(items));
                put("weight_scale", 1, Values::F32(vec![weight_scale]));
                Self::Popular(popular).into_tensors(before, tensors);
            }
            Self::Ease(ease) => {
                let (weights, popular) = ease.into_parts();
                put("weights", popular.scores().len(), Values::F32(weights));
                Self::Popular(popular).into_tensors(before, tensors);
            }
            Self::ItemKnn(item_knn) => {
                let (similarities, popular) = item_knn.into_parts();
                put_sparse(&format!("{before}similarities"), similarities, tensors);
                Self::Popular(popular).into_tensors(before, tensors);
            }
            Self::Sequential(sequential) => {
                let (_, ease, follows) = sequential.into_parts();
                put_sparse(&format!("{before}follows"), follows, tensors);
                Self::Ease(ease).into_tensors(before, tensors);
            }
            Self::NaiveBayes(naive_bayes) => {
                let NaiveBayesParts { liked_by, lately, items, attributes, .. } = naive_bayes.into_parts();
                put("liked_by", 1, Values::F32(liked_by));
                put("lately.offsets", 1, Values::U64(lately.offsets));
                put("lately.times", 1, Values::I64(lately.times));
                put("lately.sums", 1, Values::F32(lately.sums));
                put_sparse(&format!("{before}evidence"), items, tensors);
                put_sparse(&format!("{before}attributes"), attributes, tensors);
            }
            Self::Blend(Blended { parts, blend }) => {
                put("blend", 1, Values::F32(blend.weights().to_vec()));
                // The blend shares the parts; without it each has one owner.
                drop(blend);
                for (number, part) in parts.into_iter().enumerate() {
                    let part = Arc::into_inner(part).expect("nobody else holds a part");
                    part.into_tensors(&format!("{before}{number}."), tensors);
                }
            }
            Self::Vectors(Vectors { width, users, items, popular, .. }) => {
                put("users", width, Values::F32(users));
                put("items", width, Values::F32(items));
                if let Some(popular) = popular {
                    Self::Popular(popular).into_tensors(before, tensors);
                }
            }
        }
    }

    /// A model from what [`into_tensors`](Self::into_tensors) made of it.
    pub(super) fn from_tensors(settings: &Settings, before: &str, tensors: &mut Tensors) -> Result<Self, String> {
        let name = |name: &str| format!("{before}{name}");
        Ok(match settings {
            Settings::Popular => Self::Popular(popular(before, tensors)?),
            Settings::Als(options) | Settings::Content(ContentSettings { als: options, .. }) => {
                let (users, width) = tensors.f32(&name("users"))?;
                let (items, items_width) = tensors.f32(&name("items"))?;
                if options.factors != 1 && (width, items_width) != (options.factors, options.factors) {
                    return Err(format!("its vectors have {width} and {items_width} values, not {}", options.factors));
                }
                let weight_scale = tensors.f32(&name("weight_scale"))?.0;
                let [weight_scale] = weight_scale[..] else { return Err("weight_scale is not one number".to_owned()) };
                let popular = popular(before, tensors)?;
                let parts = AlsParts { options: options.clone(), users, items, popular, weight_scale };
                Self::Als(Als::from_parts(parts).map_err(said)?)
            }
            Settings::Ease(_) => Self::Ease(ease(before, tensors)?),
            Settings::ItemKnn(_) => {
                let similarities = take_sparse(&name("similarities"), tensors)?;
                Self::ItemKnn(ItemKnn::from_parts(similarities, popular(before, tensors)?).map_err(said)?)
            }
            Settings::Sequential(options) => {
                let follows = take_sparse(&name("follows"), tensors)?;
                let ease = ease(before, tensors)?;
                Self::Sequential(Sequential::from_parts(options.clone(), ease, follows).map_err(said)?)
            }
            Settings::NaiveBayes(options) => {
                let lately = Lately {
                    offsets: tensors.u64(&name("lately.offsets"))?,
                    times: tensors.i64(&name("lately.times"))?,
                    sums: tensors.f32(&name("lately.sums"))?.0,
                };
                let parts = NaiveBayesParts {
                    options: options.clone(),
                    liked_by: tensors.f32(&name("liked_by"))?.0,
                    lately,
                    items: take_sparse(&name("evidence"), tensors)?,
                    attributes: take_sparse(&name("attributes"), tensors)?,
                };
                Self::NaiveBayes(NaiveBayes::from_parts(parts).map_err(said)?)
            }
            Settings::Blend(BlendSettings { parts, .. }) => {
                let weights = tensors.f32(&name("blend"))?.0;
                let part = |(number, part): (usize, &Settings)| {
                    Self::from_tensors(part, &format!("{before}{number}."), tensors).map(Arc::new)
                };
                let parts = parts.iter().enumerate().map(part).collect::<Result<_, _>>()?;
                Self::Blend(Blended::new(parts, weights).map_err(said)?)
            }
            Settings::Vectors(VectorSettings { metric }) => {
                let (users, _) = tensors.f32(&name("users"))?;
                let (items, width) = tensors.f32(&name("items"))?;
                let popular = if tensors.has(&name("popular")) { Some(popular(before, tensors)?) } else { None };
                Self::Vectors(Vectors { width, metric: *metric, users, items, popular })
            }
        })
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn popular(before: &str, tensors: &mut Tensors) -> Result<Popular, String> {
    Ok(Popular::from_scores(tensors.f32(&format!("{before}popular"))?.0))
}

fn ease(before: &str, tensors: &mut Tensors) -> Result<Ease, String> {
    let weights = tensors.f32(&format!("{before}weights"))?.0;
    Ease::from_parts(weights, popular(before, tensors)?).map_err(said)
}

fn put_sparse(name: &str, parts: SparseParts, tensors: &mut Tensors) {
    tensors.put(format!("{name}.offsets"), 1, Values::U64(parts.offsets));
    tensors.put(format!("{name}.columns"), 1, Values::U32(parts.columns));
    tensors.put(format!("{name}.values"), 1, Values::F32(parts.values));
}

fn take_sparse(name: &str, tensors: &mut Tensors) -> Result<SparseParts, String> {
    Ok(SparseParts {
        offsets: tensors.u64(&format!("{name}.offsets"))?,
        columns: tensors.u32(&format!("{name}.columns"))?,
        values: tensors.f32(&format!("{name}.values"))?.0,
    })
}

impl Scorer for Model {
    fn items(&self) -> usize {
        self.scorer().items()
    }

    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]) {
        self.scorer().score(user, history, scores);
    }

    fn score_described(&self, user: Option<u32>, history: History<'_>, attributes: &[u32], scores: &mut [f32]) {
        self.scorer().score_described(user, history, attributes, scores);
    }
}
