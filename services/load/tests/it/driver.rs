//! What the generator says about a server whose behaviour is known.

use std::time::Duration;

use attune_load::{LoadError, LoadOptions, Report, Target, Task, run};

use crate::server::{Behaviour, KEY, start};

const QUICK: Behaviour = Behaviour { service: Duration::from_millis(4), workers: 2, places: 1_000, stall: None };

fn options(behaviour: Behaviour) -> LoadOptions {
    let url = format!("http://{}", start(behaviour));
    let target = Target { url, key: Some(KEY.into()), model: Some("k".into()), task: Task::Embed };
    let texts = ["one two three", "one", "one two"].map(str::to_owned).to_vec();
    LoadOptions {
        length: Duration::from_millis(600),
        runs: 1,
        shares: vec![0.5],
        p99_objective_ms: None,
        idle_calls: 20,
        in_flight: 16,
        connections: 2,
        ..LoadOptions::new(target, texts, behaviour.workers)
    }
}

fn measure(options: &LoadOptions) -> Report {
    run(options, &mut |_| ()).unwrap()
}

#[test]
fn a_known_server_is_told_as_it_is() {
    let mut told = Vec::new();
    let report = run(&options(QUICK), &mut |step| told.push(step.to_owned())).unwrap();
    assert_eq!((report.server.model.as_str(), report.tokens_mean), ("known", 2.0));
    // Two workers, 4 ms and more each: a slow machine only makes it less.
    assert!(report.capacity_per_s > 0.0 && report.capacity_per_s <= 500.0, "{}", report.capacity_per_s);
    assert!(report.idle.latency.p50_ms >= 4.0 && (report.idle.infer.p50_ms - 4.0).abs() < 0.01, "{:?}", report.idle);
    let scaled_ms = report.full_batch_cost.fixed_ms;
    assert!((scaled_ms - 2_000.0 / report.capacity_per_s).abs() < 1e-3 * scaled_ms, "{scaled_ms} ms");

    let half = &report.levels[0].runs[0];
    assert_eq!(half.latency.count as usize, half.requests);
    assert!(half.latency.p50_ms >= 4.0 && half.ideal.unwrap().p50_ms >= 3.96, "{half:?}");
    assert!(half.ideal_full_batches.unwrap().p50_ms >= scaled_ms * 0.99, "{half:?}");
    assert!(told.iter().any(|step| step.starts_with("50% of capacity")), "{told:?}");
}

#[test]
fn too_much_load_is_refused_and_counted() {
    let crowded = Behaviour { places: 20, ..QUICK };
    let report = measure(&LoadOptions { shares: vec![4.0], ..options(crowded) });
    let run = &report.levels[0].runs[0];
    assert!(run.refused.count > 0 && run.latency.count > 0, "{run:?}");
    assert_eq!(run.refused.count + run.latency.count + run.late as u64, run.requests as u64);
    assert!(run.ideal.is_none(), "above capacity the ideal server has no latency");
}

/// What a closed loop hides: it would meet a stall once in 40 calls, so in less than one of ten; an open loop meets it
/// in every request that is due meanwhile.
#[test]
fn a_stall_shows_in_all_requests_that_were_due_in_it() {
    let stalling = Behaviour { workers: 1, stall: Some((40, Duration::from_millis(400))), ..QUICK };
    let report = measure(&LoadOptions { shares: vec![0.4], length: Duration::from_secs(3), ..options(stalling) });
    let run = &report.levels[0].runs[0];
    assert!(run.latency.max_ms >= 400.0 && run.latency.p90_ms >= 20.0, "{run:?}");
}

#[test]
fn what_cannot_be_measured_says_why() {
    let fails = |change: &dyn Fn(&mut LoadOptions)| {
        let mut options = options(QUICK);
        change(&mut options);
        run(&options, &mut |_| ()).unwrap_err()
    };
    let no_key = fails(&|options| options.target.key = None);
    assert!(matches!(&no_key, LoadError::Models(status) if status.message() == "a key is needed"), "{no_key}");
    let model = fails(&|options| options.target.model = Some("large".into())).to_string();
    assert_eq!(model, "the server has no model large for Embed; it has known");
    let nobody = fails(&|options| options.target.url = "http://127.0.0.1:9".into()).to_string();
    assert!(nobody.contains("is the server running?"), "{nobody}");
    assert!(matches!(fails(&|options| options.target.url = "not a url".into()), LoadError::Target { .. }));
    assert!(matches!(fails(&|options| options.workers = 0), LoadError::Option { name: "workers", .. }));
    assert!(matches!(fails(&|options| options.shares = vec![-1.0]), LoadError::Option { name: "shares", .. }));
    let crowded = LoadOptions { in_flight: 16, ..options(Behaviour { places: 4, ..QUICK }) };
    assert!(run(&crowded, &mut |_| ()).unwrap_err().to_string().contains("the server refused it"));
}
