use super::*;

/// Two groups of users with a taste each, one item that all of them met, and one dislike.
fn table() -> Interactions {
    let mut entries = Vec::new();
    for user in 0..40_u32 {
        for item in 0..10 {
            if (user * 7 + item * 3) % 4 != 0 {
                entries.push((user, item + 10 * (user % 2), 1.0 + (item % 3) as f32));
            }
        }
        entries.push((user, 20, 1.0));
    }
    entries.push((0, 19, -2.0));
    Interactions::from_entries(40, 22, &entries).unwrap()
}

fn options() -> AlsOptions {
    AlsOptions { factors: 6, epochs: 5, threads: 1, ..AlsOptions::default() }
}

fn loss(table: &Interactions, options: &AlsOptions, users: &[f32], items: &[f32]) -> f64 {
    let by_item = table.transpose();
    let mut loss = 0.0;
    for (row, user) in users.chunks(options.factors).enumerate() {
        let (columns, weights) = table.row(row);
        for (column, item) in items.chunks(options.factors).enumerate() {
            let score = dot(user, item);
            let weight = columns.iter().position(|at| *at as usize == column).map_or(0.0, |at| weights[at].max(0.0));
            loss += f64::from(weight * (1.0 - score).powi(2) + options.unobserved_weight * score * score);
        }
        loss += f64::from(options.ridge(liked(weights), items.len() / options.factors) * dot(user, user));
    }
    for (row, item) in items.chunks(options.factors).enumerate() {
        let ridge = options.ridge(liked(by_item.row(row).1), table.rows());
        loss += f64::from(ridge * dot(item, item));
    }
    loss
}

#[test]
fn every_half_step_lowers_the_loss() {
    for steps in [0, 1, 3] {
        let (table, options) = (table(), AlsOptions { steps, ..options() });
        let mut losses = Vec::new();
        let scaled = table.scaled(unit_scale(&table).unwrap());
        let watch = |users: &[f32], items: &[f32]| losses.push(loss(&scaled, &options, users, items));
        Als::train_watched(&table, &options, watch).unwrap();
        assert_eq!(losses.len(), 10);
        assert!(losses.windows(2).all(|pair| pair[1] < pair[0] * (1.0 + 1e-6)), "{losses:?}");
        assert!(losses[9] < losses[0] * 0.9, "{losses:?}");
    }
}

#[test]
fn one_seed_gives_one_model_whatever_the_threads() {
    let one = Als::train(&table(), &options()).unwrap().into_parts();
    let two = Als::train(&table(), &AlsOptions { threads: 2, ..options() }).unwrap().into_parts();
    assert_eq!((&one.users, &one.items), (&two.users, &two.items));
    let other = Als::train(&table(), &AlsOptions { seed: 1, ..options() }).unwrap().into_parts();
    assert_ne!(one.users, other.users);
}

#[test]
fn only_ratios_of_weights_count() {
    let once = Als::train(&table(), &options()).unwrap();
    let doubled = Als::train(&table().scaled(2.0), &options()).unwrap();
    assert_eq!(once.item_factors(), doubled.item_factors());
    assert_eq!(once.user_factors(), doubled.user_factors());
    assert_eq!(once.fold_in_user(&[3, 4], &[1.0, 2.0]), doubled.fold_in_user(&[3, 4], &[2.0, 4.0]));
    assert_eq!(once.fold_in_item(&[3], &[1.0]), doubled.fold_in_item(&[3], &[2.0]));
}

#[test]
fn a_trained_row_folded_in_is_nearly_its_own_vector() {
    let (table, options) = (table(), AlsOptions { epochs: 60, steps: 0, ..options() });
    let model = Als::train(&table, &options).unwrap();
    let (items, weights) = table.row(3);
    let folded = model.fold_in_user(items, weights);
    let trained = &model.user_factors()[3 * 6..4 * 6];
    for (folded, trained) in folded.iter().zip(trained) {
        assert!((folded - trained).abs() < 2e-3, "{folded} {trained}");
    }
    let by_item = table.transpose();
    let (users, weights) = by_item.row(12);
    for (folded, trained) in model.fold_in_item(users, weights).iter().zip(&model.item_factors()[12 * 6..]) {
        assert!((folded - trained).abs() < 1e-4, "{folded} {trained}");
    }
}

#[test]
fn taste_is_told_for_the_known_and_the_new() {
    let model = Als::train(&table(), &options()).unwrap();
    let mut scores = vec![0.0; 22];
    model.score(Some(1), History::default(), &mut scores);
    assert!(scores[12] > scores[2] + 0.2 && scores[21].abs() < 0.05, "{scores:?}");
    let history = History { items: &[11, 12], weights: &[1.0, 1.0], times: &[0, 1] };
    model.score(None, history, &mut scores);
    assert!(scores[15] > scores[5] + 0.1, "{scores:?}");
    model.score(None, History::default(), &mut scores);
    assert_eq!((scores[5], scores[20], scores[19]), (60.0, 40.0, 8.0), "what everybody likes");
}

#[test]
fn one_user_and_one_item_are_enough_and_none_are_not() {
    for (rows, width) in [(1, 1), (1, 3), (3, 1)] {
        let table = Interactions::from_entries(rows, width, &[(0, 0, 1.0)]).unwrap();
        let model = Als::train(&table, &options()).unwrap();
        assert!(model.user_factors().iter().chain(model.item_factors()).all(|value| value.is_finite()));
    }
    for entries in [&[][..], &[(0, 0, -1.0)]] {
        let table = Interactions::from_entries(1, 1, entries).unwrap();
        assert_eq!(Als::train(&table, &options()).unwrap_err(), TrainError::Empty { rows: 1, items: 1 });
    }
}

#[test]
fn options_and_parts_are_checked() {
    for bad in [
        AlsOptions { factors: 0, ..options() },
        AlsOptions { factors: 100_000_000, ..options() },
        AlsOptions { regularisation: f32::NAN, ..options() },
        AlsOptions { unobserved_weight: f32::INFINITY, ..options() },
        AlsOptions { nu: -1.0, ..options() },
        AlsOptions { stddev: 0.0, ..options() },
    ] {
        assert!(matches!(Als::train(&table(), &bad), Err(TrainError::Option { .. })), "{bad:?}");
    }
    let model = Als::train(&table(), &options()).unwrap();
    let parts = model.clone().into_parts();
    assert_eq!(Als::from_parts(parts.clone()).unwrap().into_parts(), parts);
    let short = AlsParts { items: vec![0.0; 5], ..parts };
    assert!(matches!(Als::from_parts(short), Err(TrainError::Parts { part: "items", .. })));
    let json = serde_json::to_string(&options()).unwrap();
    assert_eq!(serde_json::from_str::<AlsOptions>(&json).unwrap(), options());
}
