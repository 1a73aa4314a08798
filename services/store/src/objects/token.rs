//! Addresses that need no key, for objects that we serve ourselves.
//!
//! A token says which tenant's object may be read or replaced until when, and carries an HMAC-SHA256 over that, so that
//! nothing has to be stored for it. It is the base64 (URL alphabet, RFC 4648) of the HMAC followed by the JSON.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::Access;
use super::check::failure;
use crate::{ErrorKind, StoreError, Tenant};

const MAC_BYTES: usize = 32;
/// A token is no longer than this, in bytes: the longest key, escaped, fits.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// What a token allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose object.
    pub tenant: Tenant,
    /// Which one.
    pub key: String,
    /// What may be done with it.
    pub access: Access,
    /// Until when, in milliseconds since 1970.
    pub expires_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    tenant: String,
    key: String,
    put: bool,
    expires_ms: i64,
}

/// Signs tokens, and knows its own again.
#[derive(Clone)]
pub struct Signer(Hmac<Sha256>);

impl Signer {
    /// A signer with a secret of its own.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(secret).expect("an HMAC takes a key of any length"))
    }

    /// The token for a grant.
    pub fn sign(&self, grant: &Grant) -> String {
        let claims = Claims {
            tenant: grant.tenant.to_string(),
            key: grant.key.clone(),
            put: grant.access == Access::Put,
            expires_ms: grant.expires_ms,
        };
        let said = serde_json::to_vec(&claims).expect("strings and numbers are JSON");
        let mut token = self.mac(&said).finalize().into_bytes().to_vec();
        token.extend(said);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What a token allows at this time.
    ///
    /// # Errors
    /// `Denied`, with the same words whatever is wrong with it, but for its age.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<Grant, StoreError> {
        let denied = |detail: &str| failure("grant", ErrorKind::Denied, detail);
        let forged = || denied("this token was not signed here, or was changed");
        if token.len() > TOKEN_BYTES_MAX {
            return Err(forged());
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| forged())?;
        let (mac, said) = bytes.split_at_checked(MAC_BYTES).ok_or_else(forged)?;
        self.mac(said).verify_slice(mac).map_err(|_| forged())?;
        let claims: Claims = serde_json::from_slice(said).map_err(|_| forged())?;
        if claims.expires_ms <= now_ms {
            return Err(denied("this token is too old: ask for another one"));
        }
        let access = if claims.put { Access::Put } else { Access::Get };
        let tenant = claims.tenant.parse().map_err(|_| forged())?;
        Ok(Grant { tenant, key: claims.key, access, expires_ms: claims.expires_ms })
    }

    fn mac(&self, said: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(said);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant { tenant: "acme".parse().unwrap(), key: "a/ü \"%\".png".into(), access: Access::Get, expires_ms: 1_000 }
    }

    #[test]
    fn a_token_says_what_was_signed_until_it_is_too_old() {
        let signer = Signer::new(&[7; 32]);
        let token = signer.sign(&grant());
        assert_eq!(signer.verify(&token, 999).unwrap(), grant());
        let error = signer.verify(&token, 1_000).unwrap_err();
        assert!(error.kind == ErrorKind::Denied && error.detail.contains("too old"));
    }

    #[test]
    fn a_changed_token_or_another_secret_is_denied() {
        let signer = Signer::new(&[7; 32]);
        let token = signer.sign(&grant());
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(signer.verify(&URL_SAFE_NO_PAD.encode(changed), 0).unwrap_err().kind, ErrorKind::Denied);
        }
        for token in ["", "%", "AAAA", &token[1..], &"A".repeat(10_000)] {
            assert_eq!(signer.verify(token, 0).unwrap_err().kind, ErrorKind::Denied);
        }
        assert_eq!(Signer::new(&[8; 32]).verify(&token, 0).unwrap_err().kind, ErrorKind::Denied);
    }
}
