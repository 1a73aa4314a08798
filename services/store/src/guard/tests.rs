//! The guard around calls that go wrong as a test plans it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const SHORT: Duration = Duration::from_millis(5);

fn guard(settings: Settings) -> (Guard, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    (Guard::new(StoreKind::Cache, "redis", settings).with_faults(Arc::clone(&faults)), faults)
}

/// Retries without waiting, and a breaker that never opens.
fn patient() -> Settings {
    let breaker = BreakerSettings { calls_min: usize::MAX, ..BreakerSettings::default() };
    Settings { attempt_max: Duration::from_secs(60), pause_min: Duration::ZERO, breaker, ..Settings::default() }
}

async fn count(guard: &Guard, calls: &AtomicU32, retry: Retry) -> Result<u32, StoreError> {
    guard.call("get", retry, || async { Ok(calls.fetch_add(1, Ordering::Relaxed) + 1) }).await
}

#[tokio::test]
async fn what_is_safe_is_tried_again_and_what_is_not_is_not() {
    let (guard, faults) = guard(patient());
    let calls = AtomicU32::new(0);
    faults.plan(None, Fault::Fail(ErrorKind::Unavailable), 2);
    assert_eq!(count(&guard, &calls, Retry::Safe).await.unwrap(), 1);
    faults.plan(None, Fault::Fail(ErrorKind::Unavailable), 1);
    assert_eq!(count(&guard, &calls, Retry::Never).await.unwrap_err().kind, ErrorKind::Unavailable);
    faults.plan(None, Fault::Fail(ErrorKind::Conflict), 1);
    assert_eq!(count(&guard, &calls, Retry::Safe).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn attempts_have_a_bound() {
    let (guard, faults) = guard(patient());
    let calls = AtomicU32::new(0);
    faults.plan(Some("get"), Fault::AnswerLost, 100);
    let error = count(&guard, &calls, Retry::Safe).await.unwrap_err();
    assert_eq!((error.kind, calls.load(Ordering::Relaxed)), (ErrorKind::Timeout, 3));
    faults.clear();
    assert_eq!(count(&guard, &calls, Retry::Safe).await.unwrap(), 4);
}

#[tokio::test]
async fn a_store_that_fails_half_its_calls_gets_a_fifth_more_at_most() {
    let (guard, _) = guard(patient());
    let attempts = AtomicU32::new(0);
    let calls = 2_000;
    for _ in 0..calls {
        let attempt = || async {
            let error = StoreError::new(StoreKind::Cache, "get", ErrorKind::Unavailable, "busy");
            if attempts.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) { Err(error) } else { Ok(()) }
        };
        let _either = guard.call("get", Retry::Safe, attempt).await;
    }
    let attempts = attempts.load(Ordering::Relaxed);
    assert!(attempts > calls && attempts <= calls * 12 / 10, "{attempts} attempts for {calls} calls");
}

#[tokio::test]
async fn a_silent_store_costs_one_time_limit_each_and_then_nothing() {
    let settings = Settings { attempt_max: SHORT, attempts_max: 1, ..Settings::default() };
    let (guard, faults) = guard(settings);
    let calls = AtomicU32::new(0);
    faults.from_now_on(Fault::Silent);
    for _ in 0..settings.breaker.calls_min {
        let error = count(&guard, &calls, Retry::Safe).await.unwrap_err();
        assert_eq!((error.kind, error.detail.as_str()), (ErrorKind::Timeout, "no answer from redis within 5 ms"));
    }
    assert!(guard.is_open());
    faults.clear();
    let error = count(&guard, &calls, Retry::Safe).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.detail.starts_with("redis is not asked: 5 of its last 5 calls failed"), "{}", error.detail);
    // It is probed after its pause without anybody's help, and closes.
    while count(&guard, &calls, Retry::Safe).await.is_err() {
        tokio::time::sleep(SHORT).await;
    }
    assert!(!guard.is_open());
}

#[tokio::test]
async fn a_probe_whose_caller_goes_away_does_not_keep_the_breaker_open() {
    let breaker = BreakerSettings { pause_min: Duration::ZERO, ..BreakerSettings::default() };
    let (guard, faults) = guard(Settings { attempts_max: 1, breaker, ..Settings::default() });
    let calls = AtomicU32::new(0);
    faults.plan(None, Fault::Fail(ErrorKind::Unavailable), 5);
    for _ in 0..5 {
        count(&guard, &calls, Retry::Never).await.unwrap_err();
    }
    faults.plan(None, Fault::Silent, 1);
    tokio::time::timeout(SHORT, count(&guard, &calls, Retry::Never)).await.unwrap_err();
    assert_eq!(count(&guard, &calls, Retry::Never).await.unwrap(), 1);
}

#[tokio::test]
async fn slow_calls_have_a_limit_of_their_own() {
    let (guard, faults) = guard(Settings { attempt_max: SHORT, ..patient() });
    faults.plan(Some("poll"), Fault::Late(4 * SHORT), 1);
    let answer = guard.call_within(Duration::from_secs(60), "poll", Retry::Never, || async { Ok(1) }).await;
    assert_eq!(answer.unwrap(), 1);
}
