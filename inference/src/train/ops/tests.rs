//! Each operation against candle's elementary ones (values) and against central differences (gradients).

use std::sync::Arc;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::math::exp_of_negative;
use super::*;

/// Half the distance between the two points of a difference.
const STEP: f32 = 1e-2;
/// The step's own error is of third order, about 1e-5 here; rounding of the loss adds about 1e-7 * |loss| / STEP.
const TOLERANCE: f32 = 2e-3;

fn random(shape: (usize, usize), seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| rng.random_range(-1.5f32..1.5)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn variable(shape: (usize, usize), seed: u64) -> Var {
    Var::from_tensor(&random(shape, seed)).unwrap()
}

/// A scalar that every element of `y` moves by its own weight.
fn weigh(y: &Tensor) -> Result<Tensor> {
    (y * random(y.dims2()?, 99))?.sum_all()
}

/// Compares the gradient of `weigh(f())` for every element of every variable with a central difference.
fn assert_gradients(variables: &[&Var], f: impl Fn() -> Result<Tensor>) {
    let loss = || weigh(&f().unwrap()).unwrap();
    let gradients = loss().backward().unwrap();
    for (which, variable) in variables.iter().enumerate() {
        let gradient = gradients.get(variable).expect("a gradient").flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let values = variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for at in 0..values.len() {
            let loss_at = |shift: f32| {
                let mut moved = values.clone();
                moved[at] += shift;
                variable.set(&Tensor::from_vec(moved, variable.shape(), &Device::Cpu).unwrap()).unwrap();
                loss().to_scalar::<f32>().unwrap()
            };
            let difference = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
            let bound = TOLERANCE * (1.0 + difference.abs());
            assert!(
                (difference - gradient[at]).abs() <= bound,
                "variable {which}, element {at}: difference {difference}, gradient {}",
                gradient[at]
            );
        }
        variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu).unwrap()).unwrap();
    }
}

fn assert_close(actual: &Tensor, expected: &Tensor, bound: f32) {
    let largest = (actual - expected).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    let largest = largest.to_scalar::<f32>().unwrap();
    assert!(largest <= bound, "off by {largest}, bound {bound}");
}

#[test]
fn the_exponential_is_within_two_units_in_the_last_place() {
    for step in 0..=100_000 {
        let x = -80.0 * step as f32 / 100_000.0;
        let expected = f64::from(x).exp();
        let error = (f64::from(exp_of_negative(x)) - expected).abs() / expected;
        assert!(error < 2.4e-7, "e^{x} is off by {error}");
    }
    assert_eq!(exp_of_negative(0.0), 1.0);
    assert!(exp_of_negative(f32::NEG_INFINITY) < 1e-37);
}

#[test]
fn gelu_is_candles_and_its_gradient_is_right() {
    let x = Tensor::arange_step(-9.0f32, 9.0, 0.01, &Device::Cpu).unwrap().reshape((1, ())).unwrap();
    // |x| times the error of the series for Phi, half of that for erf.
    assert_close(&gelu(&x).unwrap(), &x.gelu_erf().unwrap(), 9.0 * 1.0e-7);
    let x = variable((3, 7), 1);
    assert_gradients(&[&x], || gelu(&x));
}

#[test]
fn layer_norm_is_candles_and_its_gradient_is_right() {
    let width = 37;
    let (gamma, beta) = (random((1, width), 2), random((1, width), 3));
    let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into();
    let norm = Norm { gamma: values(&gamma), beta: values(&beta), epsilon: 1e-12 };
    let (x, residual) = (variable((4, width), 4), variable((4, width), 5));
    let composed = candle_nn::LayerNorm::new(gamma.flatten_all().unwrap(), beta.flatten_all().unwrap(), 1e-12);
    let expected = candle_nn::Module::forward(&composed, &(x.as_tensor() + residual.as_tensor()).unwrap()).unwrap();
    assert_close(&add_layer_norm(&x, &residual, &norm).unwrap(), &expected, 1e-5);
    assert_gradients(&[&x, &residual], || add_layer_norm(&x, &residual, &norm));
}

#[test]
fn lora_is_the_product_it_stands_for_and_its_gradients_are_right() {
    let (inputs, outputs, rank, scale) = (7, 5, 2, 0.5);
    let (weight, bias) = (random((outputs, inputs), 6), random((1, outputs), 7).flatten_all().unwrap());
    let (x, a, b) = (variable((4, inputs), 8), variable((rank, inputs), 9), variable((outputs, rank), 10));
    let run = || lora_linear(&x, &a, &b, &MergedLinear::new(&weight, &bias, &a, &b, scale)?);
    let aside = (x.matmul(&a.t().unwrap()).unwrap().matmul(&b.t().unwrap()).unwrap() * scale).unwrap();
    let expected = (x.matmul(&weight.t().unwrap()).unwrap() + aside).unwrap().broadcast_add(&bias).unwrap();
    assert_close(&run().unwrap(), &expected, 1e-5);
    assert_gradients(&[&x, &a, &b], run);
}

#[test]
fn attention_is_the_composed_one_text_by_text_and_its_gradients_are_right() {
    let (heads, width) = (2, 6);
    let offsets: Arc<[usize]> = [0, 3, 4, 9].into();
    let [q, k, v] = [11, 12, 13].map(|seed| variable((9, width), seed));
    let composed = |first: usize, tokens: usize| -> Result<Tensor> {
        let split = |x: &Var| x.narrow(0, first, tokens)?.reshape((tokens, heads, ()))?.transpose(0, 1)?.contiguous();
        let scores = (split(&q)?.matmul(&split(&k)?.t()?)? / (width as f64 / heads as f64).sqrt())?;
        let context = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&split(&v)?)?;
        context.transpose(0, 1)?.reshape((tokens, width))
    };
    let texts: Vec<_> = offsets.windows(2).map(|text| composed(text[0], text[1] - text[0]).unwrap()).collect();
    let run = || attention(&q, &k, &v, &offsets, heads);
    assert_close(&run().unwrap(), &Tensor::cat(&texts, 0).unwrap(), 1e-6);
    assert_gradients(&[&q, &k, &v], run);
}

#[test]
fn dropout_keeps_the_mean_drops_its_share_and_its_gradient_is_right() {
    let rng = || ChaCha8Rng::seed_from_u64(14);
    let ones = Tensor::ones((100, 100), DType::F32, &Device::Cpu).unwrap();
    let dropped = dropout(&ones, 0.25, &mut rng()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let zeros = dropped.iter().filter(|value| **value == 0.0).count() as f64;
    // Five deviations of a binomial count.
    assert!((zeros - 2500.0).abs() < 5.0 * (10_000.0f64 * 0.25 * 0.75).sqrt(), "{zeros}");
    assert!(dropped.iter().all(|value| *value == 0.0 || (value - 4.0 / 3.0).abs() < 1e-6));
    assert_close(&dropout(&ones, 0.0, &mut rng()).unwrap(), &ones, 0.0);
    let x = variable((3, 7), 15);
    assert_gradients(&[&x], || dropout(&x, 0.5, &mut rng()));
}

#[test]
fn shapes_that_do_not_fit_and_other_types_are_refused() {
    let (narrow, wide) = (random((2, 3), 1), random((2, 4), 2));
    let offsets: Arc<[usize]> = [0, 2].into();
    assert!(attention(&narrow, &wide, &wide, &offsets, 1).is_err());
    assert!(attention(&wide, &wide, &wide, &offsets, 3).is_err());
    assert!(attention(&wide, &wide, &wide, &Arc::from([0, 1]), 2).is_err());
    let norm = Norm { gamma: [1.0; 3].into(), beta: [0.0; 3].into(), epsilon: 1e-12 };
    assert!(add_layer_norm(&narrow, &wide, &norm).is_err());
    assert!(add_layer_norm(&wide, &wide, &norm).is_err());
    assert!(gelu(&wide.t().unwrap()).is_err(), "not contiguous");
    assert!(gelu(&wide.to_dtype(DType::F64).unwrap()).is_err());
}
