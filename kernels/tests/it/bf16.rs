//! bf16 products: every tier against f64 on the rounded operands, with the bound of summation in f32.

use crate::support::{assert_close, bits, on_every_tier, rng, sum_bound, uniform};
use attune_kernels::{
    Activation, Epilogue, Isa, PackedBf16, RoundedRows, Scratch, gemm_bf16, gemm_bf16_rounded, gemm_bf16_rows,
};
use half::bf16;
use rand::RngExt;

/// Rows, columns, depth: one of each; around the edges of tiles, panels and lines; real ones; not a multiple of anything.
const SHAPES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [1, 16, 2],
    [2, 17, 31],
    [9, 48, 32],
    [10, 49, 33],
    [31, 95, 127],
    [40, 384, 384],
    [70, 100, 1000],
    [5, 30, 4097],
];

const PLAIN: Epilogue<'static> = Epilogue { bias: None, activation: Activation::Identity, residual: None };

fn product(isa: Isa, [rows, columns, depth]: [usize; 3], x: &[f32], w: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
    let w = PackedBf16::pack(isa, w, columns, depth);
    let mut y = vec![f32::NAN; rows * columns];
    gemm_bf16(&w, x, rows, epilogue, &mut y, &mut Scratch::default());
    y
}

#[test]
fn error_is_that_of_summing_rounded_operands_in_f32() {
    let mut rng = rng();
    for shape in SHAPES {
        let [rows, columns, depth] = shape;
        let (x, w) = (uniform(rows * depth, 2.0, &mut rng), uniform(columns * depth, 2.0, &mut rng));
        on_every_tier(|isa| {
            let y = product(isa, shape, &x, &w, PLAIN);
            for (i, &got) in y.iter().enumerate() {
                let terms =
                    (0..depth).map(|k| rounded(x[i / columns * depth + k]) * rounded(w[i % columns * depth + k]));
                let (exact, magnitude) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                // The products of bf16 are exact, but sums of pairs may be made apart and then added.
                assert_close(got, exact, sum_bound(depth, magnitude), format_args!("{isa} {shape:?}"));
            }
        });
    }
}

fn rounded(x: f32) -> f64 {
    f64::from(bf16::from_f32(x).to_f32())
}

#[test]
fn rounding_is_to_nearest_even() {
    let mut rng = rng();
    let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, -1.0 - 1.0 / 256.0, 3.39e38, -0.0];
    let normal = |bits: &u32| f32::from_bits(*bits).is_normal() && f32::from_bits(*bits).abs() < 3e38;
    let random = std::iter::repeat_with(|| rng.random::<u32>()).filter(normal).map(f32::from_bits).take(995);
    let x: Vec<f32> = ties.into_iter().chain(random).collect();
    on_every_tier(|isa| {
        // One input and a weight of one: the result is the rounded input.
        let y = product(isa, [x.len(), 1, 1], &x, &[1.0], PLAIN);
        for (x, y) in x.iter().zip(y) {
            assert_eq!(y, bf16::from_f32(*x).to_f32(), "{isa}: {x:e}");
        }
    });
}

#[test]
fn what_is_not_finite_shows_in_its_row_and_nowhere_else() {
    let mut rng = rng();
    let shape @ [rows, columns, depth] = [12, 50, 130];
    let (x, w) = (uniform(rows * depth, 2.0, &mut rng), uniform(columns * depth, 2.0, &mut rng));
    for bad in [f32::NAN, f32::from_bits(0x7f80_0001), f32::INFINITY] {
        let mut bad_x = x.clone();
        bad_x[7 * depth + 129] = bad;
        on_every_tier(|isa| {
            let expected = product(isa, shape, &x, &w, PLAIN);
            for (i, got) in product(isa, shape, &bad_x, &w, PLAIN).into_iter().enumerate() {
                assert!(
                    if i / columns == 7 { !got.is_finite() } else { got == expected[i] },
                    "{isa} {bad} at {i}: {got}"
                );
            }
        });
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let mut rng = rng();
    let shape @ [rows, columns, depth] = [75, 100, 200];
    let (x, w) = (uniform(rows * depth, 2.0, &mut rng), uniform(columns * depth, 2.0, &mut rng));
    let (bias, residual) = (uniform(columns, 2.0, &mut rng), uniform(rows * columns, 2.0, &mut rng));
    let epilogue = Epilogue { bias: Some(&bias), activation: Activation::GeluErf, residual: Some(&residual) };
    on_every_tier(|isa| {
        let together = product(isa, shape, &x, &w, epilogue);
        for row in 0..rows {
            let residual = Some(&residual[row * columns..][..columns]);
            let alone =
                product(isa, [1, columns, depth], &x[row * depth..][..depth], &w, Epilogue { residual, ..epilogue });
            assert_eq!(bits(&alone), bits(&together[row * columns..][..columns]), "{isa} row {row}");
        }
    });
}

#[test]
fn rounded_results_are_the_rounded_result() {
    let mut rng = rng();
    let (x, up, down) =
        (uniform(75 * 90, 2.0, &mut rng), uniform(130 * 90, 2.0, &mut rng), uniform(40 * 130, 2.0, &mut rng));
    let (bias, residual) = (uniform(130, 2.0, &mut rng), uniform(75 * 130, 2.0, &mut rng));
    let epilogue = Epilogue { bias: Some(&bias), activation: Activation::GeluErf, residual: Some(&residual) };
    on_every_tier(|isa| {
        let (up_weights, down) = (PackedBf16::pack(isa, &up, 130, 90), PackedBf16::pack(isa, &down, 40, 130));
        let (mut rows, mut middle, mut scratch) = (RoundedRows::new(), RoundedRows::new(), Scratch::default());
        rows.round(isa, &x, 75, 90);
        let (mut expected, mut y) = (vec![0.0; 75 * 40], vec![0.0; 75 * 40]);
        middle.round(isa, &product(isa, [75, 130, 90], &x, &up, epilogue), 75, 130);
        gemm_bf16_rows(&down, &middle, PLAIN, &mut expected);
        gemm_bf16_rounded(&up_weights, &rows, epilogue, &mut middle, &mut scratch);
        gemm_bf16_rows(&down, &middle, PLAIN, &mut y);
        assert_eq!(bits(&y), bits(&expected), "{isa}");
    });
}
