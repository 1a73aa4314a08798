//! f32 products: every tier against f64, with the bound of summation in f32. Two tiers within the bound of the exact result
//! are within twice the bound of each other, so this holds the fast tiers to the scalar one, too.

use crate::support::{
    PARITY_LENS, UNIT, assert_close, bits, gelu, on_every_tier, rng, same_bits_on_vector_tiers, sum_bound, uniform,
};
use attune_kernels::{Activation, Epilogue, Isa, PackedF32, Scratch, gemm_f32};

const PLAIN: Epilogue<'static> = Epilogue { bias: None, activation: Activation::Identity, residual: None };

struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    x: Vec<f32>,
    w: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
}

impl Product {
    fn random([rows, columns, depth]: [usize; 3]) -> Self {
        let mut rng = rng();
        let mut random = |count| uniform(count, 1.0, &mut rng);
        let (x, w) = (random(rows * depth), random(columns * depth));
        Product { rows, columns, depth, x, w, bias: random(columns), residual: random(rows * columns) }
    }

    fn epilogue(&self, activation: Activation) -> Epilogue<'_> {
        Epilogue { bias: Some(&self.bias), activation, residual: Some(&self.residual) }
    }

    fn on(&self, isa: Isa, epilogue: Epilogue<'_>) -> Vec<f32> {
        let w = PackedF32::pack(isa, &self.w, self.columns, self.depth);
        let mut y = vec![f32::NAN; self.rows * self.columns];
        gemm_f32(&w, &self.x, self.rows, epilogue, &mut y, &mut Scratch::new());
        y
    }

    /// One row by itself.
    fn row(&self, row: usize) -> Self {
        Product {
            rows: 1,
            columns: self.columns,
            depth: self.depth,
            x: self.x[row * self.depth..][..self.depth].to_vec(),
            w: self.w.clone(),
            bias: self.bias.clone(),
            residual: self.residual[row * self.columns..][..self.columns].to_vec(),
        }
    }

    fn check(&self, isa: Isa) {
        let plain = self.on(isa, PLAIN);
        let with_bias = self.on(isa, self.epilogue(Activation::Identity));
        let with_gelu = self.on(isa, self.epilogue(Activation::GeluErf));
        for (i, plain) in plain.into_iter().enumerate() {
            let terms = self.x[i / self.columns * self.depth..].iter().zip(&self.w[i % self.columns * self.depth..]);
            let terms = terms.take(self.depth).map(|(&x, &w)| f64::from(x) * f64::from(w));
            let (exact, magnitudes) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            let bound = sum_bound(self.depth, magnitudes);
            let context = format!("{isa}, {} x {} x {}, value {i}", self.rows, self.columns, self.depth);
            assert_close(plain, exact, bound, &context);

            let (bias, residual) = (f64::from(self.bias[i % self.columns]), f64::from(self.residual[i]));
            let sum = exact + bias;
            let bound = bound + UNIT * (exact.abs() + bias.abs() + residual.abs() + 1.0) * 2.0;
            assert_close(with_bias[i], sum + residual, bound, &context);
            // The slope of GELU is at most 1.13.
            assert_close(with_gelu[i], gelu(sum) + residual, 1.13 * bound + 2.5e-7 * sum.abs(), &context);
        }
    }
}

#[test]
fn error_is_that_of_a_sum_in_f32_at_every_odd_length() {
    on_every_tier(|isa| {
        for (i, length) in PARITY_LENS.into_iter().enumerate() {
            let other = |step: usize| PARITY_LENS[(i + step) % 13];
            Product::random([length.min(63), other(5), other(9)]).check(isa);
            Product::random([other(3), length, other(7)]).check(isa);
            Product::random([other(4), other(8), length]).check(isa);
        }
    });
}

#[test]
fn error_is_that_of_a_sum_in_f32_at_sizes_of_real_models() {
    on_every_tier(|isa| {
        for shape in [[30, 384, 384], [26, 96, 1536], [7, 64, 1024], [26, 40, 4096]] {
            Product::random(shape).check(isa);
        }
    });
}

#[test]
fn a_row_does_not_depend_on_its_company() {
    on_every_tier(|isa| {
        for shape in [[75, 100, 200], [53, 33, 1024]] {
            let product = Product::random(shape);
            let together = product.on(isa, product.epilogue(Activation::GeluErf));
            for (row, together) in together.chunks_exact(product.columns).enumerate() {
                let alone = product.row(row);
                assert_eq!(
                    bits(&alone.on(isa, alone.epilogue(Activation::GeluErf))),
                    bits(together),
                    "{isa} row {row}"
                );
            }
        }
    });
}

#[test]
fn vector_tiers_agree_to_the_bit() {
    for shape in [[75, 100, 200], [13, 17, 33], [53, 33, 1024]] {
        let product = Product::random(shape);
        same_bits_on_vector_tiers(|isa| product.on(isa, product.epilogue(Activation::GeluErf)));
    }
}

#[test]
fn what_is_not_finite_shows_in_its_row_and_nowhere_else() {
    on_every_tier(|isa| {
        for bad in [f32::NAN, f32::INFINITY] {
            let mut product = Product::random([29, 50, 130]);
            let expected = product.on(isa, PLAIN);
            product.x[7 * 130 + 129] = bad;
            for (i, (got, expected)) in product.on(isa, PLAIN).into_iter().zip(expected).enumerate() {
                let is_right = if i / 50 == 7 { !got.is_finite() } else { got.to_bits() == expected.to_bits() };
                assert!(is_right, "{isa} {bad} at {i}: {got}");
            }
        }
    });
}

#[test]
fn a_product_without_rows_columns_or_depth() {
    on_every_tier(|isa| {
        assert!(Product::random([0, 5, 7]).on(isa, PLAIN).is_empty());
        assert!(Product::random([5, 0, 7]).on(isa, PLAIN).is_empty());
        let product = Product::random([5, 7, 0]);
        assert_eq!(product.on(isa, PLAIN), vec![0.0; 35], "{isa}");
    });
}

#[test]
#[should_panic(expected = "x must be rows x in_features")]
fn lengths_that_contradict_are_refused() {
    let w = PackedF32::pack(Isa::Scalar, &[1.0; 6], 2, 3);
    gemm_f32(&w, &[1.0; 5], 2, PLAIN, &mut [0.0; 4], &mut Scratch::new());
}
