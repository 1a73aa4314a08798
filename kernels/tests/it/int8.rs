//! int8 products: every tier against exact integer sums, the scalar tier, and the bound that the scheme's steps give.

use crate::support::{assert_close, bits, on_every_tier, rng};
use attune_kernels::{
    Activation, Epilogue, Isa, PackedI8, QuantisedRows, Scratch, gemm_i8, gemm_i8_requantised, gemm_i8_rows,
};
use rand::{Rng, RngExt, SeedableRng};

/// Rows, columns, depth: one of each; around the edges of tiles, panels and lines; real ones; not a multiple of anything.
const SHAPES: [[usize; 3]; 10] = [
    [1, 1, 1],
    [1, 16, 4],
    [2, 17, 63],
    [9, 48, 64],
    [10, 49, 65],
    [31, 95, 127],
    [33, 96, 300],
    [40, 384, 384],
    [70, 100, 1000],
    [5, 30, 4097],
];

const PLAIN: Epilogue<'static> = Epilogue { bias: None, activation: Activation::Identity, residual: None };

struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    x: Vec<f32>,
    w: Vec<f32>,
}

impl Product {
    fn random([rows, columns, depth]: [usize; 3], rng: &mut impl Rng) -> Self {
        let x = normal(rows * depth, rng);
        let w = normal(columns * depth, rng).iter().map(|w| w * 0.05).collect();
        Product { rows, columns, depth, x, w }
    }

    /// Activations that are levels already (0..=127, with both ends in every row) and weights that are levels already, so
    /// that scales are 1, zero points 0 and the result is the integer sum itself.
    fn integers(
        [rows, columns, depth]: [usize; 3],
        mut level: impl FnMut() -> f32,
        mut weight: impl FnMut() -> f32,
    ) -> Self {
        let mut x: Vec<f32> = (0..rows * depth).map(|_| level()).collect();
        let mut w: Vec<f32> = (0..columns * depth).map(|_| weight()).collect();
        x.chunks_exact_mut(depth).for_each(|row| row[0] = 127.0);
        w.chunks_exact_mut(depth).for_each(|column| column[depth - 1] = -127.0);
        Product { rows, columns, depth, x, w }
    }

    fn on(&self, isa: Isa, epilogue: Epilogue<'_>) -> Vec<f32> {
        let w = PackedI8::pack(isa, &self.w, self.columns, self.depth);
        let mut y = vec![f32::NAN; self.rows * self.columns];
        gemm_i8(&w, &self.x, self.rows, epilogue, &mut y, &mut Scratch::default());
        y
    }

    fn exact(&self) -> Vec<f64> {
        let dot = |x: &[f32], w: &[f32]| x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w)).sum();
        let columns = |x| self.w.chunks_exact(self.depth).map(move |w| dot(x, w));
        self.x.chunks_exact(self.depth).flat_map(columns).collect()
    }
}

/// Roughly normal values, with a mean that is not zero.
fn normal(count: usize, rng: &mut impl Rng) -> Vec<f32> {
    (0..count).map(|_| (0..6).map(|_| rng.random_range(-1.0f32..1.0)).sum::<f32>() * 0.7 + 0.1).collect()
}

#[test]
fn integer_sums_are_exact() {
    let mut rng = rng();
    let mut other = rng.fork();
    for shape in SHAPES {
        let product =
            Product::integers(shape, || rng.random_range(0..=127) as f32, || other.random_range(-127..=127) as f32);
        let expected: Vec<f32> = product.exact().iter().map(|&sum| sum as i32 as f32).collect();
        on_every_tier(|isa| {
            assert_eq!(product.on(isa, PLAIN), expected, "{isa} {shape:?}");
        });
    }
}

#[test]
fn extremes_do_not_saturate() {
    for [level, weight] in [[127.0, -127.0], [127.0, 127.0], [0.0, -127.0]] {
        for shape in [[11, 50, 1536], [3, 17, 20_000]] {
            let product = Product::integers(shape, || level, || weight);
            let expected: Vec<f32> = product.exact().iter().map(|&sum| sum as i32 as f32).collect();
            on_every_tier(|isa| {
                assert_eq!(product.on(isa, PLAIN), expected, "{isa} {shape:?} {level} x {weight}");
            });
        }
    }
}

#[test]
fn every_tier_computes_the_bits_of_the_scalar_tier() {
    let mut rng = rng();
    for shape in SHAPES {
        let product = Product::random(shape, &mut rng);
        let bias = normal(product.columns, &mut rng);
        let residual = normal(product.rows * product.columns, &mut rng);
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Identity, residual: Some(&residual) };
        let expected = product.on(Isa::Scalar, epilogue);
        on_every_tier(|isa| {
            assert_eq!(bits(&product.on(isa, epilogue)), bits(&expected), "{isa} {shape:?}");
        });
    }
}

#[test]
fn error_is_within_half_a_step_of_each_operand() {
    let mut rng = rng();
    for shape in SHAPES {
        let product = Product::random(shape, &mut rng);
        let exact = product.exact();
        on_every_tier(|isa| {
            let y = product.on(isa, PLAIN);
            for (i, (&got, &exact)) in y.iter().zip(&exact).enumerate() {
                let x = &product.x[i / product.columns * product.depth..][..product.depth];
                let w = &product.w[i % product.columns * product.depth..][..product.depth];
                assert_close(got, exact, error_bound(x, w), format_args!("{isa} {shape:?}"));
            }
        });
    }
}

/// `scale_w/2 * sum|x~| + scale_x/2 * sum|w|`, with `|x~| <= |x| + scale_x/2`, and a part in 10^5 for the f32 arithmetic.
fn error_bound(x: &[f32], w: &[f32]) -> f64 {
    let low = x.iter().copied().fold(0.0, f32::min);
    let high = x.iter().copied().fold(0.0, f32::max);
    let step_x = f64::from(high - low) / 127.0;
    let step_w = w.iter().map(|w| f64::from(w.abs())).fold(0.0, f64::max) / 127.0;
    let sum = |values: &[f32]| values.iter().map(|value| f64::from(value.abs())).sum::<f64>();
    let levels_x = sum(x) + x.len() as f64 * step_x / 2.0;
    (step_w / 2.0 * levels_x + step_x / 2.0 * sum(w)) * (1.0 + 1e-5)
}

#[test]
fn rows_of_zeros_give_the_epilogue_alone() {
    let mut rng = rng();
    let mut product = Product::random([4, 40, 100], &mut rng);
    product.x.fill(0.0);
    product.x[100..200].fill(1e-40); // too small for a normal step: read as zeros
    let bias = normal(40, &mut rng);
    let residual = normal(160, &mut rng);
    let epilogue = Epilogue { bias: Some(&bias), activation: Activation::Identity, residual: Some(&residual) };
    let expected: Vec<f32> = residual.iter().zip(bias.iter().cycle()).map(|(residual, bias)| bias + residual).collect();
    on_every_tier(|isa| {
        assert_eq!(product.on(isa, epilogue), expected, "{isa}");
    });
}

#[test]
fn rows_of_one_value_keep_it() {
    let mut rng = rng();
    for value in [0.3, -2.0, 1e30, -1e-30] {
        let mut product = Product::integers([2, 20, 300], || 1.0, || rng.random_range(-127..=127) as f32);
        product.x.fill(value);
        let exact = product.exact();
        on_every_tier(|isa| {
            for (got, exact) in product.on(isa, PLAIN).into_iter().zip(&exact) {
                // Scale, its inverse, and two products: each rounded once.
                assert_close(got, *exact, 6.0 * f64::from(f32::EPSILON) * exact.abs(), isa);
            }
        });
    }
}

#[test]
fn what_is_not_finite_shows_in_its_row_or_column_and_nowhere_else() {
    let mut rng = rng();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let good = Product::random([12, 50, 130], &mut rng);
        let mut bad_row = Product { x: good.x.clone(), w: good.w.clone(), ..good };
        bad_row.x[7 * 130 + 129] = bad;
        let mut bad_column = Product { x: good.x.clone(), w: good.w.clone(), ..good };
        bad_column.w[33 * 130 + 5] = bad;
        on_every_tier(|isa| {
            let expected = good.on(isa, PLAIN);
            let expect = |y: Vec<f32>, is_bad: fn(usize) -> bool| {
                for (i, (got, expected)) in y.iter().zip(&expected).enumerate() {
                    assert!(if is_bad(i) { got.is_nan() } else { got == expected }, "{isa} {bad} at {i}: {got}");
                }
            };
            expect(bad_row.on(isa, PLAIN), |i| i / 50 == 7);
            expect(bad_column.on(isa, PLAIN), |i| i % 50 == 33);
        });
    }
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    let mut rng = rng();
    let product = Product::random([75, 100, 200], &mut rng);
    let bias = normal(100, &mut rng);
    let residual = normal(7500, &mut rng);
    on_every_tier(|isa| {
        let epilogue = Epilogue { bias: Some(&bias), activation: Activation::GeluErf, residual: Some(&residual) };
        let together = product.on(isa, epilogue);
        for row in 0..product.rows {
            let x = product.x[row * 200..][..200].to_vec();
            let alone = Product { rows: 1, x, w: product.w.clone(), ..product };
            let y = alone.on(isa, Epilogue { residual: Some(&residual[row * 100..][..100]), ..epilogue });
            assert_eq!(bits(&y), bits(&together[row * 100..][..100]), "{isa} row {row}");
        }
    });
}

#[test]
fn requantised_rows_are_the_quantised_result() {
    let mut rng = rng();
    let up = Product::random([75, 130, 90], &mut rng);
    let down = normal(40 * 130, &mut rng);
    let bias = normal(130, &mut rng);
    let residual = normal(75 * 130, &mut rng);
    let epilogue = Epilogue { bias: Some(&bias), activation: Activation::GeluErf, residual: Some(&residual) };
    on_every_tier(|isa| {
        let (up_weights, down) = (PackedI8::pack(isa, &up.w, 130, 90), PackedI8::pack(isa, &down, 40, 130));
        let (mut x, mut middle, mut scratch) = (QuantisedRows::new(), QuantisedRows::new(), Scratch::default());
        x.quantise(isa, &up.x, 75, 90);
        let (mut expected, mut y) = (vec![0.0; 75 * 40], vec![0.0; 75 * 40]);
        middle.quantise(isa, &up.on(isa, epilogue), 75, 130);
        gemm_i8_rows(&down, &middle, PLAIN, &mut expected);
        gemm_i8_requantised(&up_weights, &x, epilogue, &mut middle, &mut scratch);
        gemm_i8_rows(&down, &middle, PLAIN, &mut y);
        assert_eq!(bits(&y), bits(&expected), "{isa}");
    });
}
