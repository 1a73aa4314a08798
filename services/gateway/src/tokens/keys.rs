//! The keys of a JSON Web Key Set (RFC 7517), each for one algorithm.
//!
//! What a key is for is decided here, by the key, and never by a token (RFC 8725, sections 2.1 and 3.1): a public RSA key
//! is never the secret of an HMAC.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde_json::Value;

/// The most keys of a set.
const KEYS_MAX: usize = 100;
/// RFC 7518, section 3.3.
const RSA_BITS_MIN: usize = 2_048;
/// RFC 7518, section 3.2.
const SECRET_BYTES_MIN: usize = 32;

/// Where a set came from: a secret that both sides know has no place in a file that everybody may fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    File,
    Network,
}

/// A key.
#[derive(Clone)]
pub(super) struct TokenKey {
    pub id: Option<String>,
    pub algorithm: Algorithm,
    pub key: DecodingKey,
}

/// Some keys.
#[derive(Clone, Default)]
pub(super) struct KeySet(Vec<TokenKey>);

impl KeySet {
    /// Reads the keys of a set that are for `algorithms`. A key that is for something else than what is done here is left out, since sets grow; one that is
    /// too weak is an error.
    ///
    /// # Errors
    /// A sentence that says which key, and what is wrong with it.
    pub fn read(json: &[u8], origin: Origin, algorithms: &[Algorithm]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(json).map_err(|error| format!("it is not JSON: {error}"))?;
        let keys = set["keys"].as_array().ok_or("it has no list `keys`: a JSON Web Key Set is needed (RFC 7517)")?;
        if keys.len() > KEYS_MAX {
            return Err(format!("it has {} keys, {KEYS_MAX} are the most", keys.len()));
        }
        let mut read = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let at = |error: String| format!("key {index}: {error}");
            let Ok(key) = serde_json::from_value::<Jwk>(key.clone()) else { continue };
            read.extend(token_key(key, origin).map_err(at)?.filter(|key| algorithms.contains(&key.algorithm)));
        }
        if read.is_empty() {
            let wanted: Vec<String> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
            return Err(format!("it has no key for {}", wanted.join(" or ")));
        }
        Ok(Self(read))
    }

    /// The key that a token names; without a name, the one key of its algorithm, where there is one.
    pub fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&TokenKey> {
        let Some(id) = id else {
            let mut fitting = self.0.iter().filter(|key| key.algorithm == algorithm);
            return fitting.next().filter(|_| fitting.next().is_none());
        };
        self.0.iter().find(|key| key.id.as_deref() == Some(id))
    }
}

fn token_key(jwk: Jwk, origin: Origin) -> Result<Option<TokenKey>, String> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Ok(None);
    }
    let Some(algorithm) = algorithm_of(&jwk, origin)? else { return Ok(None) };
    let named = jwk.common.key_algorithm.map(|named| named.to_string().parse::<Algorithm>().ok());
    if named.is_some_and(|named| named != Some(algorithm)) {
        return Ok(None);
    }
    let key = DecodingKey::from_jwk(&jwk).map_err(|error| format!("it cannot be read: {error}"))?;
    Ok(Some(TokenKey { id: jwk.common.key_id, algorithm, key }))
}

/// The one algorithm of a key.
fn algorithm_of(jwk: &Jwk, origin: Origin) -> Result<Option<Algorithm>, String> {
    let bytes = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| "it is not base64".to_owned());
    Ok(match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            let modulus = bytes(&key.n)?;
            let bits = modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
            if bits < RSA_BITS_MIN {
                return Err(format!("an RSA key of {bits} bits is too weak: {RSA_BITS_MIN} are the least"));
            }
            Some(Algorithm::RS256)
        }
        AlgorithmParameters::EllipticCurve(key) => (key.curve == EllipticCurve::P256).then_some(Algorithm::ES256),
        AlgorithmParameters::OctetKeyPair(key) => (key.curve == EllipticCurve::Ed25519).then_some(Algorithm::EdDSA),
        AlgorithmParameters::OctetKey(_) if origin == Origin::Network => {
            return Err("a secret is no key to be fetched over the network: use a file".to_owned());
        }
        AlgorithmParameters::OctetKey(key) => {
            let length = bytes(&key.value)?.len();
            if length < SECRET_BYTES_MIN {
                return Err(format!("a secret of {length} bytes is too weak: {SECRET_BYTES_MIN} are the least"));
            }
            Some(Algorithm::HS256)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tokens::TOKEN_ALGORITHMS;

    fn secret(bytes: usize) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(vec![7_u8; bytes])
    }

    fn read(keys: Value, origin: Origin) -> Result<KeySet, String> {
        KeySet::read(json!({"keys": keys}).to_string().as_bytes(), origin, &TOKEN_ALGORITHMS)
    }

    #[test]
    fn a_key_is_for_one_algorithm_whatever_a_token_says() {
        let set = read(
            json!([
                {"kty": "oct", "k": secret(32), "kid": "s"},
                {"kty": "RSA", "n": secret(256), "e": "AQAB", "kid": "r"},
                {"kty": "OKP", "crv": "Ed25519", "x": secret(32), "kid": "d"},
                {"kty": "EC", "crv": "P-256", "x": secret(32), "y": secret(32), "kid": "e"},
            ]),
            Origin::File,
        );
        let set = set.unwrap();
        for (id, algorithm) in
            [("s", Algorithm::HS256), ("r", Algorithm::RS256), ("d", Algorithm::EdDSA), ("e", Algorithm::ES256)]
        {
            assert_eq!(set.find(Some(id), Algorithm::HS256).unwrap().algorithm, algorithm);
            assert_eq!(set.find(None, algorithm).unwrap().id.as_deref(), Some(id));
        }
        assert!(set.find(Some("x"), Algorithm::HS256).is_none() && set.find(None, Algorithm::HS512).is_none());
    }

    #[test]
    fn what_is_weak_is_refused_and_what_is_for_something_else_is_left_out() {
        let good = json!({"kty": "OKP", "crv": "Ed25519", "x": secret(32)});
        let weak = [
            (json!({"kty": "oct", "k": secret(31)}), Origin::File, "31 bytes"),
            (json!({"kty": "RSA", "n": secret(128), "e": "AQAB"}), Origin::File, "1024 bits"),
            (json!({"kty": "oct", "k": secret(64)}), Origin::Network, "use a file"),
        ];
        for (key, origin, why) in weak {
            let error = read(json!([good, key]), origin).err().expect("a refusal");
            assert!(error.contains("key 1") && error.contains(why), "{error}");
        }
        let elsewhere = [
            json!({"kty": "RSA", "n": secret(256), "e": "AQAB", "use": "enc"}),
            json!({"kty": "RSA", "n": secret(256), "e": "AQAB", "alg": "PS256"}),
            json!({"kty": "EC", "crv": "P-384", "x": secret(48), "y": secret(48)}),
            json!({"kty": "oct", "k": secret(64), "alg": "HS512"}),
            json!({"kty": "AKP", "pub": "x"}),
            json!(7),
        ];
        for key in elsewhere {
            assert!(read(json!([key]), Origin::File).is_err(), "{key}");
            assert_eq!(read(json!([good, key]), Origin::File).unwrap().0.len(), 1, "{key}");
        }
        for nonsense in ["", "[]", "{}", "{\"keys\":{}}"] {
            assert!(KeySet::read(nonsense.as_bytes(), Origin::File, &TOKEN_ALGORITHMS).is_err());
        }
    }

    #[test]
    fn keys_for_other_algorithms_are_left_out() {
        let keys = json!({"keys": [
            {"kty": "RSA", "n": secret(256), "e": "AQAB", "kid": "r"},
            {"kty": "OKP", "crv": "Ed25519", "x": secret(32), "kid": "d"},
        ]});
        let read = |algorithms: &[Algorithm]| KeySet::read(keys.to_string().as_bytes(), Origin::File, algorithms);
        let set = read(&[Algorithm::EdDSA]).unwrap();
        assert!(set.find(Some("r"), Algorithm::RS256).is_none() && set.find(Some("d"), Algorithm::EdDSA).is_some());
        assert_eq!(read(&[Algorithm::ES256]).err().as_deref(), Some("it has no key for ES256"));
    }

    #[test]
    fn without_a_name_a_token_needs_the_only_key() {
        let key = json!({"kty": "oct", "k": secret(32)});
        let two = read(json!([key, key]), Origin::File).unwrap();
        assert!(two.find(None, Algorithm::HS256).is_none());
    }
}
