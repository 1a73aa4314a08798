//! Layer normalisation, softmax and GELU: every tier against f64, with bounds from the lengths of the sums.

use crate::support::{
    PARITY_LENS, UNIT, assert_close, bits, gelu, on_every_tier, rng, same_bits_on_vector_tiers, sum_bound, uniform,
};
use attune_kernels::{gelu_erf, layer_norm, softmax};

const EPSILON: f32 = 1e-12;

/// What changes rows in place.
type Layer<'a> = &'a dyn Fn(&mut [f32]);

/// The exact layer normalisation of a row, and how far an f32 one may be from it.
fn exact_layer_norm(row: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<(f64, f64)> {
    let (n, values) = (row.len() as f64, row.iter().map(|&x| f64::from(x)));
    let mean = values.clone().sum::<f64>() / n;
    let distances: Vec<f64> = values.map(|x| x - mean).collect();
    let squares = distances.iter().map(|d| d * d).sum::<f64>();
    let scale = 1.0 / (squares / n + f64::from(EPSILON)).sqrt();

    let mean_error = sum_bound(row.len(), row.iter().map(|&x| f64::from(x.abs())).sum()) / n + UNIT * mean.abs();
    let distance_error = |d: f64| mean_error + UNIT * d.abs();
    let squares_error = sum_bound(row.len() + 2, squares)
        + distances.iter().map(|&d| (2.0 * d.abs() + distance_error(d)) * distance_error(d)).sum::<f64>();
    // The root halves a relative error; 4 roundings make the scale; 1.1 for what is of second order.
    let scale_error = 1.1 * (squares_error / n * scale * scale / 2.0 + 4.0 * UNIT);
    let values = distances.into_iter().zip(gamma).zip(beta).map(|((d, &gamma), &beta)| {
        let (gamma, beta) = (f64::from(gamma), f64::from(beta));
        let normal = d * scale * gamma;
        let error = (distance_error(d) * scale * gamma).abs() + normal.abs() * (scale_error + 4.0 * UNIT);
        (normal + beta, 1.1 * error + 2.0 * UNIT * (normal.abs() + beta.abs()))
    });
    values.collect()
}

#[test]
fn layer_norm_at_every_odd_width() {
    let mut rng = rng();
    on_every_tier(|isa| {
        // A width of 1 has no variance: only epsilon stands between its error and infinity.
        for width in PARITY_LENS.into_iter().filter(|&width| width > 2).chain([384]) {
            let x: Vec<f32> = uniform(5 * width, 3.0, &mut rng).iter().map(|x| x + 1.0).collect();
            let (gamma, beta) = (uniform(width, 2.0, &mut rng), uniform(width, 1.0, &mut rng));
            let mut y = x.clone();
            layer_norm(isa, &mut y, &gamma, &beta, EPSILON);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
                for (&y, (exact, bound)) in y.iter().zip(exact_layer_norm(x, &gamma, &beta)) {
                    assert_close(y, exact, bound, format!("{isa} width {width}"));
                }
            }
        }
    });
}

#[test]
fn layer_norm_of_a_constant_row_is_its_shift() {
    on_every_tier(|isa| {
        let mut x = [0.5; 96];
        let beta: Vec<f32> = (0..48u8).map(f32::from).collect();
        layer_norm(isa, &mut x, &[3.0; 48], &beta, EPSILON);
        assert_eq!(x[..48], beta, "{isa}");
        assert_eq!(x[48..], beta, "{isa}");
    });
}

#[test]
fn softmax_at_every_odd_width() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for width in PARITY_LENS {
            let x = uniform(3 * width, 20.0, &mut rng);
            let mut y = x.clone();
            softmax(isa, &mut y, width);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
                let highest = f64::from(x.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                let total: f64 = x.iter().map(|&x| (f64::from(x) - highest).exp()).sum();
                for (&x, &y) in x.iter().zip(y) {
                    let distance = f64::from(x) - highest;
                    let exact = distance.exp() / total;
                    // The rounded difference, exp (2 units in the last place, twice), the sum, and two more roundings.
                    let relative = UNIT * (distance.abs() + 8.0 + width as f64 + 2.0);
                    assert_close(y, exact, relative * exact, format!("{isa} width {width}"));
                }
            }
        }
    });
}

#[test]
fn softmax_of_extremes() {
    on_every_tier(|isa| {
        let mut x = [-1e30, 1e30, f32::MIN, f32::NEG_INFINITY];
        softmax(isa, &mut x, 4);
        assert_eq!(x[1], 1.0, "{isa}: {x:?}");
        assert!(x.iter().all(|&p| p == 1.0 || (0.0..2e-38).contains(&p)), "{isa}: {x:?}");
    });
}

#[test]
fn gelu_everywhere() {
    let mut rng = rng();
    let mut x = uniform(4001, 7.0, &mut rng);
    x.extend([0.0, -0.0, 1e-30, -1e-30, 5.5, -5.5, 100.0, -100.0, 1e20, -1e20, f32::MAX, f32::MIN, f32::INFINITY]);
    on_every_tier(|isa| {
        let mut y = x.clone();
        gelu_erf(isa, &mut y);
        for (&x, y) in x.iter().zip(y) {
            if x == f32::INFINITY {
                assert_eq!(y, x, "{isa}");
            } else {
                let bound = 2.5e-7 * f64::from(x.abs()).min(8.0) + UNIT * gelu(f64::from(x)).abs();
                assert_close(y, gelu(f64::from(x)), bound, format!("{isa}: gelu of {x}"));
            }
        }
    });
}

#[test]
fn nan_stays_in_its_row() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for width in PARITY_LENS {
            let good = uniform(3 * width, 1.0, &mut rng);
            let (gamma, beta) = (vec![1.0; width], vec![0.0; width]);
            let layers: [Layer<'_>; 2] = [&|x| softmax(isa, x, width), &|x| layer_norm(isa, x, &gamma, &beta, EPSILON)];
            for layer in layers {
                let (mut expected, mut x) = (good.clone(), good.clone());
                x[width + width / 2] = f32::NAN;
                layer(&mut expected);
                layer(&mut x);
                assert!(x[width..2 * width].iter().all(|x| x.is_nan()), "{isa} width {width}: {x:?}");
                assert_eq!(bits(&x[..width]), bits(&expected[..width]), "{isa} width {width}");
                assert_eq!(bits(&x[2 * width..]), bits(&expected[2 * width..]), "{isa} width {width}");
            }
            let mut x = [1.0, f32::NAN, 2.0];
            gelu_erf(isa, &mut x);
            assert_eq!(x.map(f32::is_nan), [false, true, false], "{isa}");
        }
    });
}

#[test]
fn vector_tiers_agree_to_the_bit() {
    let mut rng = rng();
    for width in PARITY_LENS {
        let x = uniform(7 * width, 4.0, &mut rng);
        let (gamma, beta) = (uniform(width, 2.0, &mut rng), uniform(width, 1.0, &mut rng));
        same_bits_on_vector_tiers(|isa| {
            let mut y = [x.clone(), x.clone(), x.clone()];
            layer_norm(isa, &mut y[0], &gamma, &beta, EPSILON);
            softmax(isa, &mut y[1], width);
            gelu_erf(isa, &mut y[2]);
            y.concat()
        });
    }
}
