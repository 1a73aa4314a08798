//! Every kernel against its scalar specification, on a card or on the emulation: the same checks, so that a card answers
//! what the tests answered before. Inputs are random from a seed; outputs are poisoned before each run.
//!
//! A bound is made of what must round: the sums (each addition by 2^-22, since tensor cores cut where others round), the
//! function behind them, and the one rounding of what is stored.

mod inputs;
mod topk;

use std::time::Duration;

use self::inputs::Random;
use super::launch::{AttentionSize, NormWeights, PoolKind, Projection};
use super::memory::Element;
use super::{BatchPlan, Bucket, Buffer, CudaError, Device, HEAD_WIDTHS, Recording, Stream, StreamSize};
use crate::cpu::attention::{AttentionShape, attention};
use crate::cpu::layers::{gelu_erf, layer_norm};
use crate::cpu::pool::{inner_products, l2_normalize, pool_first, pool_last, pool_mean};
use crate::{Isa, Scratch};

/// How long a check may take on a card, under a sanitizer too.
const LIMIT: Duration = Duration::from_secs(100);
/// By how much an addition on the device may be off.
const SUM_ROUNDOFF: f64 = 1.0 / (1 << 22) as f64;
/// Lengths of texts around the edges of tiles: 16 queries of a warp, 64 of a block, 64 keys.
const LENGTHS: [usize; 14] = [1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 100, 128, 129, 200];

/// How one kernel did in one case.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The kernel.
    pub kernel: &'static str,
    /// Its sizes.
    pub case: String,
    /// The largest error, as a part of what is allowed: up to 1 passes, NaN does not.
    pub error: f64,
}

impl Finding {
    /// Whether every value was within its bound.
    pub fn passed(&self) -> bool {
        self.error <= 1.0
    }
}

/// Runs all checks with inputs from `seed`.
///
/// # Errors
/// [`CudaError`] when the device failed: that is worse than a wrong value.
pub fn all(device: &Device, seed: u64) -> Result<Vec<Finding>, CudaError> {
    let checks = [norms, projections, products_with_norms, attentions, company, recordings, pools];
    let mut bench = Bench { device, random: Random(seed) };
    let mut findings = Vec::new();
    for check in checks {
        findings.extend(check(&mut bench)?);
    }
    findings.extend(topk::checks(device, &mut bench.random)?);
    Ok(findings)
}

/// A device and random numbers.
struct Bench<'a> {
    device: &'a Device,
    random: Random,
}

/// Texts on the device.
struct Texts {
    stream: Stream,
    tokens: Vec<u32>,
    offsets: Vec<usize>,
}

const VOCABULARY: usize = 50;
const POSITIONS: usize = 256;

impl Bench<'_> {
    /// A stream with texts of these lengths.
    fn texts(&mut self, lengths: &[usize]) -> Result<Texts, CudaError> {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets.last().expect("one is there") + length));
        let tokens: Vec<u32> =
            (0..*offsets.last().expect("one is there")).map(|_| self.random.below(VOCABULARY as u32)).collect();
        let size = StreamSize { tokens: tokens.len(), download_bytes: tokens.len() * 4096 * 4, upload_bytes: 0 };
        let mut stream = self.device.stream(size)?;
        let mut plan = BatchPlan::default();
        plan.lay_out(&tokens, &offsets, VOCABULARY, POSITIONS, None).expect("made to fit");
        stream.begin(&plan, LIMIT)?;
        Ok(Texts { stream, tokens, offsets })
    }

    /// Random values that the device's arithmetic has, and the same on the device.
    fn elements(&mut self, count: usize, scale: f32) -> Result<(Vec<f32>, Buffer<Element>), CudaError> {
        let values: Vec<f32> = self.random.values(count, scale).iter().map(|&value| self.rounded(value)).collect();
        let buffer = self.device.elements(&values)?;
        Ok((values, buffer))
    }

    fn floats(&mut self, count: usize, scale: f32) -> Result<(Vec<f32>, Buffer<f32>), CudaError> {
        let values = self.random.values(count, scale);
        let buffer = self.device.floats(&values)?;
        Ok((values, buffer))
    }

    fn rounded(&self, value: f32) -> f32 {
        match self.device.arithmetic() {
            super::Arithmetic::F32 => value,
            super::Arithmetic::Bf16 => half::bf16::from_f32(value).to_f32(),
            super::Arithmetic::F16 => half::f16::from_f32(value).to_f32(),
        }
    }

    fn poisoned(&self, count: usize) -> Result<Buffer<Element>, CudaError> {
        self.device.elements(&vec![f32::NAN; count])
    }

    /// How far a stored value may be from the exact one: by its own rounding, and by where it came from.
    fn stored(&self, exact: f64, computed_error: f64) -> f64 {
        let smallest = f64::from(f32::MIN_POSITIVE).max(match self.device.arithmetic() {
            super::Arithmetic::F16 => f64::powi(2.0, -25),
            _ => 0.0,
        });
        self.device.arithmetic().unit_roundoff() * exact.abs() * 1.01 + computed_error + smallest
    }
}

/// The largest error of `got`, as a part of its bound.
fn worst(got: &[f32], expected: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let mut largest = 0.0_f64;
    let mut count = 0;
    for (&got, (expected, bound)) in got.iter().zip(expected) {
        let part = (f64::from(got) - expected).abs() / bound;
        // A NaN stays: `max` would lose it.
        largest = if part.is_nan() || largest.is_nan() { f64::NAN } else { largest.max(part) };
        count += 1;
    }
    if count == got.len() { largest } else { f64::NAN }
}

/// How many values have other bits than those they should be.
fn differing(got: &[f32], expected: &[f32]) -> usize {
    got.iter().zip(expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count()
}

/// Rows of mean 0 and variance 1: what was rounded before, times gamma, and the sums of the width.
fn norm_bound(bench: &Bench<'_>, hidden: usize, expected: f32, gamma: f32, beta: f32) -> f64 {
    let row = f64::from(gamma.abs()) * (hidden as f64).sqrt().min(8.0) + f64::from(beta.abs());
    bench.stored(f64::from(expected), (hidden as f64).sqrt() * 8.0 * SUM_ROUNDOFF * row)
}

fn norms(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let mut findings = Vec::new();
    for hidden in [32, 64, 384, 768, 1024] {
        let mut texts = bench.texts(&[1, 7, 12, 3])?;
        let rows = texts.tokens.len();
        let (table, table_there) = bench.elements(VOCABULARY * hidden, 2.0)?;
        let (positions, positions_there) = bench.elements(POSITIONS * hidden, 1.0)?;
        let (gamma, gamma_there) = bench.floats(hidden, 2.0)?;
        let (beta, beta_there) = bench.floats(hidden, 0.5)?;
        let norm = NormWeights { gamma: gamma_there, beta: beta_there, epsilon: 1e-12 };
        let mut states = bench.poisoned(rows * hidden)?;

        texts.stream.embed_norm(&table_there, &positions_there, &norm, &mut states)?;
        let got = texts.stream.finish_elements(&states, rows * hidden, LIMIT)?;
        let places = texts.offsets.windows(2).flat_map(|text| 0..text[1] - text[0]);
        let mut expected: Vec<f32> = (texts.tokens.iter().zip(places))
            .flat_map(|(&token, place)| {
                let token = &table[token as usize * hidden..][..hidden];
                token.iter().zip(&positions[place * hidden..]).map(|(a, b)| a + b).collect::<Vec<_>>()
            })
            .collect();
        layer_norm(Isa::Scalar, &mut expected, &gamma, &beta, 1e-12);
        let bounds = |expected: &[f32]| -> Vec<(f64, f64)> {
            let columns = gamma.iter().zip(&beta).cycle();
            let bound =
                |(&y, (&gamma, &beta)): (&f32, (&f32, &f32))| (f64::from(y), norm_bound(bench, hidden, y, gamma, beta));
            expected.iter().zip(columns).map(bound).collect()
        };
        let case = format!("{rows} x {hidden}");
        findings.push(Finding { kernel: "embed_norm", case: case.clone(), error: worst(&got, bounds(&expected)) });

        let (x, x_there) = (got.clone(), bench.device.elements(&expected)?);
        let mut sum: Vec<f32> = expected.iter().zip(&x).map(|(&there, &state)| bench.rounded(there) + state).collect();
        layer_norm(Isa::Scalar, &mut sum, &gamma, &beta, 1e-12);
        texts.stream.residual_norm(&x_there, &norm, &mut states)?;
        let got = texts.stream.finish_elements(&states, rows * hidden, LIMIT)?;
        findings.push(Finding { kernel: "residual_norm", case, error: worst(&got, bounds(&sum)) });
    }
    Ok(findings)
}

fn projections(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let sizes = [
        (1, 8, 8, false),
        (3, 32, 32, true),
        (63, 96, 64, false),
        (64, 64, 40, true),
        (65, 72, 384, true),
        (129, 136, 104, true),
        (200, 384, 128, false),
        (300, 256, 96, true),
        (300, 384, 384, true),
    ];
    let mut findings = Vec::new();
    for (rows, outputs, inputs, gelu) in sizes {
        let mut texts = bench.texts(&vec![1; rows])?;
        let (x, x_there) = bench.elements(rows * inputs, 1.0)?;
        let (w, weights) = bench.elements(outputs * inputs, 1.0)?;
        let (bias_here, bias) = bench.floats(outputs, 1.0)?;
        let projection = Projection { weights, bias, gelu };
        let expected = (0..rows * outputs).map(|place| {
            let (row, output) = (place / outputs, place % outputs);
            let products = || {
                x[row * inputs..][..inputs]
                    .iter()
                    .zip(&w[output * inputs..])
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
            };
            let exact = products().sum::<f64>() + f64::from(bias_here[output]);
            let size = products().map(f64::abs).sum::<f64>() + f64::from(bias_here[output].abs());
            let error = (inputs + 2) as f64 * SUM_ROUNDOFF * size;
            if !gelu {
                return (exact, bench.stored(exact, error));
            }
            let mut value = [exact as f32];
            gelu_erf(Isa::Scalar, &mut value);
            // The slope of the GELU is at most 1.13; its approximation is off by 1e-6 of the argument, or by 4e-5 where the
            // result is rounded to 16 bits.
            let approximation = match bench.device.arithmetic() {
                super::Arithmetic::F32 => 1e-6 * exact.abs(),
                _ => 4e-5,
            };
            (f64::from(value[0]), bench.stored(f64::from(value[0]), 1.13 * error + approximation))
        });
        let expected = expected.collect::<Vec<_>>();
        // Hopper's products may add in another order than those before it, but a device uses one kind alone.
        let mut firsts = [None, None];
        for tiling in bench.device.tilings().iter().filter(|tiling| tiling.takes(outputs, inputs)) {
            let mut y = bench.poisoned(rows * outputs)?;
            texts.stream.project_by(*tiling, &projection, &x_there, &mut y)?;
            let got = texts.stream.finish_elements(&y, rows * outputs, LIMIT)?;
            let first: &mut Option<Vec<f32>> = &mut firsts[usize::from(tiling.is_hopper())];
            let same_bits = first.get_or_insert_with(|| got.clone()) == &got;
            let case = format!("{rows} x {inputs} -> {outputs}, gelu {gelu}, {tiling:?}, same bits {same_bits}");
            let error = worst(&got, expected.iter().copied()) + if same_bits { 0.0 } else { 2.0 };
            findings.push(Finding { kernel: "project", case, error });
        }
    }
    Ok(findings)
}

/// A product, the residual and the norm in one call against the same in two. The error is the number of values that differ.
fn products_with_norms(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let mut findings = Vec::new();
    for (rows, hidden, inputs) in [(1, 384, 384), (300, 384, 200), (385, 384, 520), (300, 64, 256)] {
        let mut texts = bench.texts(&vec![1; rows])?;
        let (_, x) = bench.elements(rows * inputs, 1.0)?;
        let (_, weights) = bench.elements(hidden * inputs, 1.0)?;
        let (_, bias) = bench.floats(hidden, 1.0)?;
        let (residual, mut states) = bench.elements(rows * hidden, 1.0)?;
        let norm =
            NormWeights { gamma: bench.floats(hidden, 2.0)?.1, beta: bench.floats(hidden, 0.5)?.1, epsilon: 1e-12 };
        let projection = Projection { weights, bias, gelu: false };
        let (mut change, mut expected) = (bench.poisoned(rows * hidden)?, bench.device.elements(&residual)?);
        let tilings = bench.device.tilings();
        let tiling = tilings.iter().find(|tiling| tiling.is_hopper()).unwrap_or(&tilings[0]);
        texts.stream.project_by(*tiling, &projection, &x, &mut change)?;
        texts.stream.residual_norm(&change, &norm, &mut expected)?;
        let expected = texts.stream.finish_elements(&expected, rows * hidden, LIMIT)?;
        texts.stream.project_norm(&projection, &x, &norm, &mut change, &mut states)?;
        let got = texts.stream.finish_elements(&states, rows * hidden, LIMIT)?;
        findings.push(Finding {
            kernel: "project_norm",
            case: format!("{rows} x {inputs} -> {hidden}"),
            error: differing(&got, &expected) as f64 * 2.0,
        });
    }
    Ok(findings)
}

fn attentions(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let mut findings = Vec::new();
    for head_width in HEAD_WIDTHS {
        let (heads, scale) = (2, 1.0 / (head_width as f32).sqrt());
        let hidden = heads * head_width;
        let mut texts = bench.texts(&LENGTHS)?;
        let rows = texts.tokens.len();
        let (qkv, qkv_there) = bench.elements(rows * 3 * hidden, 3.0)?;
        let mut out = bench.poisoned(rows * hidden)?;
        texts.stream.attention(AttentionSize { heads, head_width, scale }, &qkv_there, &mut out)?;
        let got = texts.stream.finish_elements(&out, rows * hidden, LIMIT)?;
        let mut expected = vec![0.0; rows * hidden];
        let shape = AttentionShape { heads, head_width, scale };
        attention(Isa::Scalar, shape, &qkv, &texts.offsets, &mut expected, &mut Scratch::default());
        // Weights are at most 1 in sum: each is rounded once, and is off by what its score is off, like the highest score.
        // A score is a sum of head_width products with a spread of 3, so hardly past 12 sqrt(head_width) at any time, times
        // the scale; 2^x is good to 2 units of f32.
        let score = (head_width + 2) as f64 * SUM_ROUNDOFF * 12.0 * (head_width as f64).sqrt() * f64::from(scale);
        let weight = bench.device.arithmetic().unit_roundoff() * 2.0 + 4.0 * score + 220.0 * SUM_ROUNDOFF;
        let bounds = expected.iter().map(|&y| (f64::from(y), bench.stored(f64::from(y), weight * 3.0)));
        let error = worst(&got, bounds);
        findings.push(Finding {
            kernel: "attention",
            case: format!("head of {head_width}, {} texts", LENGTHS.len()),
            error,
        });
    }
    Ok(findings)
}

/// A text has the same bits alone as among others. The error is the number of values that differ.
fn company(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let (hidden, lengths) = (64, [70, 3, 129, 64, 1]);
    let size = AttentionSize { heads: 2, head_width: 32, scale: 0.17 };
    let mut together = bench.texts(&lengths)?;
    let rows = together.tokens.len();
    let (x, x_there) = bench.elements(rows * hidden, 1.0)?;
    let (_, weights) = bench.elements(3 * hidden * hidden, 0.5)?;
    let (_, bias) = bench.floats(3 * hidden, 0.5)?;
    let projection = Projection { weights, bias, gelu: false };
    let run = |texts: &mut Texts, x: &Buffer<Element>| -> Result<Vec<f32>, CudaError> {
        let rows = texts.tokens.len();
        let (mut qkv, mut out) = (bench.poisoned(rows * 3 * hidden)?, bench.poisoned(rows * hidden)?);
        texts.stream.project(&projection, x, &mut qkv)?;
        texts.stream.attention(size, &qkv, &mut out)?;
        texts.stream.finish_elements(&out, rows * hidden, LIMIT)
    };
    let all = run(&mut together, &x_there)?;
    let mut differ = 0;
    for text in together.offsets.windows(2) {
        let mut alone = Bench { device: bench.device, random: Random(1) }.texts(&[text[1] - text[0]])?;
        let range = text[0] * hidden..text[1] * hidden;
        let got = run(&mut alone, &bench.device.elements(&x[range.clone()])?)?;
        differ += differing(&got, &all[range]);
    }
    Ok(vec![Finding { kernel: "company", case: format!("texts of {lengths:?}"), error: differ as f64 * 2.0 }])
}

/// A little of a forward pass.
struct Little {
    table: Buffer<Element>,
    positions: Buffer<Element>,
    norm: NormWeights,
    projection: Projection,
    states: Buffer<Element>,
    wide: Buffer<Element>,
    gathered: Buffer<Element>,
    pooled: Buffer<f32>,
}

impl Little {
    const HIDDEN: usize = 64;
    const TOKENS: usize = 128;

    fn new(bench: &mut Bench<'_>) -> Result<Self, CudaError> {
        let (hidden, tokens) = (Self::HIDDEN, Self::TOKENS);
        let weights = bench.elements(3 * hidden * hidden, 0.5)?.1;
        Ok(Self {
            table: bench.elements(VOCABULARY * hidden, 2.0)?.1,
            positions: bench.elements(POSITIONS * hidden, 1.0)?.1,
            norm: NormWeights {
                gamma: bench.floats(hidden, 2.0)?.1,
                beta: bench.floats(hidden, 0.5)?.1,
                epsilon: 1e-12,
            },
            projection: Projection { weights, bias: bench.floats(3 * hidden, 0.5)?.1, gelu: true },
            states: bench.poisoned(tokens * hidden)?,
            wide: bench.poisoned(tokens * 3 * hidden)?,
            gathered: bench.poisoned(tokens * hidden)?,
            pooled: bench.device.floats(&vec![f32::NAN; tokens * hidden])?,
        })
    }

    fn queue(&mut self, stream: &mut Stream) -> Result<(), CudaError> {
        stream.embed_norm(&self.table, &self.positions, &self.norm, &mut self.states)?;
        stream.project(&self.projection, &self.states, &mut self.wide)?;
        stream.attention(AttentionSize { heads: 2, head_width: 32, scale: 0.17 }, &self.wide, &mut self.gathered)?;
        stream.pool(PoolKind::Mean, None, Self::HIDDEN, &self.gathered, &mut self.pooled)
    }
}

/// Launches that were written down for one batch, queued for others of its bucket. The error is the number of values that
/// differ from those of launches one after the other.
fn recordings(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let mut little = Little::new(bench)?;
    let download_bytes = 4 * Little::HIDDEN * 4;
    let size = StreamSize { tokens: Little::TOKENS, download_bytes, ..StreamSize::default() };
    let (mut recorded, mut plan, mut recording) = (bench.device.stream(size)?, BatchPlan::default(), None);
    let mut findings = Vec::new();
    for lengths in [&[70, 3, 30][..], &[1, 80, 29, 1], &[65, 31, 2, 10]] {
        let mut texts = bench.texts(lengths)?;
        let mut expected = vec![0.0; lengths.len() * Little::HIDDEN];
        little.queue(&mut texts.stream)?;
        texts.stream.finish_into(&little.pooled, &mut expected, LIMIT)?;
        // Something else is there now, so that a replay that does nothing shows.
        let mut other = bench.texts(&[7; 4])?;
        little.queue(&mut other.stream)?;
        other.stream.finish(LIMIT)?;

        let bucket = Bucket::of(texts.tokens.len(), lengths.len(), Little::TOKENS);
        plan.lay_out(&texts.tokens, &texts.offsets, VOCABULARY, POSITIONS, bucket).expect("made to fit");
        recorded.begin(&plan, LIMIT)?;
        let recording: &Recording = match &mut recording {
            Some(recording) => recording,
            none => none.insert(recorded.record(|stream| little.queue(stream))?),
        };
        recorded.replay(recording)?;
        let mut got = vec![f32::NAN; expected.len()];
        recorded.finish_into(&little.pooled, &mut got, LIMIT)?;
        findings.push(Finding {
            kernel: "recording",
            case: format!("texts of {lengths:?}"),
            error: differing(&got, &expected) as f64 * 2.0,
        });
    }
    Ok(findings)
}

fn pools(bench: &mut Bench<'_>) -> Result<Vec<Finding>, CudaError> {
    let (hidden, labels) = (384, 6);
    let mut findings = Vec::new();
    for (kind, normalise) in
        [(PoolKind::Mean, false), (PoolKind::Mean, true), (PoolKind::First, true), (PoolKind::Last, false)]
    {
        let mut texts = bench.texts(&[5, 1, 33, 130])?;
        let (rows, count) = (texts.tokens.len(), texts.offsets.len() - 1);
        let (states, states_there) = bench.elements(rows * hidden, 1.0)?;
        let mut out = bench.device.floats(&vec![f32::NAN; count * hidden])?;
        texts.stream.pool(kind, normalise.then_some(1e-12), hidden, &states_there, &mut out)?;
        let mut got = vec![0.0; count * hidden];
        texts.stream.finish_into(&out, &mut got, LIMIT)?;
        let mut expected = vec![0.0; count * hidden];
        match kind {
            PoolKind::Mean => pool_mean(Isa::Scalar, &states, &texts.offsets, hidden, &mut expected),
            PoolKind::First => pool_first(&states, &texts.offsets, hidden, &mut expected),
            PoolKind::Last => pool_last(&states, &texts.offsets, hidden, &mut expected),
        }
        if normalise {
            l2_normalize(Isa::Scalar, &mut expected, hidden);
        }
        // Means of at most 130 values below 1.
        let error = worst(&got, expected.iter().map(|&y| (f64::from(y), 132.0 * SUM_ROUNDOFF)));
        findings.push(Finding { kernel: "pool", case: format!("{kind:?}, normalised {normalise}"), error });

        let (w, weights) = bench.floats(labels * hidden, 1.0)?;
        let (bias_here, bias) = bench.floats(labels, 1.0)?;
        let mut logits = bench.device.floats(&vec![f32::NAN; count * labels])?;
        texts.stream.head(&weights, &bias, &out, &mut logits)?;
        let mut found = vec![0.0; count * labels];
        texts.stream.finish_into(&logits, &mut found, LIMIT)?;
        let mut expected = vec![0.0; count * labels];
        for (row, logits) in got.chunks_exact(hidden).zip(expected.chunks_exact_mut(labels)) {
            inner_products(Isa::Scalar, row, &w, logits);
            logits.iter_mut().zip(&bias_here).for_each(|(logit, bias)| *logit += bias);
        }
        let bound = (hidden + 2) as f64 * SUM_ROUNDOFF * hidden as f64;
        let error = worst(&found, expected.iter().map(|&y| (f64::from(y), bound)));
        findings.push(Finding { kernel: "head", case: format!("{labels} labels of {hidden}"), error });
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::super::{Arithmetic, ThreadOrder};
    use super::*;

    /// The device that tests run on; `None` where there is no C++ compiler, and says so.
    fn emulated(arithmetic: Arithmetic, order: ThreadOrder) -> Option<Device> {
        match Device::emulated(arithmetic, order) {
            Ok(device) => Some(device),
            Err(error) => {
                eprintln!("SKIPPED: {error}");
                assert!(std::env::var_os("ATTUNE_NEEDS_NVRTC").is_none(), "{error}");
                None
            }
        }
    }

    fn check(arithmetic: Arithmetic) {
        let seed = std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_nanos() as u64);
        eprintln!("seed {seed}");
        for order in ThreadOrder::ALL {
            let Some(device) = emulated(arithmetic, order) else { return };
            for finding in all(&device, seed).unwrap() {
                eprintln!("{arithmetic} {:13} {:40} {:.3}", finding.kernel, finding.case, finding.error);
                assert!(finding.passed(), "{order:?} {arithmetic}: {finding:?}");
            }
        }
    }

    #[test]
    fn kernels_do_in_f32_what_the_specification_says() {
        check(Arithmetic::F32);
    }

    #[test]
    fn kernels_do_in_bf16_what_the_specification_says() {
        check(Arithmetic::Bf16);
    }

    #[test]
    fn kernels_do_in_f16_what_the_specification_says() {
        check(Arithmetic::F16);
    }

    #[test]
    fn a_value_that_was_never_written_is_found() {
        assert!(worst(&[f32::NAN, 0.0], [(0.0, 1.0); 2]).is_nan());
        assert!(worst(&[0.0], [(0.0, 1.0); 0]).is_nan());
        assert_eq!(worst(&[1.0, 3.0], [(1.0, 1.0), (1.0, 4.0)]), 0.5);
    }
}
