//! `[auth.jwt]`: tokens of identity providers.

use std::fmt;
use std::time::Duration;

use attune_gateway::{TOKEN_ALGORITHMS, TokenAlgorithm, TokenConfig};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// Who may call besides holders of keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Tokens of identity providers.
    pub jwt: Issuers,
}

/// `[auth.jwt]` is one issuer of tokens, `[[auth.jwt]]` one of several.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Issuers {
    /// Without keys, no token is valid.
    One(Box<Jwt>),
    /// Each with keys of its own.
    Many(Vec<Jwt>),
}

/// The most issuers.
const ISSUERS_MAX: usize = 32;

impl Default for Issuers {
    fn default() -> Self {
        Self::One(Box::default())
    }
}

/// By hand, so that a mistake is told as one of the form that was written.
impl<'de> Deserialize<'de> for Issuers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Issuers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a section [auth.jwt], or several [[auth.jwt]]")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Issuers, A::Error> {
                Jwt::deserialize(MapAccessDeserializer::new(map)).map(|one| Issuers::One(Box::new(one)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Issuers, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(Issuers::Many)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// Which tokens of an issuer are valid, and what they say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jwt {
    /// A JSON Web Key Set: a path, or an address that begins with https://.
    pub keys: String,
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to contain.
    pub audience: String,
    /// The algorithms of its keys; others are left out.
    pub algorithms: Vec<String>,
    /// By how many seconds the clocks of provider and server may differ.
    pub leeway_s: u64,
    /// After how many seconds the keys are read again.
    pub refresh_s: u64,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; if empty, they are refused.
    pub tenant: String,
    /// The tenants for which it may speak; if empty, all.
    pub tenants: Vec<String>,
    /// The claim that names scopes.
    pub scope_claim: String,
    /// What a scope of ours has before its name there.
    pub scope_prefix: String,
}

impl Default for Jwt {
    fn default() -> Self {
        Self {
            keys: String::new(),
            issuer: String::new(),
            audience: "attune".into(),
            algorithms: TOKEN_ALGORITHMS.iter().map(|algorithm| format!("{algorithm:?}")).collect(),
            leeway_s: 30,
            refresh_s: 300,
            tenant_claim: "tenant".into(),
            tenant: String::new(),
            tenants: Vec::new(),
            scope_claim: "scope".into(),
            scope_prefix: String::new(),
        }
    }
}

impl Issuers {
    /// In the words of the gateway; none without keys.
    ///
    /// # Errors
    /// A sentence with the key that is missing, or makes no sense.
    pub fn tokens(&self) -> Result<Vec<TokenConfig>, String> {
        let many = match self {
            Self::One(one) if one.keys.is_empty() => return Ok(Vec::new()),
            Self::One(one) => return Ok(vec![one.tokens("auth.jwt")?]),
            Self::Many(many) => many,
        };
        if many.len() > ISSUERS_MAX {
            return Err(format!("auth.jwt has {} issuers, {ISSUERS_MAX} are the most", many.len()));
        }
        let mut tokens: Vec<TokenConfig> = Vec::with_capacity(many.len());
        for (place, issuer) in many.iter().enumerate() {
            let section = format!("auth.jwt[{place}]");
            let read = issuer.tokens(&section)?;
            if tokens.iter().any(|known| known.issuer == read.issuer) {
                return Err(format!("{section}.issuer is {:?} once more: an issuer has one section", read.issuer));
            }
            tokens.push(read);
        }
        Ok(tokens)
    }
}

impl Jwt {
    fn tokens(&self, section: &str) -> Result<TokenConfig, String> {
        let demanded = [
            ("keys", &self.keys),
            ("issuer", &self.issuer),
            ("audience", &self.audience),
            ("tenant_claim", &self.tenant_claim),
            ("scope_claim", &self.scope_claim),
        ];
        if let Some((name, _)) = demanded.into_iter().find(|(_, value)| value.is_empty()) {
            return Err(format!("{section}.{name} is empty: tokens are checked against it"));
        }
        for (name, value, min, max) in
            [("leeway_s", self.leeway_s, 0, 600), ("refresh_s", self.refresh_s, 1, 7 * 86_400)]
        {
            if !(min..=max).contains(&value) {
                return Err(format!("{section}.{name} is {value}, it must be {min} to {max}"));
            }
        }
        let tenant = (!self.tenant.is_empty()).then(|| self.tenant.parse()).transpose();
        let tenants = self.tenants.iter().map(|tenant| tenant.parse()).collect::<Result<_, _>>();
        Ok(TokenConfig {
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            keys: self.keys.clone(),
            algorithms: self.algorithms(section)?,
            refresh: Duration::from_secs(self.refresh_s),
            leeway: Duration::from_secs(self.leeway_s),
            tenant_claim: self.tenant_claim.clone(),
            tenant: tenant.map_err(|error| format!("{section}.tenant: {error}"))?,
            tenants: tenants.map_err(|error| format!("{section}.tenants: {error}"))?,
            scope_claim: self.scope_claim.clone(),
            scope_prefix: self.scope_prefix.clone(),
        })
    }

    fn algorithms(&self, section: &str) -> Result<Vec<TokenAlgorithm>, String> {
        let read = |name: &String| name.parse().ok().filter(|algorithm| TOKEN_ALGORITHMS.contains(algorithm));
        let wrong = || {
            let known: Vec<String> = TOKEN_ALGORITHMS.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            format!("{section}.algorithms is {:?}, it must name some of {}", self.algorithms, known.join(", "))
        };
        let algorithms: Option<Vec<TokenAlgorithm>> = self.algorithms.iter().map(read).collect();
        algorithms.filter(|algorithms| !algorithms.is_empty()).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Jwt {
        Jwt { keys: "keys.json".into(), issuer: "https://id.example".into(), ..Jwt::default() }
    }

    fn of(jwt: Jwt) -> Result<Vec<TokenConfig>, String> {
        Issuers::One(Box::new(jwt)).tokens()
    }

    #[test]
    fn keys_need_an_issuer_and_an_audience() {
        assert!(Issuers::default().tokens().unwrap().is_empty());
        assert!(of(Jwt { issuer: String::new(), ..complete() }).unwrap_err().contains("auth.jwt.issuer"));
        let tokens = of(complete()).unwrap();
        assert!(tokens[0].tenant.is_none() && tokens[0].algorithms == TOKEN_ALGORITHMS);
        for (wrong, key) in [
            (Jwt { audience: String::new(), ..complete() }, "audience"),
            (Jwt { leeway_s: 3_600, ..complete() }, "leeway_s"),
            (Jwt { refresh_s: 0, ..complete() }, "refresh_s"),
            (Jwt { tenant: "Not One".into(), ..complete() }, "tenant"),
            (Jwt { tenants: vec!["a".into(), "Not One".into()], ..complete() }, "tenants"),
            (Jwt { algorithms: Vec::new(), ..complete() }, "algorithms"),
            (Jwt { algorithms: vec!["none".into()], ..complete() }, "algorithms"),
            (Jwt { algorithms: vec!["HS512".into()], ..complete() }, "algorithms"),
        ] {
            assert!(of(wrong).unwrap_err().contains(&format!("auth.jwt.{key}")));
        }
    }

    #[test]
    fn several_issuers_each_have_keys_and_a_name() {
        let other = Jwt { issuer: "https://other.example".into(), ..complete() };
        assert_eq!(Issuers::Many(vec![complete(), other.clone()]).tokens().unwrap().len(), 2);
        let twice = Issuers::Many(vec![complete(), other, complete()]).tokens().unwrap_err();
        assert!(twice.contains("auth.jwt[2].issuer"), "{twice}");
        let without = Issuers::Many(vec![complete(), Jwt::default()]).tokens().unwrap_err();
        assert!(without.contains("auth.jwt[1].keys"), "{without}");
    }

    #[test]
    fn both_forms_are_read_and_mistakes_are_told_of_the_form_that_was_written() {
        let read = |text: &str| toml::from_str::<Auth>(text).map_err(|error| error.to_string());
        let one = read("[jwt]\nissuer = \"a\"\n").unwrap();
        assert!(matches!(&one.jwt, Issuers::One(one) if one.issuer == "a"));
        let many = read("[[jwt]]\nissuer = \"a\"\n[[jwt]]\nissuer = \"b\"\n").unwrap();
        assert!(matches!(&many.jwt, Issuers::Many(many) if many[1].issuer == "b"));
        for auth in [one, many] {
            assert_eq!(read(&toml::to_string(&auth).unwrap()), Ok(auth));
        }
        for text in ["[jwt]\nisuer = \"a\"\n", "[[jwt]]\nisuer = \"a\"\n"] {
            assert!(read(text).unwrap_err().contains("unknown field `isuer`"), "{text}");
        }
        assert!(read("jwt = 7").unwrap_err().contains("[[auth.jwt]]"));
    }
}
