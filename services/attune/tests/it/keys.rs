//! `attune keys`, beside a server that runs.

use std::time::{Duration, Instant};

use crate::http;
use crate::server::{Server, run};

/// Far more than a revocation takes to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn keys_are_made_listed_and_revoked_by_hand() {
    let server = Server::start(&[]);
    let data = server.folder.path().join("data");
    let keys = |words: &[&str]| {
        let output = run(&[&["--data", data.to_str().unwrap(), "keys"], words].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(said).unwrap())
    };
    let status = |key: &str| http::call(server.address, "GET", "/v1/models", Some(key), "").unwrap().status;

    let (is_made, said) = keys(&["create", "--title", "shop\n\u{1b}[31m", "--scope", "read", "--days", "30"]);
    assert!(is_made, "{said}");
    let word = |after: &str| said.split_whitespace().skip_while(|word| *word != after).nth(1).unwrap().to_owned();
    let (id, key) = (word("id"), word("key"));
    assert_eq!(status(&key), 200);
    let (_, list) = keys(&["list"]);
    assert!(list.contains(&id) && list.contains("shop") && !list.contains(&key), "{list}");
    assert!(!list.contains('\u{1b}') && list.lines().all(|line| line.contains("; last used ")), "{list:?}");

    let (is_revoked, said) = keys(&["revoke", &id]);
    assert!(is_revoked, "{said}");
    let begun = Instant::now();
    while status(&key) != 401 {
        assert!(begun.elapsed() < PATIENCE, "the server goes on with a revoked key");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(keys(&["list"]).1.contains("revoked"));

    for words in [
        &["revoke", "key_none"][..],
        &["create", "--title", "x", "--scope", "root"],
        &["create", "--title", "x", "--scope", "read", "--tenant", "nobody"],
    ] {
        let (is_done, said) = keys(words);
        assert!(!is_done && said.contains("error"), "{words:?}: {said}");
    }
}
