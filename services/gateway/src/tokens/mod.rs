//! JSON Web Tokens of the installation's own identity provider, by the rules of RFC 8725.
//!
//! A key has one algorithm, which the token's header may confirm and never choose; `iss`, `aud` and `exp` are demanded,
//! `nbf` is honoured; tenant and scopes come from claims that are configured. A token that was found good is remembered
//! for a minute at most, and no longer than its key is in the set.
//!
//! Where there are several issuers, a token says whose it is before that can be believed: it is then checked with the keys,
//! the audience and the algorithms of that issuer alone, so that a key of one signs nothing for another.

mod keys;
mod source;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use attune_api::{ApiError, ErrorCode, Scope};
use attune_store::{Tenant, clock, relational::Relational};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Header, Validation};
use moka::sync::Cache;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use self::{keys::TokenKey, source::Source};
use crate::auth::{Caller, Scopes};

/// The longest token, in bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// The longest subject, in bytes.
const SUBJECT_BYTES_MAX: usize = 256;
/// Tokens that are remembered; those used least go first.
const REMEMBERED_MAX: u64 = 10_000;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
/// How long a token with an unknown key waits for the keys to be read again.
const UNKNOWN_MAX: Duration = Duration::from_secs(2);
/// How long it is believed that a tenant is there, and how long where the store does not answer.
const TENANT_FOR: Duration = Duration::from_secs(5);
const TENANT_STALE_MAX: Duration = Duration::from_secs(15 * 60);
/// In which a number of a claim is whole seconds.
const MS: f64 = 1e3;

/// A way to sign tokens.
pub use jsonwebtoken::Algorithm as TokenAlgorithm;

/// Those that are taken here.
pub const TOKEN_ALGORITHMS: [TokenAlgorithm; 4] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS256];

/// Which tokens of an issuer are valid, and what they say.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// What `iss` has to be.
    pub issuer: String,
    /// What `aud` has to be, or to contain.
    pub audience: String,
    /// A JSON Web Key Set: a path, or an address that begins with `https://`.
    pub keys: String,
    /// How often it is read again.
    pub refresh: Duration,
    /// Keys for others than these are left out. Some of [`TOKEN_ALGORITHMS`].
    pub algorithms: Vec<TokenAlgorithm>,
    /// By how much the clocks of provider and server may differ.
    pub leeway: Duration,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The tenant of tokens without that claim; without it, they are refused.
    pub tenant: Option<Tenant>,
    /// The tenants that tokens may name; without any, all that there are.
    pub tenants: Vec<Tenant>,
    /// The claim that names scopes: a list, or a text with spaces between them.
    pub scope_claim: String,
    /// What a scope of ours has before its name there.
    pub scope_prefix: String,
}

/// Why no token can be checked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TokenError {
    /// The keys are not there, or not what they should be.
    #[error("the keys of tokens cannot be read from {place}: {why} (auth.jwt.keys)")]
    Keys {
        /// Where they should be.
        place: String,
        /// What is wrong.
        why: String,
    },
}

/// Checks tokens. Cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    inner: Arc<Inner>,
}

struct Inner {
    issuers: Vec<Issuer>,
    rows: Arc<dyn Relational>,
    remembered: Cache<[u8; 32], Arc<Remembered>>,
    /// When the store last said that a tenant is there.
    tenants: Cache<Arc<str>, Instant>,
}

/// Who signs tokens.
struct Issuer {
    config: TokenConfig,
    source: Arc<Source>,
    /// There are others, so that his subjects are to be told from theirs.
    is_one_of_several: bool,
}

struct Remembered {
    caller: Caller,
    ends_ms: i64,
    /// Its place among the issuers.
    issuer: usize,
    /// Of the set whose key it was checked with.
    generation: u64,
}

impl Tokens {
    /// Reads the keys of each issuer; `rows` says which tenants there are. No two of them may have one name.
    ///
    /// # Errors
    /// The keys are a file, and not good; or the address is none.
    pub async fn open(configs: Vec<TokenConfig>, rows: Arc<dyn Relational>) -> Result<Self, TokenError> {
        let is_one_of_several = configs.len() > 1;
        let mut issuers = Vec::with_capacity(configs.len());
        for config in configs {
            let source = Source::open(&config.keys, config.algorithms.clone(), config.refresh).await?;
            issuers.push(Issuer { config, source, is_one_of_several });
        }
        let remembered = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(REMEMBERED_FOR).build();
        let tenants = Cache::builder().max_capacity(REMEMBERED_MAX).time_to_live(TENANT_STALE_MAX).build();
        Ok(Self { inner: Arc::new(Inner { issuers, rows, remembered, tenants }) })
    }

    /// Reads the keys of an issuer once, as [`open`](Self::open) would. What is wrong with an address keeps nothing
    /// from opening, and is the answer.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn try_keys(config: &TokenConfig) -> Result<Option<TokenError>, TokenError> {
        Source::first(&config.keys, config.algorithms.clone()).await.map(|(_, missing)| missing)
    }

    /// A tenant was deleted here.
    pub(crate) fn forget_tenant(&self, tenant: &Tenant) {
        self.inner.tenants.invalidate(tenant.as_str());
    }

    /// Whether `presented` looks like a token.
    pub(crate) fn is_token(presented: &str) -> bool {
        presented.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The holder of a token, if it is a good one.
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, ApiError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(bad("the token is too long"));
        }
        let name: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let remembered = self.inner.remembered.get(&name);
        let is_current =
            |one: &Arc<Remembered>| one.generation == self.inner.issuers[one.issuer].source.current().generation;
        let remembered = match remembered.filter(is_current) {
            Some(remembered) => remembered,
            None => {
                let checked = Arc::new(self.check(token).await?);
                self.inner.remembered.insert(name, Arc::clone(&checked));
                checked
            }
        };
        if remembered.ends_ms <= clock::latest_ms() {
            return Err(bad("the token has expired"));
        }
        self.require_tenant(&remembered.caller.tenant).await?;
        Ok(remembered.caller.clone())
    }

    async fn check(&self, token: &str) -> Result<Remembered, ApiError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| bad("the token cannot be read"))?;
        check_header(&header)?;
        let place = self.issuer(token)?;
        let issuer = &self.inner.issuers[place];
        let (key, generation) = issuer.key(&header).await?;
        if key.algorithm != header.alg {
            return Err(bad("the token's algorithm is not that of its key"));
        }
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&[&issuer.config.issuer]);
        validation.set_audience(&[&issuer.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are ours to check: with a clock that cannot be set back.
        validation.validate_exp = false;
        let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation);
        let claims = decoded.map_err(|error| bad(why(&error)))?.claims;
        let ends_ms = issuer.check_times(&claims)?;
        Ok(Remembered { caller: issuer.caller(&claims)?, ends_ms, issuer: place, generation })
    }

    /// The place of the issuer that a token says is its own. Nothing is believed yet.
    fn issuer(&self, token: &str) -> Result<usize, ApiError> {
        #[derive(serde::Deserialize)]
        struct Named {
            iss: String,
        }
        let issuers = &self.inner.issuers;
        if issuers.len() == 1 {
            return Ok(0);
        }
        let claims = token.split('.').nth(1).unwrap_or_default();
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).map_err(|_| bad("the token cannot be read"))?;
        let named = serde_json::from_slice::<Named>(&claims).map_err(|_| bad("the token has no issuer (`iss`)"))?;
        let place = issuers.iter().position(|issuer| issuer.config.issuer == named.iss);
        place.ok_or_else(|| bad("the token is of another issuer"))
    }

    /// A tenant that was deleted, or never was, has no callers.
    async fn require_tenant(&self, name: &Arc<str>) -> Result<(), ApiError> {
        let seen = self.inner.tenants.get(name);
        if seen.is_some_and(|seen| seen.elapsed() < TENANT_FOR) {
            return Ok(());
        }
        let no_tenant = || bad("the token's tenant is not one of this installation");
        let tenant = name.parse().map_err(|_| no_tenant())?;
        match self.inner.rows.tenant(&tenant).await {
            Ok(Some(_)) => self.inner.tenants.insert(Arc::clone(name), Instant::now()),
            Ok(None) => {
                self.inner.tenants.invalidate(name);
                return Err(no_tenant());
            }
            Err(error) if seen.is_none() => return Err(error.into()),
            Err(_) => {}
        }
        Ok(())
    }
}

impl Issuer {
    /// The key of a token. One that is unknown may be new.
    async fn key(&self, header: &Header) -> Result<(TokenKey, u64), ApiError> {
        let source = &self.source;
        let find = || {
            let read = source.current();
            read.set.find(header.kid.as_deref(), header.alg).map(|key| (key.clone(), read.generation))
        };
        if let Some(found) = find() {
            return Ok(found);
        }
        let _late = tokio::time::timeout(UNKNOWN_MAX, source.look_again()).await;
        find().ok_or_else(|| bad("the token's key is unknown"))
    }

    /// Until when the token is valid, in Unix milliseconds.
    fn check_times(&self, claims: &Map<String, Value>) -> Result<i64, ApiError> {
        let leeway_ms = self.config.leeway.as_millis() as i64;
        let ends_ms =
            time_ms(claims, "exp")?.ok_or_else(|| bad("the token has no end (`exp`)"))?.saturating_add(leeway_ms);
        if ends_ms <= clock::latest_ms() {
            return Err(bad("the token has expired"));
        }
        let begins_ms = time_ms(claims, "nbf")?.unwrap_or(0);
        if begins_ms > clock::earliest_ms().saturating_add(leeway_ms) {
            return Err(bad("the token is not valid yet"));
        }
        Ok(ends_ms)
    }

    fn caller(&self, claims: &Map<String, Value>) -> Result<Caller, ApiError> {
        let config = &self.config;
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        if subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX || subject.chars().any(char::is_control) {
            return Err(bad("the token's subject is not 1 to 256 bytes of printable text"));
        }
        let tenant = match claims.get(&config.tenant_claim) {
            Some(named) => named.as_str().and_then(|name| name.parse().ok()),
            None => config.tenant.clone(),
        };
        let tenant: Tenant = tenant.ok_or_else(|| bad("the token names no tenant"))?;
        if !config.tenants.is_empty() && !config.tenants.contains(&tenant) {
            return Err(bad("the token's issuer may not speak for its tenant"));
        }
        let scopes = scopes(claims.get(&config.scope_claim), &config.scope_prefix);
        // Apart from the ids of keys, whatever a provider calls people.
        let id = match self.is_one_of_several {
            false => format!("token:{subject}"),
            true => format!("token:{}#{subject}", config.issuer),
        };
        Ok(Caller { id: id.into(), tenant: tenant.as_str().into(), scopes })
    }
}

/// RFC 8725, section 3.11, and RFC 7515, section 4.1.11: what we would have to understand and do not is refused.
fn check_header(header: &Header) -> Result<(), ApiError> {
    if !TOKEN_ALGORITHMS.contains(&header.alg) {
        return Err(bad("the token's algorithm is not one of RS256, ES256, EdDSA and HS256"));
    }
    let kind = header.typ.as_deref().unwrap_or("JWT");
    if !["jwt", "at+jwt", "application/at+jwt"].contains(&kind.to_ascii_lowercase().as_str()) {
        return Err(bad("the token is of another kind than `JWT` or `at+jwt`"));
    }
    if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
        return Err(bad("the token's header demands what this server does not do"));
    }
    Ok(())
}

/// A claim of Unix seconds, in milliseconds.
fn time_ms(claims: &Map<String, Value>, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(time) = claims.get(name) else { return Ok(None) };
    let seconds = time.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| bad("a time of the token is not a number of seconds"))?;
    Ok(Some((seconds * MS) as i64))
}

/// The scopes of a claim; words that name none of ours are somebody else's.
fn scopes(claim: Option<&Value>, prefix: &str) -> Scopes {
    let words: Vec<&str> = match claim {
        Some(Value::String(text)) => text.split(' ').collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    words.into_iter().filter_map(|word| word.strip_prefix(prefix)?.parse::<Scope>().ok()).collect()
}

fn why(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidSignature => "the token's signature is wrong",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "exp" => "the token has no end (`exp`)",
            "iss" => "the token has no issuer (`iss`)",
            "aud" => "the token has no audience (`aud`)",
            _ => "the token has no subject (`sub`)",
        },
        _ => "the token cannot be read",
    }
}

fn bad(detail: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthenticated, detail)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scopes_are_words_with_our_prefix() {
        let of = |claim: Value, prefix: &str| scopes(Some(&claim), prefix);
        assert_eq!(of(json!("read openid infer"), ""), Scopes::of(&[Scope::Read, Scope::Infer]));
        assert_eq!(of(json!(["attune:write", "read", 7]), "attune:"), Scopes::of(&[Scope::Write]));
        for nothing in [json!(""), json!(null), json!({"read": true}), json!("READ"), json!("attune:")] {
            assert_eq!(of(nothing, "attune:"), Scopes::default());
        }
        assert_eq!(scopes(None, ""), Scopes::default());
    }

    #[test]
    fn a_token_has_two_dots_and_a_key_has_none() {
        assert!(Tokens::is_token("a.b.c") && !Tokens::is_token("att_abc") && !Tokens::is_token("a.b.c.d.e"));
    }
}
