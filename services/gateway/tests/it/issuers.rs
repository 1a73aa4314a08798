//! Tokens of several identity providers: each signs for itself alone.

use std::fs;

use attune_gateway::{TokenAlgorithm as Algorithm, TokenConfig};
use jsonwebtoken::{EncodingKey, encode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    raw::Ask,
    support::Server,
    tokens::{ISSUER, ask, claims_but, config, ed_key, forged, header, refused, rsa_key, signer},
};

const OTHER: &str = "https://other.example";
const OTHERS_AUDIENCE: &str = "attune-of-others";

/// The first signs with RSA for everybody, the other with Ed25519 for the tenant `acme` alone. Their keys have one name.
async fn two() -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let keys = |name: &str, keys: Value| {
        let path = folder.path().join(name);
        fs::write(&path, json!({"keys": keys}).to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let first = config(&keys("first.json", json!([rsa_key("key")])));
    let other = TokenConfig {
        issuer: OTHER.to_owned(),
        audience: OTHERS_AUDIENCE.to_owned(),
        algorithms: vec![Algorithm::EdDSA],
        tenant_claim: "org".to_owned(),
        tenant: None,
        tenants: vec!["acme".parse().unwrap()],
        ..config(&keys("other.json", json!([ed_key("key"), rsa_key("rsa")])))
    };
    let server = Server::with_issuers(vec![first, other]).await;
    server.tenant("acme").await;
    (server, folder)
}

fn token(algorithm: Algorithm, kid: &str, claims: &Value) -> String {
    encode(&header(algorithm, kid), claims, &signer(algorithm)).unwrap()
}

fn others_claims(changes: Value) -> Value {
    let mut all = json!({"iss": OTHER, "aud": OTHERS_AUDIENCE, "org": "acme"});
    all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    claims_but(all)
}

#[tokio::test]
async fn each_issuer_signs_with_its_own_keys() {
    let (server, _folder) = two().await;
    let first = token(Algorithm::RS256, "key", &claims_but(json!({})));
    let other = token(Algorithm::EdDSA, "key", &others_claims(json!({})));
    for token in [&first, &other, &first, &other] {
        let answer = ask(&server, token).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
    refused(&server, &token(Algorithm::RS256, "key", &claims_but(json!({"iss": "https://third.example"}))), "issuer")
        .await;
    refused(&server, &token(Algorithm::RS256, "key", &claims_but(json!({"iss": null}))), "issuer").await;
    refused(&server, &token(Algorithm::RS256, "key", &claims_but(json!({"iss": [ISSUER, OTHER]}))), "issuer").await;
}

#[tokio::test]
async fn a_key_of_one_signs_nothing_for_another() {
    let (server, _folder) = two().await;
    // Their keys have one name, so that only the issuer tells which is meant.
    refused(&server, &token(Algorithm::EdDSA, "key", &claims_but(json!({}))), "not that of its key").await;
    refused(&server, &token(Algorithm::RS256, "key", &others_claims(json!({}))), "not that of its key").await;
    // A key that the other has as well, but not for tokens: it signs with other algorithms there.
    refused(&server, &token(Algorithm::RS256, "rsa", &others_claims(json!({}))), "key is unknown").await;
    refused(&server, &token(Algorithm::EdDSA, "ed", &claims_but(json!({}))), "key is unknown").await;
    // The audience of one in a token of another.
    refused(&server, &token(Algorithm::EdDSA, "key", &others_claims(json!({"aud": "attune"}))), "audience").await;
    refused(&server, &token(Algorithm::RS256, "key", &claims_but(json!({"aud": OTHERS_AUDIENCE}))), "audience").await;
    // The public key of one as a secret of either.
    for claims in [claims_but(json!({})), others_claims(json!({}))] {
        let secret = EncodingKey::from_secret(crate::token_keys::RSA_N.as_bytes());
        let mixed = encode(&header(Algorithm::HS256, "key"), &claims, &secret).unwrap();
        refused(&server, &mixed, "not that of its key").await;
        refused(&server, &forged(&json!({"alg": "none"}), &claims, b""), "cannot be read").await;
    }
    // The signature of one under claims that name the other.
    let (first, other) = (
        token(Algorithm::RS256, "key", &claims_but(json!({}))),
        token(Algorithm::EdDSA, "key", &others_claims(json!({}))),
    );
    let parts: Vec<Vec<&str>> = [&first, &other].map(|token| token.split('.').collect()).into();
    refused(&server, &format!("{}.{}.{}", parts[0][0], parts[1][1], parts[0][2]), "not that of its key").await;
    refused(&server, &format!("{}.{}.{}", parts[1][0], parts[1][1], parts[0][2]), "signature").await;
}

#[tokio::test]
async fn an_issuer_speaks_for_its_tenants_alone_and_its_people_are_not_those_of_another() {
    let (server, _folder) = two().await;
    refused(&server, &token(Algorithm::EdDSA, "key", &others_claims(json!({"org": "default"}))), "may not speak").await;
    refused(&server, &token(Algorithm::EdDSA, "key", &others_claims(json!({"org": null}))), "no tenant").await;
    refused(
        &server,
        &token(Algorithm::EdDSA, "key", &others_claims(json!({"org": null, "tenant": "acme"}))),
        "no tenant",
    )
    .await;
    let admin = json!({"scope": "admin", "tenant": "acme"});
    let first = token(Algorithm::RS256, "key", &claims_but(admin.clone()));
    let other = token(Algorithm::EdDSA, "key", &others_claims(admin));
    for (name, token) in [("first", &first), ("other", &other)] {
        let made = Ask::post("/v1/api-keys", json!({"title": name, "scopes": ["read"]}).to_string());
        assert_eq!(made.key(token).send(server.address).await.status, 201);
    }
    let log = Ask::get("/v1/audit").key(&first).send(server.address).await.json();
    let actors: Vec<&str> =
        log["entries"].as_array().unwrap().iter().take(2).map(|entry| entry["actor"].as_str().unwrap()).collect();
    assert_eq!(actors, [format!("token:{OTHER}#ann"), format!("token:{ISSUER}#ann")]);
}
