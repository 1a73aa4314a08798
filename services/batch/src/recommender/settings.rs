//! Which model, with which options: what `config.json` holds and `--set` changes.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use attune_ranking::index::Metric;
use attune_ranking::train::{
    AlsOptions, BlendOptions, ContentMapOptions, EaseOptions, ItemKnnOptions, NaiveBayesOptions, SequentialOptions,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A model and its options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", content = "options", rename_all = "kebab-case")]
pub enum Settings {
    /// What everybody likes.
    Popular,
    /// Item neighbours.
    ItemKnn(ItemKnnOptions),
    /// Matrix factorisation.
    Als(AlsOptions),
    /// A linear item-to-item model.
    Ease(EaseOptions),
    /// What follows what.
    Sequential(SequentialOptions),
    /// What is liked lately, and what goes with it.
    NaiveBayes(NaiveBayesOptions),
    /// Matrix factorisation, with new items placed by their attributes.
    Content(ContentSettings),
    /// Several models as one.
    Blend(BlendSettings),
    /// Vectors made elsewhere.
    Vectors(VectorSettings),
}

/// The settings of a blend: its parts, and the users that its weights are learned with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlendSettings {
    /// The models that are blended.
    pub parts: Vec<Settings>,
    /// Learn the weights with everybody's last event, and not with a random tenth of them.
    pub in_time: bool,
    /// Seed of that tenth.
    pub seed: u64,
    /// How the weights are looked for.
    pub fit: BlendOptions,
}

impl Default for BlendSettings {
    fn default() -> Self {
        let parts = vec![
            Settings::Ease(EaseOptions::default()),
            Settings::Als(AlsOptions::default()),
            Settings::ItemKnn(ItemKnnOptions::default()),
            Settings::Sequential(SequentialOptions::default()),
            Settings::NaiveBayes(NaiveBayesOptions::default()),
        ];
        Self { parts, in_time: false, seed: 0, fit: BlendOptions::default() }
    }
}

/// The settings of factors with new items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContentSettings {
    /// The factors.
    pub als: AlsOptions,
    /// How attributes are mapped to them.
    pub map: ContentMapOptions,
}

/// The settings of vectors made elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorSettings {
    /// What a score is.
    pub metric: Metric,
}

/// The name of a model that is trained on events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What everybody likes.
    Popular,
    /// Item neighbours.
    ItemKnn,
    /// Matrix factorisation.
    Als,
    /// A linear item-to-item model.
    Ease,
    /// What follows what.
    Sequential,
    /// What is liked lately, and what goes with it.
    NaiveBayes,
    /// Matrix factorisation, with new items placed by their attributes.
    Content,
    /// Several models as one.
    Blend,
}

/// Names as they are typed.
const NAMES: [(&str, Kind); 8] = [
    ("popular", Kind::Popular),
    ("item-knn", Kind::ItemKnn),
    ("als", Kind::Als),
    ("ease", Kind::Ease),
    ("sequential", Kind::Sequential),
    ("naive-bayes", Kind::NaiveBayes),
    ("content", Kind::Content),
    ("blend", Kind::Blend),
];

/// Why settings make no sense.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SettingsError {
    /// No such model.
    #[error("no recommender is called {name:?}: use {}", NAMES.map(|(name, _)| name).join(", "))]
    Kind {
        /// What was typed.
        name: String,
    },
    /// No equals sign, or nothing before it.
    #[error("--set {0:?} is not KEY=VALUE, as in --set factors=128")]
    Form(String),
    /// An option twice.
    #[error("--set names {0:?} twice: an option has one value")]
    Twice(String),
    /// No such option.
    #[error("{model} has no option {key:?}: it has {known}")]
    Key {
        /// The model.
        model: String,
        /// What was typed.
        key: String,
        /// What there is.
        known: String,
    },
    /// A value of the wrong type.
    #[error("--set {key}={value}: {detail}")]
    Value {
        /// The option.
        key: String,
        /// What was typed.
        value: String,
        /// What is wrong.
        detail: String,
    },
}

impl FromStr for Kind {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, SettingsError> {
        let found = NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, kind)| kind);
        found.ok_or_else(|| SettingsError::Kind { name: name.to_owned() })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.into_iter().find(|(_, kind)| kind == self).map_or("", |(name, _)| name))
    }
}

impl Settings {
    /// The default settings of a model with a seed.
    pub fn new(kind: Kind, seed: u64) -> Self {
        let settings = match kind {
            Kind::Popular => Self::Popular,
            Kind::ItemKnn => Self::ItemKnn(ItemKnnOptions::default()),
            Kind::Als => Self::Als(AlsOptions::default()),
            Kind::Ease => Self::Ease(EaseOptions::default()),
            Kind::Sequential => Self::Sequential(SequentialOptions::default()),
            Kind::NaiveBayes => Self::NaiveBayes(NaiveBayesOptions::default()),
            Kind::Content => Self::Content(ContentSettings::default()),
            Kind::Blend => Self::Blend(BlendSettings::default()),
        };
        settings.with_seed(seed)
    }

    /// The model's name.
    pub fn name(&self) -> &'static str {
        let kind = match self {
            Self::Popular => Kind::Popular,
            Self::ItemKnn(_) => Kind::ItemKnn,
            Self::Als(_) => Kind::Als,
            Self::Ease(_) => Kind::Ease,
            Self::Sequential(_) => Kind::Sequential,
            Self::NaiveBayes(_) => Kind::NaiveBayes,
            Self::Content(_) => Kind::Content,
            Self::Blend(_) => Kind::Blend,
            Self::Vectors(_) => return "vectors",
        };
        NAMES.into_iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name)
    }

    /// The protocol by which such a model is judged where nobody says.
    pub fn protocol(&self) -> &'static str {
        if matches!(self, Self::Sequential(_)) { "leave-last-out-full" } else { "user-90-10" }
    }

    /// The same with another seed; models without chance stay as they are.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        match &mut self {
            Self::Als(options) => options.seed = seed,
            Self::Content(options) => options.als.seed = seed,
            Self::Blend(options) => {
                options.seed = seed;
                let parts = std::mem::take(&mut options.parts);
                options.parts = parts.into_iter().map(|part| part.with_seed(seed)).collect();
            }
            _ => {}
        }
        self
    }

    /// The same with another number of threads wherever there is one to say. It changes how long training takes, and
    /// nothing else.
    #[must_use]
    pub fn with_threads(&self, threads: usize) -> Self {
        let keys = keys(&self.options(), "").into_iter();
        let counts = keys.filter(|key| key == "threads" || key.ends_with(".threads"));
        self.set(counts.map(|key| format!("{key}={threads}"))).expect("options that are there take a number")
    }

    /// The options as a tree.
    pub fn options(&self) -> Value {
        let mut value = serde_json::to_value(self).expect("settings are plain data");
        value["options"].take()
    }

    /// Changes options: `KEY=VALUE`, where the key of an option within one has dots (`ease.regularisation`, and in a
    /// blend `parts.0.options.regularisation`).
    ///
    /// # Errors
    /// [`SettingsError`] for the first that cannot be.
    pub fn set<S: AsRef<str>>(&self, pairs: impl IntoIterator<Item = S>) -> Result<Self, SettingsError> {
        let (mut settings, mut given) = (self.clone(), BTreeSet::new());
        for pair in pairs {
            let pair = pair.as_ref();
            let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(SettingsError::Form(pair.to_owned()));
            };
            if !given.insert(key.to_owned()) {
                return Err(SettingsError::Twice(key.to_owned()));
            }
            settings = settings.with(key, text)?;
        }
        Ok(settings)
    }

    /// What makes these settings of others of the same model: `KEY=VALUE` for each option that differs.
    pub fn changes(&self, from: &Self) -> Vec<String> {
        let (mine, theirs) = (self.options(), from.options());
        let at = |options: &Value, key: &str| options.pointer(&format!("/{}", key.replace('.', "/"))).cloned();
        let differs = |key: &String| at(&mine, key) != at(&theirs, key);
        let pair = |key: String| format!("{key}={}", at(&mine, &key).unwrap_or_default());
        keys(&mine, "").into_iter().filter(differs).map(pair).collect()
    }

    fn with(&self, key: &str, text: &str) -> Result<Self, SettingsError> {
        let mut value = serde_json::to_value(self).expect("settings are plain data");
        let known = keys(&value["options"], "").join(", ");
        let pointer = format!("/options/{}", key.replace('.', "/"));
        let Some(place) = value.pointer_mut(&pointer) else {
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(SettingsError::Key { model: self.name().to_owned(), key: key.to_owned(), known });
        };
        *place = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        serde_json::from_value(value).map_err(|error| SettingsError::Value {
            key: key.to_owned(),
            value: text.to_owned(),
            detail: error.to_string(),
        })
    }
}

/// The keys of all single values in a tree.
fn keys(value: &Value, before: &str) -> Vec<String> {
    let inner = |key: &str, value| keys(value, &format!("{before}{key}."));
    match value {
        Value::Object(map) => map.iter().flat_map(|(key, value)| inner(key, value)).collect(),
        Value::Array(list) => list.iter().enumerate().flat_map(|(at, value)| inner(&at.to_string(), value)).collect(),
        Value::Null => Vec::new(),
        _ => vec![before.trim_end_matches('.').to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_and_settings_that_are_plain_data() {
        for (name, kind) in NAMES {
            assert_eq!(name.parse::<Kind>(), Ok(kind));
            let settings = Settings::new(kind, 3);
            assert_eq!((settings.name(), kind.to_string().as_str()), (name, name));
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings, "{text}");
        }
        assert!("svd".parse::<Kind>().unwrap_err().to_string().contains("popular, item-knn"));
    }

    #[test]
    fn options_are_set_by_their_key() {
        let als = Settings::new(Kind::Als, 1).set(["factors=128", "nu=0.5"]).unwrap();
        assert!(matches!(&als, Settings::Als(AlsOptions { factors: 128, seed: 1, nu, .. }) if *nu == 0.5), "{als:?}");
        let sequential = Settings::new(Kind::Sequential, 0).set(["ease.regularisation=7"]).unwrap();
        assert!(matches!(&sequential, Settings::Sequential(options) if options.ease.regularisation == 7.0));
        let blend = Settings::new(Kind::Blend, 5).set(["parts.1.options.factors=8", "in_time=true"]).unwrap();
        let Settings::Blend(BlendSettings { parts, in_time: true, .. }) = blend else { panic!("{blend:?}") };
        assert!(matches!(&parts[1], Settings::Als(AlsOptions { factors: 8, seed: 5, .. })));
        let threads = |settings: &Settings| settings.options().to_string().matches(r#""threads":3"#).count();
        let blend = Settings::new(Kind::Blend, 0).with_threads(3);
        assert!(threads(&blend) >= 5 && threads(&Settings::Popular.with_threads(3)) == 0, "{blend:?}");
        let changes = als.changes(&Settings::new(Kind::Als, 1));
        assert_eq!(changes, ["factors=128", "nu=0.5"]);
        assert_eq!(Settings::new(Kind::Als, 1).set(changes), Ok(als));
    }

    #[test]
    fn wrong_options_say_what_there_is() {
        let als = Settings::new(Kind::Als, 0);
        let why = |pair: &str| als.set([pair]).unwrap_err().to_string();
        assert!(why("factor=1").contains("\"factor\"") && why("factor=1").contains("factors, "), "{}", why("factor=1"));
        assert!(why("factors").contains("KEY=VALUE") && why("=1").contains("KEY=VALUE"));
        assert!(why("factors=many").starts_with("--set factors=many"), "{}", why("factors=many"));
        assert!(why("factors=-1").contains("factors=-1"));
        assert_eq!(als.set(["factors=8", "nu=1", "factors=9"]), Err(SettingsError::Twice("factors".into())));
        let popular = Settings::Popular.set(["a=1"]).unwrap_err().to_string();
        assert!(popular.contains("popular has no option") && popular.ends_with("it has none"), "{popular}");
    }
}
