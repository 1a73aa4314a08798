//! `Relational`: what each backend must do.

mod backends;
mod faults;
mod server;

use std::time::Duration;

use attune_store::relational::{
    ApiKey, AuditEntry, DefinitionKind, JSON_BYTES_MAX, JobState, PersonId, Relational, WRITES_MAX, Write,
};
use attune_store::{ErrorKind, Expect, KEY_BYTES_MAX, PAGE_ROWS_MAX, PageRequest, Tenant, Version};
use futures::future::join_all;
use serde_json::{Value, json};

use crate::conformance::{ODD_KEYS, conformance};
use crate::servers::tenant;
use backends::Fixture;

conformance!([sqlite, postgres] [
    a_commit_is_all_or_nothing,
    a_version_lets_one_of_many_writers_through,
    a_thing_made_again_has_a_later_version,
    expectations_hold,
    tenants_do_not_see_each_other,
    tenants_are_listed_and_deleted_whole,
    odd_keys_stay_apart_and_in_order,
    pages_hold_while_others_write,
    what_is_too_large_is_refused,
    a_cursor_of_another_list_is_refused,
    one_subject_for_one_person,
    anonymous_ids_join_a_user_and_are_forgotten_with_him,
    keys_are_found_by_hash,
    one_version_of_a_model_is_live,
    jobs_go_to_one_worker_each,
    a_lost_job_is_found_out,
    the_audit_log_is_read_backwards,
    the_outbox_gives_until_done,
    an_answer_is_kept_once_and_for_its_time,
    it_says_what_it_is,
]);

/// A write of a rule.
pub fn put(name: &str, spec: Value, expect: Expect) -> Write {
    Write::PutDefinition { kind: DefinitionKind::Rule, name: name.to_owned(), spec, is_enabled: true, expect }
}

async fn commit(store: &dyn Relational, tenant: &Tenant, write: Write) -> Version {
    store.commit(tenant, vec![write]).await.unwrap()[0].expect("it has a version")
}

async fn refused(store: &dyn Relational, tenant: &Tenant, write: Write) -> ErrorKind {
    store.commit(tenant, vec![write]).await.unwrap_err().kind
}

async fn rule(store: &dyn Relational, tenant: &Tenant, name: &str) -> Option<Value> {
    store.definition(tenant, DefinitionKind::Rule, name).await.unwrap().map(|found| found.spec)
}

async fn a_commit_is_all_or_nothing(Fixture { store, .. }: &Fixture) {
    let tenant = tenant();
    commit(&**store, &tenant, put("there", json!(1), Expect::Absent)).await;
    let entry = AuditEntry { actor: "a".into(), action: "b".into(), target: "c".into(), detail: json!({}) };
    let writes = vec![put("new", json!(2), Expect::Any), Write::Audit(entry), put("there", json!(3), Expect::Absent)];
    let error = store.commit(&tenant, writes).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
    assert!(!error.is_retryable());
    assert_eq!(rule(&**store, &tenant, "new").await, None);
    assert_eq!(rule(&**store, &tenant, "there").await, Some(json!(1)));
    assert!(store.audit(&tenant, PageRequest::first(9)).await.unwrap().rows.is_empty());
    assert!(store.commit(&tenant, Vec::new()).await.unwrap().is_empty());
}

async fn a_version_lets_one_of_many_writers_through(Fixture { store, .. }: &Fixture) {
    let tenant = tenant();
    commit(&**store, &tenant, put("count", json!(0), Expect::Absent)).await;
    let add = || async {
        loop {
            let found = store.definition(&tenant, DefinitionKind::Rule, "count").await.unwrap().unwrap();
            let next = json!(found.spec.as_i64().unwrap() + 1);
            match store.commit(&tenant, vec![put("count", next, Expect::Version(found.version))]).await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.kind, ErrorKind::Conflict, "{error}"),
            }
        }
    };
    join_all((0..20).map(|_| add())).await;
    assert_eq!(rule(&**store, &tenant, "count").await, Some(json!(20)));
}

async fn a_thing_made_again_has_a_later_version(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let first = commit(store, &tenant, put("a", json!(1), Expect::Absent)).await;
    let second = commit(store, &tenant, put("a", json!(2), Expect::Any)).await;
    let delete = |expect| Write::DeleteDefinition { kind: DefinitionKind::Rule, name: "a".to_owned(), expect };
    assert_eq!(refused(store, &tenant, delete(Expect::Version(first))).await, ErrorKind::Conflict);
    store.commit(&tenant, vec![delete(Expect::Version(second))]).await.unwrap();
    store.commit(&tenant, vec![delete(Expect::Any)]).await.unwrap();
    let third = commit(store, &tenant, put("a", json!(3), Expect::Absent)).await;
    assert!(first < second && second < third, "{first} {second} {third}");
}

async fn expectations_hold(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    assert_eq!(refused(store, &tenant, put("a", json!(0), Expect::Version(Version(7)))).await, ErrorKind::Conflict);
    assert_eq!(rule(store, &tenant, "a").await, None, "what should have been there was not made");
    let first = commit(store, &tenant, put("a", json!(1), Expect::Absent)).await;
    assert_eq!(refused(store, &tenant, put("a", json!(2), Expect::Absent)).await, ErrorKind::Conflict);
    let second = commit(store, &tenant, put("a", json!(3), Expect::Version(first))).await;
    assert_eq!(refused(store, &tenant, put("a", json!(4), Expect::Version(first))).await, ErrorKind::Conflict);
    assert_eq!(store.definition(&tenant, DefinitionKind::Rule, "a").await.unwrap().unwrap().version, second);
    assert_eq!(rule(store, &tenant, "a").await, Some(json!(3)));
}

async fn tenants_do_not_see_each_other(Fixture { store, .. }: &Fixture) {
    let (store, ours, theirs) = (&**store, tenant(), tenant());
    let user = PersonId::User("ann".into());
    let found = store.resolve(&ours, std::slice::from_ref(&user)).await.unwrap().remove(0);
    let writes = vec![
        put("a", json!(1), Expect::Any),
        Write::PutModelVersion {
            model: "m".into(),
            label: "1".into(),
            uri: "u".into(),
            metrics: json!({}),
            expect: Expect::Any,
        },
        Write::PutJob { id: "j".into(), kind: ours.to_string(), spec: json!({}) },
        Write::Remember { key: "k".into(), digest: "d".into(), answer: json!(1), ttl: Duration::from_secs(60) },
    ];
    store.commit(&ours, writes).await.unwrap();
    assert_eq!(rule(store, &theirs, "a").await, None);
    assert!(store.definitions(&theirs, DefinitionKind::Rule, PageRequest::first(9)).await.unwrap().rows.is_empty());
    assert!(store.person(&theirs, &user).await.unwrap().is_none());
    assert!(store.person_of(&theirs, found.subject).await.unwrap().is_none());
    assert!(store.model_version(&theirs, "m", "1").await.unwrap().is_none());
    assert!(store.job(&theirs, "j").await.unwrap().is_none());
    assert!(store.answer(&theirs, "k").await.unwrap().is_none());
    let delete = Write::DeleteDefinition { kind: DefinitionKind::Rule, name: "a".into(), expect: Expect::Any };
    store.commit(&theirs, vec![delete, Write::Forget { user: "ann".into() }, Write::DeleteTenant]).await.unwrap();
    assert_eq!(rule(store, &ours, "a").await, Some(json!(1)));
    assert_eq!(store.person(&ours, &user).await.unwrap().unwrap(), found);
}

async fn tenants_are_listed_and_deleted_whole(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let write = |expect| Write::PutTenant { title: "Ours".into(), settings: json!({"a": [1]}), expect };
    let version = commit(store, &tenant, write(Expect::Absent)).await;
    assert_eq!(refused(store, &tenant, write(Expect::Absent)).await, ErrorKind::Conflict);
    let found = store.tenant(&tenant).await.unwrap().unwrap();
    assert_eq!((found.title.as_str(), &found.settings, found.version), ("Ours", &json!({"a": [1]}), version));
    let mut page = PageRequest::first(2);
    let mut listed = Vec::new();
    loop {
        let part = store.tenants(page).await.unwrap();
        listed.extend(part.rows);
        let Some(next) = part.next else { break };
        page = PageRequest { after: Some(next), rows: 2 };
    }
    assert_eq!(listed.iter().filter(|row| row.tenant == tenant).count(), 1);
    commit(store, &tenant, put("a", json!(1), Expect::Any)).await;
    store.commit(&tenant, vec![Write::DeleteTenant]).await.unwrap();
    assert!(store.tenant(&tenant).await.unwrap().is_none());
    assert_eq!(rule(store, &tenant, "a").await, None);
}

async fn odd_keys_stay_apart_and_in_order(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    for key in ODD_KEYS {
        commit(store, &tenant, put(key, json!({key: key}), Expect::Absent)).await;
    }
    for key in ODD_KEYS {
        assert_eq!(rule(store, &tenant, key).await, Some(json!({key: key})), "{key:?}");
    }
    let page = store.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(99)).await.unwrap();
    let mut sorted = ODD_KEYS;
    sorted.sort_unstable();
    assert_eq!(page.rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), sorted);
    let ids = ODD_KEYS.map(|key| PersonId::User(key.to_owned()));
    let people = store.resolve(&tenant, &ids).await.unwrap();
    assert!(people.iter().zip(&ids).all(|(person, id)| person.id == *id));
}

async fn pages_hold_while_others_write(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let name = |number: usize| format!("{number:04}");
    store.commit(&tenant, (0..100).map(|n| put(&name(2 * n), json!(n), Expect::Any)).collect()).await.unwrap();
    let mut seen = Vec::new();
    let mut page = PageRequest::first(7);
    for round in 0.. {
        let part = store.definitions(&tenant, DefinitionKind::Rule, page).await.unwrap();
        assert!(part.rows.len() <= 7);
        seen.extend(part.rows.into_iter().map(|row| row.name));
        // One before and one behind what was read, and the last one that was read is deleted.
        let last = seen.last().unwrap().clone();
        let gone = Write::DeleteDefinition { kind: DefinitionKind::Rule, name: last, expect: Expect::Any };
        let writes = vec![
            gone,
            put(&name(2 * round + 1), json!(0), Expect::Any),
            put(&name(199 - 2 * round), json!(0), Expect::Any),
        ];
        store.commit(&tenant, writes).await.unwrap();
        let Some(next) = part.next else { break };
        page = PageRequest { after: Some(next), rows: 7 };
    }
    assert!(seen.is_sorted_by(|a, b| a < b), "no row twice: {seen:?}");
    assert_eq!(seen.iter().filter(|name| name.parse::<usize>().unwrap() % 2 == 0).count(), 100, "no row hidden");
}

async fn what_is_too_large_is_refused(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let longest = "k".repeat(KEY_BYTES_MAX);
    commit(store, &tenant, put(&longest, json!(1), Expect::Any)).await;
    assert_eq!(rule(store, &tenant, &longest).await, Some(json!(1)));
    assert_eq!(refused(store, &tenant, put(&format!("{longest}k"), json!(1), Expect::Any)).await, ErrorKind::TooLarge);
    let largest = json!("v".repeat(JSON_BYTES_MAX - 2));
    commit(store, &tenant, put("v", largest.clone(), Expect::Any)).await;
    assert_eq!(rule(store, &tenant, "v").await, Some(largest));
    let larger = json!("v".repeat(JSON_BYTES_MAX - 1));
    assert_eq!(refused(store, &tenant, put("v", larger, Expect::Any)).await, ErrorKind::TooLarge);
    let writes = vec![put("a", json!(1), Expect::Any); WRITES_MAX + 1];
    assert_eq!(store.commit(&tenant, writes).await.unwrap_err().kind, ErrorKind::TooLarge);
    for key in ["", "a\0b"] {
        assert_eq!(refused(store, &tenant, put(key, json!(1), Expect::Any)).await, ErrorKind::Invalid, "{key:?}");
    }
    let nul = Write::PutTenant { title: "a\0".into(), settings: json!("\0"), expect: Expect::Any };
    assert_eq!(refused(store, &tenant, nul).await, ErrorKind::Invalid);
    commit(store, &tenant, put("nul", json!("\0"), Expect::Any)).await;
    assert_eq!(rule(store, &tenant, "nul").await, Some(json!("\0")), "a JSON value may have one");
    let all = store.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(PAGE_ROWS_MAX + 9)).await.unwrap();
    assert_eq!(all.rows.len(), 3);
}

async fn a_cursor_of_another_list_is_refused(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let writes = ["a", "b"].map(|name| put(name, json!(1), Expect::Any)).to_vec();
    store.commit(&tenant, writes).await.unwrap();
    let next = store.definitions(&tenant, DefinitionKind::Rule, PageRequest::first(1)).await.unwrap().next;
    let page = || PageRequest { after: next.clone(), rows: 1 };
    assert_eq!(store.audit(&tenant, page()).await.unwrap_err().kind, ErrorKind::Invalid, "of numbers");
    assert_eq!(store.keys(&tenant, page()).await.unwrap_err().kind, ErrorKind::Invalid, "of texts like its own");
    let pipelines = store.definitions(&tenant, DefinitionKind::Pipeline, page()).await;
    assert_eq!(pipelines.unwrap_err().kind, ErrorKind::Invalid, "of the same call");
    assert_eq!(store.definitions(&tenant, DefinitionKind::Rule, page()).await.unwrap().rows[0].name, "b");
}

async fn one_subject_for_one_person(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let ids: Vec<PersonId> = (0..50)
        .flat_map(|number| [PersonId::User(format!("{number}")), PersonId::Anonymous(format!("{number}"))])
        .collect();
    let asked = join_all((0..8).map(|_| store.resolve(&tenant, &ids))).await;
    let people: Vec<_> = asked.into_iter().map(Result::unwrap).collect();
    assert!(people.iter().all(|same| *same == people[0]));
    let mut subjects: Vec<_> = people[0].iter().map(|person| person.subject).collect();
    subjects.sort_unstable();
    subjects.dedup();
    assert_eq!(subjects.len(), ids.len());
    let one = &people[0][3];
    assert_eq!(store.person_of(&tenant, one.subject).await.unwrap().as_ref(), Some(one));
    let consent = |expect| Write::SetConsent { user: "7".into(), consent: Some(true), expect };
    let version = store.person(&tenant, &PersonId::User("7".into())).await.unwrap().unwrap().version;
    commit(store, &tenant, consent(Expect::Version(version))).await;
    assert_eq!(refused(store, &tenant, consent(Expect::Version(version))).await, ErrorKind::Conflict);
    let nobody = Write::SetConsent { user: "nobody".into(), consent: None, expect: Expect::Any };
    assert_eq!(refused(store, &tenant, nobody).await, ErrorKind::NotFound);
    let again = store.resolve(&tenant, &[PersonId::User("7".into())]).await.unwrap();
    assert_eq!(again[0].consent, Some(true));
    assert_eq!(store.users(&tenant, PageRequest::first(99)).await.unwrap().rows.len(), 50, "users alone");
}

async fn anonymous_ids_join_a_user_and_are_forgotten_with_him(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let (ann, phone, laptop) =
        (PersonId::User("ann".into()), PersonId::Anonymous("phone".into()), PersonId::Anonymous("laptop".into()));
    let before = store.resolve(&tenant, &[ann.clone(), phone.clone()]).await.unwrap();
    let join = |anonymous: &str, user: &str| Write::Join { anonymous: anonymous.into(), user: user.into() };
    store.commit(&tenant, vec![join("phone", "ann"), join("laptop", "ann"), join("other", "bob")]).await.unwrap();
    let joined = store.joined(&tenant, "ann").await.unwrap();
    assert_eq!(joined.iter().map(|person| person.id.as_str()).collect::<Vec<_>>(), ["laptop", "phone"]);
    assert_eq!(joined[1].subject, before[1].subject, "its events stay its own");
    let seen = store.person(&tenant, &ann).await.unwrap().unwrap();
    assert!(seen.version > before[0].version, "whoever looked at the user before must look again");
    store.commit(&tenant, vec![Write::Forget { user: "ann".into() }]).await.unwrap();
    for id in [&ann, &phone, &laptop] {
        assert!(store.person(&tenant, id).await.unwrap().is_none());
    }
    assert!(store.person_of(&tenant, before[0].subject).await.unwrap().is_none());
    assert_eq!(store.joined(&tenant, "bob").await.unwrap().len(), 1);
    let after = store.resolve(&tenant, std::slice::from_ref(&ann)).await.unwrap();
    assert_ne!(after[0].subject, before[0].subject, "who comes again is somebody else");
}

fn api_key(tenant: &Tenant, id: &str, hash: [u8; 32]) -> ApiKey {
    ApiKey {
        tenant: tenant.clone(),
        id: id.to_owned(),
        title: "of the shop".to_owned(),
        hash,
        scopes: vec!["read".to_owned(), "write".to_owned()],
        created_ms: 1,
        expires_ms: Some(2),
        revoked_ms: None,
        used_ms: None,
        version: Version(0),
    }
}

async fn keys_are_found_by_hash(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let hash: [u8; 32] = rand::random();
    let key = api_key(&tenant, "k1", hash);
    let version = commit(store, &tenant, Write::PutApiKey { key: key.clone(), expect: Expect::Absent }).await;
    let found = store.key_of(&hash).await.unwrap().unwrap();
    assert_eq!(found, ApiKey { version, ..key.clone() });
    let other = api_key(&tenant, "k2", hash);
    let twice = Write::PutApiKey { key: other, expect: Expect::Absent };
    assert_eq!(refused(store, &tenant, twice).await, ErrorKind::Conflict, "a hash is one key's");
    store.used(&tenant, "k1", 50).await.unwrap();
    store.used(&tenant, "k1", 40).await.unwrap();
    let used = store.key(&tenant, "k1").await.unwrap().unwrap();
    assert_eq!((used.used_ms, used.version), (Some(50), version));
    let revoked = ApiKey { revoked_ms: Some(60), ..used };
    commit(store, &tenant, Write::PutApiKey { key: revoked, expect: Expect::Version(version) }).await;
    let found = store.key_of(&hash).await.unwrap().unwrap();
    assert_eq!((found.revoked_ms, found.used_ms), (Some(60), Some(50)));
    assert_eq!(store.keys(&tenant, PageRequest::first(9)).await.unwrap().rows.len(), 1);
    store.commit(&tenant, vec![Write::DeleteApiKey { id: "k1".into() }]).await.unwrap();
    assert!(store.key_of(&hash).await.unwrap().is_none());
}

async fn one_version_of_a_model_is_live(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let enter = |label: &str| Write::PutModelVersion {
        model: "als".into(),
        label: label.to_owned(),
        uri: format!("als/{label}"),
        metrics: json!({"ndcg": 0.3}),
        expect: Expect::Absent,
    };
    let promote = |label: &str| Write::Promote { model: "als".into(), label: label.to_owned() };
    store.commit(&tenant, ["1", "2", "3", "4"].map(enter).to_vec()).await.unwrap();
    assert!(store.live_model(&tenant, "als").await.unwrap().is_none());
    assert_eq!(refused(store, &tenant, promote("9")).await, ErrorKind::NotFound);
    commit(store, &tenant, promote("1")).await;
    let labels = ["2", "3", "4", "2", "3", "4"];
    for outcome in join_all(labels.map(|label| store.commit(&tenant, vec![promote(label)]))).await {
        assert!(outcome.as_ref().err().is_none_or(|error| error.kind == ErrorKind::Conflict), "{outcome:?}");
    }
    let rows = store.model_versions(&tenant, "als", PageRequest::first(9)).await.unwrap().rows;
    assert_eq!(rows.iter().filter(|row| row.is_live).count(), 1);
    assert!(rows[0].promoted_ms.is_some() && !rows[0].is_live);
    commit(store, &tenant, promote("1")).await;
    let live = store.live_model(&tenant, "als").await.unwrap().unwrap();
    assert_eq!((live.label.as_str(), live.uri.as_str()), ("1", "als/1"), "as in a rollback");
}

async fn jobs_go_to_one_worker_each(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let kind = tenant.to_string();
    let jobs =
        (0..20).map(|number| Write::PutJob { id: format!("{number:02}"), kind: kind.clone(), spec: json!(number) });
    store.commit(&tenant, jobs.collect()).await.unwrap();
    let again = Write::PutJob { id: "00".into(), kind: kind.clone(), spec: json!(0) };
    assert_eq!(refused(store, &tenant, again).await, ErrorKind::Conflict);
    let work = |worker: usize| {
        let kind = kind.clone();
        async move {
            let mut done = Vec::new();
            while let Some(job) = store.claim(&kind, &format!("w{worker}"), Duration::from_secs(600)).await.unwrap() {
                assert_eq!((job.state, job.fence), (JobState::Running, 1));
                let finish = Write::FinishJob { id: job.id.clone(), fence: 1, is_done: true, report: json!("fine") };
                store.commit(&job.tenant, vec![finish]).await.unwrap();
                done.push(job.id);
            }
            done
        }
    };
    let mut done: Vec<String> = join_all((0..6).map(work)).await.concat();
    done.sort_unstable();
    assert_eq!(done, (0..20).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    let job = store.job(&tenant, "07").await.unwrap().unwrap();
    assert_eq!((job.state, job.report, job.spec), (JobState::Done, json!("fine"), json!(7)));
    assert!(job.ended_ms.is_some());
}

async fn a_lost_job_is_found_out(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let kind = tenant.to_string();
    commit(store, &tenant, Write::PutJob { id: "j".into(), kind: kind.clone(), spec: json!({}) }).await;
    let first = store.claim(&kind, "slow", Duration::ZERO).await.unwrap().unwrap();
    let second = store.claim(&kind, "quick", Duration::from_secs(600)).await.unwrap().unwrap();
    assert_eq!((first.fence, second.fence), (1, 2));
    assert!(store.claim(&kind, "third", Duration::ZERO).await.unwrap().is_none());
    let progress = |fence| Write::ProgressJob {
        id: "j".into(),
        fence,
        progress: json!({"rows": 5}),
        lease: Duration::from_secs(600),
    };
    assert_eq!(refused(store, &tenant, progress(first.fence)).await, ErrorKind::Conflict);
    commit(store, &tenant, progress(second.fence)).await;
    assert_eq!(store.job(&tenant, "j").await.unwrap().unwrap().progress, json!({"rows": 5}));
    commit(store, &tenant, Write::CancelJob { id: "j".into() }).await;
    assert_eq!(refused(store, &tenant, progress(second.fence)).await, ErrorKind::Conflict);
    assert_eq!(store.jobs(&tenant, PageRequest::first(9)).await.unwrap().rows[0].state, JobState::Cancelled);
}

async fn the_audit_log_is_read_backwards(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let entry = |number: i32| AuditEntry {
        actor: "key".into(),
        action: "rule.put".into(),
        target: number.to_string(),
        detail: json!({"n": number}),
    };
    for number in 0..5 {
        store.commit(&tenant, vec![Write::Audit(entry(number))]).await.unwrap();
    }
    let first = store.audit(&tenant, PageRequest::first(3)).await.unwrap();
    let second = store.audit(&tenant, PageRequest { after: first.next, rows: 3 }).await.unwrap();
    assert_eq!(second.next, None);
    let read: Vec<_> = first.rows.into_iter().chain(second.rows).map(|record| record.entry).collect();
    assert_eq!(read, (0..5).rev().map(entry).collect::<Vec<_>>());
}

async fn the_outbox_gives_until_done(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let topic = tenant.to_string();
    let row = |key: &str| Write::Outbox { topic: topic.clone(), key: key.into(), payload: json!({"key": key}) };
    store.commit(&tenant, vec![row("a"), row("b")]).await.unwrap();
    store.commit(&tenant, vec![row("c")]).await.unwrap();
    let keys =
        |rows: &[attune_store::relational::OutboxRow]| rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>();
    let two = store.pending(&topic, 2).await.unwrap();
    assert_eq!(keys(&two), ["a", "b"]);
    assert_eq!((&two[0].tenant, &two[0].payload), (&tenant, &json!({"key": "a"})));
    assert_eq!(keys(&store.pending(&topic, 9).await.unwrap()), ["a", "b", "c"], "until they are done");
    store.done(&two).await.unwrap();
    store.done(&two).await.unwrap();
    assert_eq!(keys(&store.pending(&topic, 9).await.unwrap()), ["c"]);
}

async fn an_answer_is_kept_once_and_for_its_time(Fixture { store, .. }: &Fixture) {
    let (store, tenant) = (&**store, tenant());
    let remember = |answer: i32, ttl: Duration| Write::Remember {
        key: "k".into(),
        digest: "d".into(),
        answer: json!(answer),
        ttl,
    };
    let minute = Duration::from_secs(60);
    store.commit(&tenant, vec![put("a", json!(1), Expect::Any), remember(1, minute)]).await.unwrap();
    let again = vec![put("a", json!(2), Expect::Any), remember(2, minute)];
    assert_eq!(store.commit(&tenant, again).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(rule(store, &tenant, "a").await, Some(json!(1)), "the second did nothing");
    let kept = store.answer(&tenant, "k").await.unwrap().unwrap();
    assert_eq!((kept.answer, kept.digest.as_str()), (json!(1), "d"));
    let other = crate::servers::tenant();
    store.commit(&other, vec![remember(3, Duration::ZERO)]).await.unwrap();
    assert!(store.answer(&other, "k").await.unwrap().is_none(), "its time is over");
    store.commit(&other, vec![remember(4, minute)]).await.unwrap();
    assert_eq!(store.answer(&other, "k").await.unwrap().unwrap().answer, json!(4));
}

async fn it_says_what_it_is(Fixture { store, .. }: &Fixture) {
    let health = store.health().await.unwrap();
    assert!(!health.server.is_empty() && health.version.starts_with(|c: char| c.is_ascii_digit()), "{health:?}");
    assert!(health.warnings.is_empty(), "{health:?}");
}
