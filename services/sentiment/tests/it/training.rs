//! From rated sentences to a folder, and everything that can be wrong on the way.

use attune_inference::model::Adapter;
use attune_inference::train::Recipe;
use attune_sentiment::data::{Class, Part, SOURCES};
use attune_sentiment::progress::{Evaluated, Progress, Silent, Started};
use attune_sentiment::train::{TrainError, TrainOptions, run};

use crate::support::{Fixture, rows};

/// Keeps what it hears.
#[derive(Default)]
struct Heard {
    started: Option<Started>,
    steps: usize,
    evaluated: Vec<Evaluated>,
    finished: bool,
}

impl Progress for Heard {
    fn started(&mut self, run: &Started) {
        self.started = Some(*run);
    }
    fn stepped(&mut self, _: f32) {
        self.steps += 1;
    }
    fn evaluated(&mut self, evaluation: &Evaluated) {
        self.evaluated.push(*evaluation);
    }
    fn finished(&mut self) {
        self.finished = true;
    }
}

#[test]
fn a_run_learns_writes_its_folder_and_quotes_what_it_measured() {
    let fixture = Fixture::new();
    let mut heard = Heard::default();
    let options = TrainOptions { patience: 100, ..fixture.options() };
    let report = run(&options, &mut heard).unwrap();
    assert_eq!(heard.started.unwrap().steps, heard.steps);
    assert!(heard.finished && heard.evaluated.len() == options.evaluations_per_epoch * options.recipe.epochs);
    let (first, last) = (heard.evaluated[0], heard.evaluated[heard.evaluated.len() - 1]);
    assert!(last.loss < first.loss, "{first:?}, {last:?}");
    assert!(report.test.report.all.three_classes.share > 0.9, "{}", report.test);
    assert!(report.test.report.all.strong.share > 0.9, "{}", report.test);
    let best = heard.evaluated.iter().rfind(|evaluation| evaluation.best).unwrap();
    assert_eq!(report.best_step, best.step);

    let adapter = Adapter::read(&fixture.path("trained")).unwrap();
    assert_eq!(adapter.labels().unwrap(), Class::ALL.map(Class::name));
    let card = std::fs::read_to_string(fixture.path("trained").join("README.md")).unwrap();
    let quoted = [&report.dev, &report.test].map(|part| format!("{}", part.report.all.three_classes));
    for line in [report.test.data_sha256.as_str(), "seed 1", quoted[0].as_str(), quoted[1].as_str()] {
        assert!(card.contains(line), "{line} is not in the card:\n{card}");
    }
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let fixture = Fixture::new();
    let weights = |seed, out: &str| {
        let options = TrainOptions { seed, out: fixture.path(out), ..fixture.options() };
        run(&TrainOptions { recipe: Recipe { epochs: 1, ..options.recipe }, ..options }, &mut Silent).unwrap();
        std::fs::read(fixture.path(out).join("adapter_model.safetensors")).unwrap()
    };
    let first = weights(1, "first");
    assert_eq!(first, weights(1, "again"));
    assert_ne!(first, weights(2, "other"));
}

#[test]
fn training_stops_once_dev_has_not_improved_for_a_while() {
    let fixture = Fixture::new();
    let options = fixture.options();
    // Too low a rate to change a single answer: every look at dev is the first one over again.
    let recipe = Recipe { learning_rate: 1e-12, ..options.recipe.clone() };
    let mut heard = Heard::default();
    let report = run(&TrainOptions { recipe, patience: 3, ..options }, &mut heard).unwrap();
    assert_eq!(heard.evaluated.len(), 4, "the best one, and three without an improvement");
    assert_eq!((report.best_step, report.steps), (heard.evaluated[0].step, heard.evaluated[3].step));
}

#[test]
fn data_that_cannot_be_learnt_from_is_refused_before_anything_is_written() {
    let fixture = Fixture::new();
    let refused = || run(&fixture.options(), &mut Silent).unwrap_err();
    for source in SOURCES {
        fixture.write_source(source, &rows(|n| 1 + n % 2));
    }
    assert!(matches!(refused(), TrainError::MissingClass { part: Part::Train, class: Class::Negative }));
    std::fs::remove_dir_all(fixture.data()).unwrap();
    assert!(matches!(refused(), TrainError::Data(_)));
    assert!(!fixture.path("trained").exists());
}

#[test]
fn options_bases_and_folders_that_cannot_be_used_are_refused() {
    let fixture = Fixture::new();
    let refused = |options: TrainOptions| run(&options, &mut Silent).unwrap_err();
    let option = |options| match refused(options) {
        TrainError::Option { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(option(TrainOptions { patience: 0, ..fixture.options() }), "patience");
    assert_eq!(option(TrainOptions { rating_error: -0.1, ..fixture.options() }), "rating_error");
    assert_eq!(option(TrainOptions { rating_error: f64::NAN, ..fixture.options() }), "rating_error");
    let recipe = Recipe { rank: 0, ..fixture.options().recipe };
    assert!(matches!(refused(TrainOptions { recipe, ..fixture.options() }), TrainError::Step(_)));
    let base = fixture.path("nowhere");
    assert!(matches!(refused(TrainOptions { base, ..fixture.options() }), TrainError::Model(_)));
    let mut heard = Heard::default();
    for out in [fixture.base().join("config.json"), fixture.base()] {
        let error = run(&TrainOptions { out: out.clone(), ..fixture.options() }, &mut heard).unwrap_err();
        assert!(error.to_string().contains(&out.display().to_string()), "{error}");
        assert_eq!(matches!(error, TrainError::Taken { .. }), out.is_dir(), "{error}");
    }
    assert_eq!(heard.steps, 0, "before there is work that would be lost");
    assert!(!fixture.base().join("adapter_model.safetensors").exists());
}
