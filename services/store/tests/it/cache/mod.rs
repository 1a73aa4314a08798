//! `Cache`: what each backend must do.

mod backends;
mod server;

use std::collections::HashSet;
use std::time::Duration;

use attune_store::cache::{KEYS_MAX, LIST_ENTRIES_MAX, RateLimit, Step, TTL_MAX, VALUE_BYTES_MAX};
use attune_store::{ErrorKind, KEY_BYTES_MAX};
use bytes::Bytes;
use futures::future::join_all;

use crate::conformance::{ODD_KEYS, conformance};
use crate::servers::tenant;
use backends::Fixture;

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);
/// What a test waits for.
const SHORT: Duration = Duration::from_millis(40);

conformance!([memory, redis] [
    values_come_back_in_the_order_of_the_keys,
    values_end_with_their_time,
    tenants_do_not_see_each_other,
    kinds_of_keys_do_not_meet,
    odd_keys_and_bytes_stay_as_they_are,
    what_is_too_large_or_lives_for_ever_is_refused,
    a_rate_lets_its_burst_through_and_no_more,
    a_rate_comes_back_with_time,
    what_is_more_than_the_burst_is_never_taken,
    a_step_counts_once,
    steps_from_many_sides_count_once_each,
    a_counter_stays_at_its_end,
    counters_end_with_their_time,
    a_list_keeps_the_newest,
    pushes_from_many_sides_are_all_there,
    lists_end_with_their_time,
    one_of_many_gets_a_lock,
    a_lock_that_ran_out_goes_over_with_a_greater_token,
    a_lock_that_is_renewed_stays,
    what_is_erased_is_gone_and_another_tenants_stays,
    it_says_what_it_is,
]);

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn values_come_back_in_the_order_of_the_keys(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    cache.set(&tenant, "a", bytes("1"), LONG).await.unwrap();
    cache.set(&tenant, "b", bytes("2"), LONG).await.unwrap();
    cache.set(&tenant, "a", bytes("3"), LONG).await.unwrap();
    let found = cache.get(&tenant, &["b", "none", "a", "b"]).await.unwrap();
    assert_eq!(found, [Some(bytes("2")), None, Some(bytes("3")), Some(bytes("2"))]);
    cache.delete(&tenant, &["a", "none"]).await.unwrap();
    assert_eq!(cache.get(&tenant, &["a", "b"]).await.unwrap(), [None, Some(bytes("2"))]);
    assert!(cache.get(&tenant, &[]).await.unwrap().is_empty());
    cache.delete(&tenant, &[]).await.unwrap();
}

async fn values_end_with_their_time(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    cache.set(&tenant, "short", bytes("1"), SHORT).await.unwrap();
    cache.set(&tenant, "kept", bytes("1"), SHORT).await.unwrap();
    cache.set(&tenant, "kept", bytes("2"), LONG).await.unwrap();
    fixture.pass(SHORT).await;
    assert_eq!(cache.get(&tenant, &["short", "kept"]).await.unwrap(), [None, Some(bytes("2"))]);
}

async fn tenants_do_not_see_each_other(Fixture { cache, .. }: &Fixture) {
    let (ours, theirs) = (tenant(), tenant());
    let limit = RateLimit { burst: 1, rate: 1, period: LONG };
    cache.set(&ours, "k", bytes("1"), LONG).await.unwrap();
    cache.push(&ours, "k", &[bytes("1")], 9, LONG).await.unwrap();
    cache.add(&ours, Step { stream: "k", offset: 9 }, &[("k", 5)], LONG).await.unwrap();
    let held = cache.lock(&ours, "k", LONG).await.unwrap().unwrap();
    assert!(cache.take(&ours, "k", limit, 1).await.unwrap().is_allowed);
    assert_eq!(cache.get(&theirs, &["k"]).await.unwrap(), [None]);
    assert!(cache.recent(&theirs, "k", 9).await.unwrap().is_empty());
    assert_eq!(cache.counters(&theirs, &["k"]).await.unwrap(), [0]);
    assert!(cache.add(&theirs, Step { stream: "k", offset: 1 }, &[("k", 1)], LONG).await.unwrap());
    assert!(cache.lock(&theirs, "k", LONG).await.unwrap().is_some());
    assert!(cache.take(&theirs, "k", limit, 1).await.unwrap().is_allowed);
    cache.delete(&theirs, &["k"]).await.unwrap();
    cache.clear(&theirs, "k").await.unwrap();
    cache.unlock(&theirs, held.clone()).await.unwrap();
    assert_eq!(cache.get(&ours, &["k"]).await.unwrap(), [Some(bytes("1"))]);
    assert_eq!(cache.recent(&ours, "k", 9).await.unwrap(), [bytes("1")]);
    assert_eq!(cache.counters(&ours, &["k"]).await.unwrap(), [5]);
    cache.renew(&ours, &held, LONG).await.unwrap();
}

async fn kinds_of_keys_do_not_meet(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    cache.push(&tenant, "k", &[bytes("l")], 9, LONG).await.unwrap();
    cache.set(&tenant, "k", bytes("v"), LONG).await.unwrap();
    cache.lock(&tenant, "k", LONG).await.unwrap().unwrap();
    cache.add(&tenant, Step { stream: "k", offset: 1 }, &[("k", 7)], LONG).await.unwrap();
    cache.take(&tenant, "k", RateLimit { burst: 1, rate: 1, period: LONG }, 1).await.unwrap();
    assert_eq!(cache.get(&tenant, &["k"]).await.unwrap(), [Some(bytes("v"))]);
    assert_eq!(cache.recent(&tenant, "k", 9).await.unwrap(), [bytes("l")]);
    assert_eq!(cache.counters(&tenant, &["k"]).await.unwrap(), [7]);
}

async fn odd_keys_and_bytes_stay_as_they_are(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let value = |key: &str| Bytes::from([key.as_bytes(), &[0, 255, 13, 10, 0]].concat());
    for key in ODD_KEYS {
        cache.set(&tenant, key, value(key), LONG).await.unwrap();
        cache.push(&tenant, key, &[value(key)], 9, LONG).await.unwrap();
        cache.add(&tenant, Step { stream: key, offset: 0 }, &[(key, key.len() as i64)], LONG).await.unwrap();
    }
    let found = cache.get(&tenant, &ODD_KEYS).await.unwrap();
    assert_eq!(found, ODD_KEYS.map(|key| Some(value(key))));
    assert_eq!(cache.counters(&tenant, &ODD_KEYS).await.unwrap(), ODD_KEYS.map(|key| key.len() as i64));
    for key in ODD_KEYS {
        assert_eq!(cache.recent(&tenant, key, 9).await.unwrap(), [value(key)]);
    }
    cache.set(&tenant, "empty", Bytes::new(), LONG).await.unwrap();
    assert_eq!(cache.get(&tenant, &["empty"]).await.unwrap(), [Some(Bytes::new())]);
}

async fn what_is_too_large_or_lives_for_ever_is_refused(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let set = |key: String, value: usize, ttl: Duration| {
        let tenant = tenant.clone();
        async move {
            let value = Bytes::from(vec![7; value]);
            cache.set(&tenant, &key, value, ttl).await.map_err(|error| error.kind)
        }
    };
    let longest = "k".repeat(KEY_BYTES_MAX);
    set(longest.clone(), VALUE_BYTES_MAX, TTL_MAX).await.unwrap();
    let found = cache.get(&tenant, &[&longest]).await.unwrap().remove(0).unwrap();
    assert_eq!(found.len(), VALUE_BYTES_MAX);
    assert_eq!(set(format!("{longest}k"), 1, LONG).await, Err(ErrorKind::TooLarge));
    assert_eq!(set("v".into(), VALUE_BYTES_MAX + 1, LONG).await, Err(ErrorKind::TooLarge));
    assert_eq!(set("v".into(), 1, Duration::ZERO).await, Err(ErrorKind::Invalid));
    assert_eq!(set("v".into(), 1, TTL_MAX + SHORT).await, Err(ErrorKind::Invalid));
    assert_eq!(set(String::new(), 1, LONG).await, Err(ErrorKind::Invalid));
    let many = vec!["k"; KEYS_MAX + 1];
    assert_eq!(cache.get(&tenant, &many).await.unwrap_err().kind, ErrorKind::TooLarge);
    let kept = cache.push(&tenant, "l", &[], LIST_ENTRIES_MAX + 1, LONG).await;
    assert_eq!(kept.unwrap_err().kind, ErrorKind::TooLarge);
    for limit in
        [RateLimit { burst: 1, rate: 0, period: LONG }, RateLimit { burst: u32::MAX, rate: 1, period: TTL_MAX }]
    {
        assert_eq!(cache.take(&tenant, "r", limit, 1).await.unwrap_err().kind, ErrorKind::Invalid);
    }
}

async fn a_rate_lets_its_burst_through_and_no_more(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    // One an hour comes back: none within the test.
    let limit = RateLimit { burst: 10, rate: 1, period: LONG };
    let taken = join_all((0..30).map(|_| cache.take(&tenant, "k", limit, 1))).await;
    let taken: Vec<_> = taken.into_iter().map(Result::unwrap).collect();
    assert_eq!(taken.iter().filter(|decision| decision.is_allowed).count(), 10);
    let mut left: Vec<u32> = taken.iter().filter(|one| one.is_allowed).map(|one| one.remaining).collect();
    left.sort_unstable();
    assert_eq!(left, (0..10).collect::<Vec<_>>());
    for refused in taken.iter().filter(|decision| !decision.is_allowed) {
        assert_eq!(refused.remaining, 0);
        let wait = refused.retry_after.unwrap();
        assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
        assert!(refused.reset_after <= 10 * LONG && refused.reset_after > 9 * LONG);
    }
    assert!(cache.take(&tenant, "other", limit, 10).await.unwrap().is_allowed);
}

async fn a_rate_comes_back_with_time(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    let limit = RateLimit { burst: 2, rate: 1, period: SHORT };
    let first = cache.take(&tenant, "k", limit, 2).await.unwrap();
    assert!(first.is_allowed && first.reset_after == 2 * SHORT, "{first:?}");
    fixture.pass(first.reset_after).await;
    assert!(cache.take(&tenant, "k", limit, 2).await.unwrap().is_allowed);
}

async fn what_is_more_than_the_burst_is_never_taken(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let limit = RateLimit { burst: 5, rate: 1, period: LONG };
    for cost in [6, u32::MAX] {
        let decision = cache.take(&tenant, "k", limit, cost).await.unwrap();
        assert_eq!((decision.is_allowed, decision.retry_after, decision.remaining), (false, None, 5));
    }
    assert!(cache.take(&tenant, "k", limit, 5).await.unwrap().is_allowed, "nothing was taken");
    let looked = cache.take(&tenant, "k", limit, 0).await.unwrap();
    assert!(looked.is_allowed && looked.remaining == 0);
}

async fn a_step_counts_once(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let add = |stream: &'static str, offset, amounts: &'static [(&'static str, i64)]| {
        let tenant = tenant.clone();
        async move { cache.add(&tenant, Step { stream, offset }, amounts, LONG).await.unwrap() }
    };
    assert!(add("s0", 0, &[("a", 1), ("b", -2)]).await);
    assert!(!add("s0", 0, &[("a", 1), ("c", 1)]).await, "a repeated step");
    assert!(add("s0", 7, &[("a", 10), ("a", 100)]).await);
    assert!(!add("s0", 6, &[("a", 1000)]).await, "a step of somebody who lags behind");
    assert!(add("s1", 3, &[("a", 10_000)]).await, "another stream");
    assert!(add("s2", (1 << 53) + 1, &[]).await);
    assert!(!add("s2", 1 << 53, &[("a", 1)]).await, "steps are exact");
    assert!(add("s2", u64::MAX, &[]).await);
    assert_eq!(cache.counters(&tenant, &["a", "b", "c"]).await.unwrap(), [10_111, -2, 0]);
}

async fn steps_from_many_sides_count_once_each(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let tenant = &tenant;
    // Three consumers of each of four streams, of whom two are late: every step is tried three times.
    let consumer = |number: usize| async move {
        let stream = format!("s{}", number % 4);
        let mut applied = 0;
        for offset in 1..=50 {
            applied += i64::from(cache.add(tenant, Step { stream: &stream, offset }, &[("n", 1)], LONG).await.unwrap());
        }
        applied
    };
    let applied: i64 = join_all((0..12).map(consumer)).await.into_iter().sum();
    assert_eq!(applied, 200);
    assert_eq!(cache.counters(tenant, &["n"]).await.unwrap(), [200]);
}

async fn a_counter_stays_at_its_end(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    for offset in 0..2 {
        let amounts = [("up", i64::MAX), ("down", i64::MIN), ("other", 1)];
        assert!(cache.add(&tenant, Step { stream: "s", offset }, &amounts, LONG).await.unwrap());
    }
    assert_eq!(cache.counters(&tenant, &["up", "down", "other"]).await.unwrap(), [i64::MAX, i64::MIN, 2]);
}

async fn counters_end_with_their_time(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    let step = Step { stream: "s", offset: 5 };
    assert!(cache.add(&tenant, step, &[("a", 1)], SHORT).await.unwrap());
    fixture.pass(SHORT).await;
    assert_eq!(cache.counters(&tenant, &["a"]).await.unwrap(), [0]);
    assert!(cache.add(&tenant, step, &[("a", 1)], LONG).await.unwrap(), "the step ends with them");
}

async fn a_list_keeps_the_newest(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    cache.push(&tenant, "l", &["1", "2", "3"].map(bytes), 4, LONG).await.unwrap();
    cache.push(&tenant, "l", &["4", "5"].map(bytes), 4, LONG).await.unwrap();
    assert_eq!(cache.recent(&tenant, "l", 9).await.unwrap(), ["5", "4", "3", "2"].map(bytes));
    assert_eq!(cache.recent(&tenant, "l", 2).await.unwrap(), ["5", "4"].map(bytes));
    assert!(cache.recent(&tenant, "l", 0).await.unwrap().is_empty());
    cache.push(&tenant, "l", &[], 2, LONG).await.unwrap();
    assert_eq!(cache.recent(&tenant, "l", 9).await.unwrap(), ["5", "4"].map(bytes));
    cache.push(&tenant, "l", &[bytes("6")], 0, LONG).await.unwrap();
    assert!(cache.recent(&tenant, "l", 9).await.unwrap().is_empty());
    cache.push(&tenant, "l", &[bytes("7")], 2, LONG).await.unwrap();
    cache.clear(&tenant, "l").await.unwrap();
    assert!(cache.recent(&tenant, "l", 9).await.unwrap().is_empty());
}

async fn pushes_from_many_sides_are_all_there(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let tenant = &tenant;
    let push = |n: usize| async move { cache.push(tenant, "l", &[bytes(&n.to_string())], 100, LONG).await.unwrap() };
    join_all((0..40).map(push)).await;
    let found: HashSet<Bytes> = cache.recent(tenant, "l", 100).await.unwrap().into_iter().collect();
    assert_eq!(found.len(), 40);
}

async fn lists_end_with_their_time(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    cache.push(&tenant, "l", &[bytes("1")], 9, SHORT).await.unwrap();
    fixture.pass(SHORT).await;
    assert!(cache.recent(&tenant, "l", 9).await.unwrap().is_empty());
    cache.push(&tenant, "l", &[bytes("2")], 9, LONG).await.unwrap();
    assert_eq!(cache.recent(&tenant, "l", 9).await.unwrap(), [bytes("2")]);
}

async fn one_of_many_gets_a_lock(Fixture { cache, .. }: &Fixture) {
    let tenant = tenant();
    let tried = join_all((0..16).map(|_| cache.lock(&tenant, "k", LONG))).await;
    let held: Vec<_> = tried.into_iter().filter_map(Result::unwrap).collect();
    assert_eq!(held.len(), 1);
    let other = attune_store::cache::Held { token: held[0].token + 1, ..held[0].clone() };
    cache.unlock(&tenant, other.clone()).await.unwrap();
    assert_eq!(cache.renew(&tenant, &other, LONG).await.unwrap_err().kind, ErrorKind::Conflict);
    assert!(cache.lock(&tenant, "k", LONG).await.unwrap().is_none(), "who does not hold it cannot give it back");
    cache.unlock(&tenant, held[0].clone()).await.unwrap();
    let next = cache.lock(&tenant, "k", LONG).await.unwrap().unwrap();
    assert!(next.token > held[0].token);
}

async fn a_lock_that_ran_out_goes_over_with_a_greater_token(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    let first = cache.lock(&tenant, "k", SHORT).await.unwrap().unwrap();
    fixture.pass(SHORT).await;
    assert_eq!(cache.renew(&tenant, &first, LONG).await.unwrap_err().kind, ErrorKind::Conflict);
    let second = cache.lock(&tenant, "k", LONG).await.unwrap().unwrap();
    assert!(second.token > first.token);
    cache.unlock(&tenant, first).await.unwrap();
    cache.renew(&tenant, &second, LONG).await.unwrap();
}

async fn a_lock_that_is_renewed_stays(fixture: &Fixture) {
    let (cache, tenant) = (&fixture.cache, tenant());
    let held = cache.lock(&tenant, "k", LONG).await.unwrap().unwrap();
    cache.renew(&tenant, &held, 2 * LONG).await.unwrap();
    fixture.pass(SHORT).await;
    assert!(cache.lock(&tenant, "k", LONG).await.unwrap().is_none());
    cache.renew(&tenant, &held, SHORT).await.unwrap();
    fixture.pass(SHORT).await;
    assert!(cache.lock(&tenant, "k", LONG).await.unwrap().is_some());
}

async fn what_is_erased_is_gone_and_another_tenants_stays(Fixture { cache, .. }: &Fixture) {
    let (tenant, other) = (tenant(), tenant());
    let limit = RateLimit { burst: 1, rate: 1, period: LONG };
    for whose in [&tenant, &other] {
        cache.set(whose, "k", bytes("v"), LONG).await.unwrap();
        cache.push(whose, "l", &[bytes("1")], 9, LONG).await.unwrap();
        cache.add(whose, Step { stream: "s", offset: 1 }, &[("c", 7)], LONG).await.unwrap();
        assert!(cache.take(whose, "r", limit, 1).await.unwrap().is_allowed);
        assert!(cache.lock(whose, "o", LONG).await.unwrap().is_some());
    }
    assert!(cache.erase(&tenant).await.unwrap() >= 6);
    assert_eq!(cache.get(&tenant, &["k"]).await.unwrap(), [None]);
    assert!(cache.recent(&tenant, "l", 9).await.unwrap().is_empty());
    assert_eq!(cache.counters(&tenant, &["c"]).await.unwrap(), [0]);
    assert!(cache.take(&tenant, "r", limit, 1).await.unwrap().is_allowed);
    assert!(cache.lock(&tenant, "o", LONG).await.unwrap().is_some());
    assert_eq!(cache.get(&other, &["k"]).await.unwrap(), [Some(bytes("v"))]);
    assert_eq!(cache.counters(&other, &["c"]).await.unwrap(), [7]);
    assert!(cache.lock(&other, "o", LONG).await.unwrap().is_none());
}

async fn it_says_what_it_is(Fixture { cache, .. }: &Fixture) {
    let health = cache.health().await.unwrap();
    assert!(!health.server.is_empty() && health.version.starts_with(|c: char| c.is_ascii_digit()), "{health:?}");
    assert!(health.warnings.is_empty(), "{health:?}");
}
