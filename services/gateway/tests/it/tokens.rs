//! Tokens over the wire: good ones, and everything that RFC 8725 warns of.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use attune_api::v1;
use attune_gateway::{TOKEN_ALGORITHMS, TokenConfig, Tokens};
use attune_store::relational::Relational;
use base64::{Engine, prelude::*};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::Code;

use crate::{
    raw::{Answer, Ask},
    support::Server,
    token_keys::{EC_PRIVATE, EC_X, EC_Y, ED_PRIVATE, ED_X, RSA_N, RSA_PRIVATE},
};

pub const ISSUER: &str = "https://id.example";
const AUDIENCE: &str = "attune";
const SECRET: &[u8; 32] = b"a secret that both sides know...";

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn rsa_key(kid: &str) -> Value {
    json!({"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": RSA_N, "e": "AQAB"})
}

pub fn ed_key(kid: &str) -> Value {
    json!({"kty": "OKP", "kid": kid, "crv": "Ed25519", "x": ED_X})
}

/// A key for each algorithm.
fn all_keys() -> Value {
    let secret = BASE64_URL_SAFE_NO_PAD.encode(SECRET);
    let ec = json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": EC_X, "y": EC_Y});
    json!({"keys": [rsa_key("rsa"), ed_key("ed"), ec, {"kty": "oct", "kid": "secret", "k": secret}]})
}

pub fn signer(algorithm: Algorithm) -> EncodingKey {
    let der = |text: &str| BASE64_STANDARD.decode(text).unwrap();
    match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_der(&der(RSA_PRIVATE)),
        Algorithm::ES256 => EncodingKey::from_ec_der(&der(EC_PRIVATE)),
        Algorithm::EdDSA => EncodingKey::from_ed_der(&der(ED_PRIVATE)),
        _ => EncodingKey::from_secret(SECRET),
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": now_s() + 600, "scope": "read infer"})
}

/// The claims with some of them changed; null takes one away.
pub fn claims_but(changes: Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

pub fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(algorithm) }
}

pub fn ed_token(claims: &Value) -> String {
    encode(&header(Algorithm::EdDSA, "ed"), claims, &signer(Algorithm::EdDSA)).unwrap()
}

/// Header and claims as they are, with a signature that somebody made up.
pub fn forged(header: &Value, claims: &Value, signature: &[u8]) -> String {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    format!("{}.{}.{}", part(header.to_string().as_bytes()), part(claims.to_string().as_bytes()), part(signature))
}

pub fn config(keys: &str) -> TokenConfig {
    TokenConfig {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        keys: keys.to_owned(),
        refresh: Duration::from_secs(3_600),
        leeway: Duration::from_secs(5),
        tenant_claim: "tenant".to_owned(),
        algorithms: TOKEN_ALGORITHMS.to_vec(),
        tenant: Some("default".parse().unwrap()),
        tenants: Vec::new(),
        scope_claim: "scope".to_owned(),
        scope_prefix: String::new(),
    }
}

/// A server that knows these keys from a file.
async fn server_with(keys: &Value) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, keys.to_string()).unwrap();
    (Server::with_tokens(config(path.to_str().unwrap())).await, folder)
}

pub async fn ask(server: &Server, token: &str) -> Answer {
    Ask::post("/v1/sentiment", r#"{"inputs":["a"]}"#).key(token).send(server.address).await
}

pub async fn refused(server: &Server, token: &str, because: &str) {
    let answer = ask(server, token).await;
    let detail = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer.status, 401, "{because}: {detail}");
    assert!(detail.contains(because), "{because}: {detail}");
}

#[tokio::test]
async fn every_algorithm_is_taken_with_its_own_key() {
    let (server, _folder) = server_with(&all_keys()).await;
    for (algorithm, kid) in
        [(Algorithm::RS256, "rsa"), (Algorithm::ES256, "ec"), (Algorithm::EdDSA, "ed"), (Algorithm::HS256, "secret")]
    {
        let token = encode(&header(algorithm, kid), &claims(), &signer(algorithm)).unwrap();
        for _ in 0..2 {
            let answer = ask(&server, &token).await;
            assert_eq!(answer.status, 200, "{algorithm:?}: {}", answer.json());
        }
        let nameless = encode(&Header::new(algorithm), &claims(), &signer(algorithm)).unwrap();
        assert_eq!(ask(&server, &nameless).await.status, 200, "{algorithm:?} without a kid: there is one such key");
        let mut client = server.client_with(Some(&token)).await;
        assert!(client.list_models(v1::ListModelsRequest {}).await.is_ok(), "{algorithm:?} over gRPC");
    }
}

#[tokio::test]
async fn scopes_and_tenant_come_from_the_token() {
    let (server, _folder) = server_with(&all_keys()).await;
    server.tenant("acme").await;
    let status =
        async |changes: Value, ask: Ask| ask.key(&ed_token(&claims_but(changes))).send(server.address).await.status;
    let models = || Ask::get("/v1/models");
    let keys = || Ask::get("/v1/api-keys");
    assert_eq!(status(json!({}), keys()).await, 403, "reading is not administering");
    assert_eq!(status(json!({"scope": null}), models()).await, 403);
    assert_eq!(status(json!({"scope": ["openid", "read"]}), models()).await, 200);
    assert_eq!(status(json!({"scope": "admin"}), keys()).await, 200);
    assert_eq!(status(json!({"tenant": "acme", "scope": "admin"}), Ask::get("/v1/tenants/default")).await, 404);
    assert_eq!(status(json!({"tenant": "nobody"}), models()).await, 401);
    assert_eq!(status(json!({"tenant": "../acme"}), models()).await, 401);
    assert_eq!(status(json!({"tenant": 7}), models()).await, 401);
    let acme = ed_token(&claims_but(json!({"tenant": "acme", "scope": "admin"})));
    let seen = keys().key(&acme).send(server.address).await.json();
    assert_eq!(seen["keys"].as_array().unwrap().len(), 1, "that of the tenant, not ours: {seen}");
}

#[tokio::test]
async fn claims_that_are_not_right_are_refused() {
    let (server, _folder) = server_with(&all_keys()).await;
    let now_s = now_s();
    for (changes, because) in [
        (json!({"iss": "https://other.example"}), "issuer"),
        (json!({"iss": null}), "issuer"),
        (json!({"aud": "other"}), "audience"),
        (json!({"aud": ["other", "another"]}), "audience"),
        (json!({"aud": null}), "audience"),
        (json!({"exp": now_s - 60}), "expired"),
        (json!({"exp": null}), "exp"),
        (json!({"exp": "never"}), "exp"),
        (json!({"nbf": now_s + 600}), "not valid yet"),
        (json!({"nbf": "soon"}), "not a number"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": ""}), "subject"),
        (json!({"sub": "x".repeat(300)}), "subject"),
    ] {
        refused(&server, &ed_token(&claims_but(changes)), because).await;
    }
    for changes in [json!({"aud": ["other", AUDIENCE]}), json!({"exp": now_s - 1}), json!({"nbf": now_s + 1})] {
        assert_eq!(
            ask(&server, &ed_token(&claims_but(changes.clone()))).await.status,
            200,
            "{changes}: within the leeway"
        );
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let (server, _folder) = server_with(&all_keys()).await;
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        refused(&server, &forged(&json!({"alg": alg, "typ": "JWT"}), &claims(), b""), "cannot be read").await;
        refused(&server, &forged(&json!({"alg": alg, "kid": "ed"}), &claims(), b"x"), "cannot be read").await;
    }
    let token = ed_token(&claims());
    let (signed, _) = token.rsplit_once('.').unwrap();
    refused(&server, &format!("{signed}."), "signature").await;
    let other = ed_token(&claims_but(json!({"scope": "admin"})));
    let mixed = format!("{}.{}", other.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1);
    refused(&server, &mixed, "signature").await;
    for nonsense in ["..", "a.b.c", "e30.e30.e30"] {
        refused(&server, nonsense, "cannot be read").await;
    }
    refused(&server, &ed_token(&claims_but(json!({"more": "x".repeat(9_000)}))), "too long").await;
}

#[tokio::test]
async fn a_public_key_is_never_a_secret() {
    let (server, _folder) = server_with(&all_keys()).await;
    // RFC 8725, section 2.1: an HMAC with the public key of an RSA key as its secret.
    let modulus = BASE64_URL_SAFE_NO_PAD.decode(RSA_N).unwrap();
    for secret in [RSA_N.as_bytes(), &modulus, ED_X.as_bytes()] {
        for kid in ["rsa", "ed", "ec"] {
            let token = encode(&header(Algorithm::HS256, kid), &claims(), &EncodingKey::from_secret(secret)).unwrap();
            refused(&server, &token, "not that of its key").await;
        }
        let nameless = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret)).unwrap();
        refused(&server, &nameless, "signature").await;
    }
    // One key's signature under another one's name.
    let other = encode(&header(Algorithm::EdDSA, "rsa"), &claims(), &signer(Algorithm::EdDSA)).unwrap();
    refused(&server, &other, "not that of its key").await;
    let longer = encode(&header(Algorithm::HS512, "secret"), &claims(), &signer(Algorithm::HS512)).unwrap();
    refused(&server, &longer, "not one of").await;
}

#[tokio::test]
async fn what_a_header_brings_along_is_not_believed() {
    let (server, _folder) = server_with(&json!({"keys": [rsa_key("rsa")]})).await;
    let jwk = serde_json::from_value(ed_key("mine")).unwrap();
    let own_key =
        Header { jwk: Some(jwk), jku: Some("https://evil.example/keys".into()), ..header(Algorithm::EdDSA, "mine") };
    refused(&server, &encode(&own_key, &claims(), &signer(Algorithm::EdDSA)).unwrap(), "key is unknown").await;
    let rsa = |header: Header| encode(&header, &claims(), &signer(Algorithm::RS256)).unwrap();
    let critical = Header { crit: Some(vec!["exp".into()]), ..header(Algorithm::RS256, "rsa") };
    refused(&server, &rsa(critical), "demands").await;
    let other_kind = Header { typ: Some("secevent+jwt".into()), ..header(Algorithm::RS256, "rsa") };
    refused(&server, &rsa(other_kind), "another kind").await;
    let access = Header { typ: Some("at+JWT".into()), ..header(Algorithm::RS256, "rsa") };
    assert_eq!(ask(&server, &rsa(access)).await.status, 200);
    let status = server.client_with(Some("a.b.c")).await.list_models(v1::ListModelsRequest {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    // Keys of our own go on beside tokens, and a server without tokens takes none.
    server.still_serves().await;
    let plain = Server::start().await;
    assert_eq!(ask(&plain, &ed_token(&claims())).await.status, 401);
}

/// A provider that serves a set of keys, and counts who asks.
struct Provider {
    address: String,
    keys: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(keys: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let (keys, asked) = (Arc::new(Mutex::new(keys.to_string())), Arc::<AtomicUsize>::default());
        let (served, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let body = served.lock().unwrap().clone();
                let _ = stream.read(&mut [0; 4_096]).await;
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes()).await;
            }
        });
        Self { address, keys, asked }
    }
}

#[tokio::test]
async fn an_unknown_key_makes_the_set_be_fetched_again_and_not_too_often() {
    let provider = Provider::start(json!({"keys": [rsa_key("old")]})).await;
    let server = Server::with_tokens(config(&provider.address)).await;
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    *provider.keys.lock().unwrap() = json!({"keys": [rsa_key("old"), ed_key("ed")]}).to_string();
    assert_eq!(ask(&server, &ed_token(&claims())).await.status, 200, "the key is new, and was looked for");
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    for kid in ["a", "b", "c", "d"] {
        let token = encode(&header(Algorithm::EdDSA, kid), &claims(), &signer(Algorithm::EdDSA)).unwrap();
        refused(&server, &token, "key is unknown").await;
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2, "strangers do not make us ask");
}

#[tokio::test]
async fn a_provider_that_is_away_keeps_nobody_out_who_has_a_key() {
    let server = Server::with_tokens(config("http://127.0.0.1:9/keys")).await;
    server.still_serves().await;
    refused(&server, &ed_token(&claims()), "key is unknown").await;
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_a_mistake_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let rows = attune_store::embedded::relational::open(&folder.path().join("rows.db")).await.unwrap();
    let rows: Arc<dyn Relational> = Arc::new(rows);
    let path = folder.path().join("keys.json");
    fs::write(&path, r#"{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}"#).unwrap();
    for (keys, why) in [
        (path.to_str().unwrap(), "too weak"),
        ("/nowhere/keys.json", "No such file"),
        ("http://id.example/keys", "https"),
        ("ftp://127.0.0.1/keys", "https"),
    ] {
        let error = Tokens::open(vec![config(keys)], Arc::clone(&rows)).await.err().expect("a refusal").to_string();
        assert!(error.contains(why) && error.contains("auth.jwt.keys"), "{error}");
    }
}
