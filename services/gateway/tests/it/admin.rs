//! Keys, tenants and the audit log over the wire.

use serde_json::{Value, json};

use crate::{
    raw::{Answer, Ask},
    support::Server,
};

async fn ask_as(server: &Server, key: &str, ask: Ask) -> Answer {
    ask.key(key).send(server.address).await
}

/// Whether a key is one: listing keys needs an admin, listing models any key that reads.
async fn works(server: &Server, key: &str) -> u16 {
    ask_as(server, key, Ask::get("/v1/models")).await.status
}

async fn create(server: &Server, body: Value) -> Value {
    let made = server.ask(Ask::post("/v1/api-keys", body.to_string())).await;
    assert_eq!((made.status, made.header("cache-control")), (201, "no-store"), "{}", made.json());
    made.json()
}

#[tokio::test]
async fn a_key_is_made_shown_once_listed_and_revoked() {
    let server = Server::start().await;
    let made = create(&server, json!({"title": "shop", "scopes": ["read"], "expires_at": "2999-01-01"})).await;
    let (id, secret) = (made["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    assert_eq!(works(&server, secret).await, 200);

    let one = server.ask(Ask::get(&format!("/v1/api-keys/{id}"))).await;
    assert_eq!(
        (one.json()["title"].as_str(), one.json()["expires_at"].as_str()),
        (Some("shop"), Some("2999-01-01T00:00:00.000Z"))
    );
    let list = server.ask(Ask::get("/v1/api-keys")).await;
    for answer in [&one, &list] {
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status == 200 && !text.contains(secret) && !text.contains("hash"), "{text}");
    }
    assert_eq!(list.json()["keys"].as_array().unwrap().len(), 2, "this one and the first admin key");

    let revoke = Ask::delete(&format!("/v1/api-keys/{id}"));
    assert_eq!(server.ask(revoke.clone()).await.status, 204);
    assert_eq!(works(&server, secret).await, 401, "at once");
    assert_eq!(server.ask(revoke).await.status, 204, "again is no fault");
    let revoked = server.ask(Ask::get(&format!("/v1/api-keys/{id}"))).await.json();
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
}

#[tokio::test]
async fn a_rotated_key_goes_on_for_its_overlap() {
    let server = Server::start().await;
    let made = create(&server, json!({"title": "shop", "scopes": ["read", "infer"]})).await;
    let rotate = |id: &Value, body: &str| Ask::post(&format!("/v1/api-keys/{}/rotate", id.as_str().unwrap()), body);
    let rotated = server.ask(rotate(&made["id"], "{}")).await;
    assert_eq!(rotated.status, 201, "{}", rotated.json());
    let rotated = rotated.json();
    assert_eq!((&rotated["scopes"], &rotated["old"]["id"]), (&made["scopes"], &made["id"]));
    assert!(rotated["old"]["expires_at"].is_string() && rotated["expires_at"].is_null());
    for secret in [&made["secret"], &rotated["secret"]] {
        assert_eq!(works(&server, secret.as_str().unwrap()).await, 200);
    }
    let at_once = server.ask(rotate(&rotated["id"], r#"{"overlap_s": 0}"#)).await;
    assert_eq!(at_once.status, 201);
    assert_eq!(works(&server, rotated["secret"].as_str().unwrap()).await, 401);
    assert_eq!(server.ask(rotate(&rotated["id"], "{}")).await.status, 409, "it has ended");
    assert_eq!(server.ask(rotate(&json!("key_none"), "{}")).await.status, 404);
}

#[tokio::test]
async fn bad_keys_and_tenants_are_refused_with_the_place() {
    let server = Server::start().await;
    let cases = [
        (json!({"title": "", "scopes": ["read"]}), "/title"),
        (json!({"title": "a", "scopes": []}), "/scopes"),
        (json!({"title": "a", "scopes": ["root"]}), "/scopes/0"),
        (json!({"title": "a", "scopes": ["read"], "expires_at": 1}), "/expires_at"),
        (json!({"title": "a", "scopes": ["read"], "expires_at": "soon"}), "/expires_at"),
        (json!({"title": "a", "scopes": ["read"], "tenant": "acme"}), "/tenant"),
        (json!({"scopes": ["read"]}), "/title"),
    ];
    for (body, pointer) in cases {
        let answer = server.ask(Ask::post("/v1/api-keys", body.to_string())).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{body}");
    }
    let rotate = Ask::post("/v1/api-keys/key_none/rotate", r#"{"overlap_s": 99999999}"#);
    assert_eq!(server.ask(rotate).await.json()["errors"][0]["pointer"], "/overlap_s");
    for (path, body, status) in [
        ("/v1/tenants/Acme", r#"{"title":"a"}"#, 422),
        ("/v1/tenants/acme", r#"{"title":"a","settings":[]}"#, 422),
        ("/v1/tenants/acme", "[]", 422),
        ("/v1/tenants/acme", "{", 400),
        ("/v1/tenants/acme", r#"{"name":"a"}"#, 422),
    ] {
        assert_eq!(server.ask(Ask::put(path, body)).await.status, status, "{path} {body}");
    }
    for (path, pointer) in [
        ("/v1/api-keys?limit=0", "/limit"),
        ("/v1/api-keys?limit=1001", "/limit"),
        ("/v1/audit?cursor=%20", "/cursor"),
        ("/v1/tenants?cursor=%00", "/cursor"),
        ("/v1/audit?page=2", "/page"),
        ("/v1/audit?limit=many", "/limit"),
    ] {
        let answer = server.ask(Ask::get(path)).await;
        assert_eq!((answer.status, answer.json()["errors"][0]["pointer"].as_str()), (422, Some(pointer)), "{path}");
    }
    // One that somebody made up, and one of another list.
    create(&server, json!({"title": "shop", "scopes": ["read"]})).await;
    let keys = server.ask(Ask::get("/v1/api-keys?limit=1")).await.json();
    let theirs = keys["next_cursor"].as_str().unwrap();
    for (list, cursor, status) in
        [("audit", "WyJhIiwxXQ", 422), ("audit", theirs, 422), ("tenants", theirs, 422), ("api-keys", theirs, 200)]
    {
        let answer = server.ask(Ask::get(&format!("/v1/{list}?cursor={cursor}"))).await;
        let pointer = answer.json()["errors"][0]["pointer"].as_str().map(str::to_owned);
        assert_eq!(
            (answer.status, pointer),
            (status, (status == 422).then(|| "/cursor".to_owned())),
            "{list} {cursor}"
        );
    }
}

#[tokio::test]
async fn an_admin_of_one_tenant_sees_nothing_of_another() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    let theirs = server.ask(Ask::get("/v1/api-keys?tenant=acme")).await.json()["keys"][0]["id"].clone();
    let ours = server.ask(Ask::get("/v1/api-keys")).await.json()["keys"][0]["id"].clone();
    let (theirs, ours) = (theirs.as_str().unwrap(), ours.as_str().unwrap());
    for (ask, status) in [
        (Ask::get(&format!("/v1/api-keys/{theirs}")), 200),
        (Ask::get(&format!("/v1/api-keys/{ours}")), 404),
        (Ask::get(&format!("/v1/api-keys/{ours}?tenant=default")), 404),
        (Ask::delete(&format!("/v1/api-keys/{ours}")), 404),
        (Ask::post(&format!("/v1/api-keys/{ours}/rotate"), "{}"), 404),
        (Ask::get("/v1/api-keys?tenant=default"), 404),
        (Ask::get("/v1/api-keys?tenant=acme"), 200),
        (Ask::post("/v1/api-keys?tenant=default", r#"{"title":"a","scopes":["read"]}"#), 404),
        (Ask::get("/v1/audit?tenant=default"), 404),
        (Ask::get("/v1/tenants/default"), 404),
        (Ask::get("/v1/tenants/nobody"), 404),
        (Ask::get("/v1/tenants/acme"), 200),
        (Ask::put("/v1/tenants/default", r#"{"title":"a"}"#), 404),
        (Ask::put("/v1/tenants/acme", r#"{"title":"a"}"#), 403),
        (Ask::delete("/v1/tenants/acme"), 403),
        (Ask::delete("/v1/tenants/default"), 404),
    ] {
        let answer = ask_as(&server, &acme, ask.clone()).await;
        assert_eq!(answer.status, status, "{}", ask.head());
    }
    let listed = ask_as(&server, &acme, Ask::get("/v1/tenants")).await.json();
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 1);
    let all = server.ask(Ask::get("/v1/tenants")).await.json();
    let names: Vec<_> = all["tenants"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["acme", "default"]);
    assert_eq!(works(&server, &server.key).await, 200, "nothing was revoked");
}

#[tokio::test]
async fn a_tenant_is_changed_by_who_has_read_what_it_is() {
    let server = Server::start().await;
    server.tenant("acme").await;
    let read = server.ask(Ask::get("/v1/tenants/acme")).await;
    let tag = read.header("etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", read.json()["version"]));
    let known = server.ask(Ask::get("/v1/tenants/acme").header("if-none-match", &tag)).await;
    assert_eq!((known.status, known.header("etag")), (304, tag.as_str()));
    let put = |condition: &str, value: &str| Ask::put("/v1/tenants/acme", r#"{"title":"b"}"#).header(condition, value);
    let changed = server.ask(put("if-match", &tag)).await;
    assert!(changed.status == 200 && changed.header("etag") != tag, "{}", changed.json());
    for (condition, value) in [("if-match", tag.as_str()), ("if-match", "\"other\""), ("if-none-match", "*")] {
        assert_eq!(server.ask(put(condition, value)).await.status, 412, "{condition}: {value}");
    }
    assert_eq!(server.ask(put("if-match", &format!("{tag}, \"7\""))).await.status, 400);
    let new = Ask::put("/v1/tenants/new", r#"{"title":"b"}"#).header("if-match", "*");
    assert_eq!(server.ask(new).await.status, 412);
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_and_its_name_is_not_given_away() {
    let server = Server::start().await;
    let acme = server.tenant("acme").await;
    assert_eq!(works(&server, &acme).await, 200);
    let deleted = server.ask(Ask::delete("/v1/tenants/acme")).await;
    assert_eq!((deleted.status, &deleted.json()["kind"]), (202, &json!("erase-tenant")), "{}", deleted.json());
    assert_eq!(works(&server, &acme).await, 401, "at once");
    assert_eq!(server.ask(Ask::get("/v1/tenants/acme")).await.status, 404);
    assert_eq!(server.ask(Ask::delete("/v1/tenants/acme")).await.status, 404);
    let again = server.ask(Ask::put("/v1/tenants/acme", r#"{"title":"a"}"#)).await;
    assert_eq!((again.status, again.json()["code"].as_str()), (409, Some("conflict")));
    assert_eq!(server.ask(Ask::delete("/v1/tenants/default")).await.status, 409);
    let log = server.ask(Ask::get("/v1/audit?tenant=acme")).await.json();
    assert_eq!(log["entries"][0]["action"], "tenant.delete");
}

#[tokio::test]
async fn every_act_of_an_admin_is_in_the_audit_log_and_pages() {
    let server = Server::start().await;
    let admin = server.ask(Ask::get("/v1/api-keys")).await.json()["keys"][0]["id"].clone();
    let made = create(&server, json!({"title": "shop", "scopes": ["read"]})).await;
    let id = made["id"].as_str().unwrap();
    server.ask(Ask::post(&format!("/v1/api-keys/{id}/rotate"), "{}")).await;
    server.ask(Ask::delete(&format!("/v1/api-keys/{id}"))).await;
    server.ask(Ask::put("/v1/tenants/default", r#"{"title":"Home"}"#)).await;
    let (mut seen, mut path) = (Vec::new(), "/v1/audit?limit=2".to_owned());
    loop {
        let page = server.ask(Ask::get(&path)).await.json();
        let entries = page["entries"].as_array().unwrap();
        assert!(entries.len() <= 2);
        seen.extend(entries.iter().map(|one| (one["action"].clone(), one["actor"].clone())));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=2&cursor={cursor}");
    }
    let by_admin = ["tenant.put", "key.revoke", "key.rotate", "key.create", "key.create"];
    let expected: Vec<_> = by_admin.into_iter().map(|action| (json!(action), admin.clone())).collect();
    assert_eq!(seen[..5], expected, "the newest first");
    assert_eq!(seen[5..], [(json!("key.create"), json!("attune"))], "the first key");
}
