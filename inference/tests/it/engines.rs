//! The fused engine against candle, and a row against itself in other company.

use attune_inference::Precision;
use attune_inference::engine::{Engine, EngineError, FlatBatch};
use attune_kernels::Isa;

use crate::support::{MiniLm, cosine, run, sentences};

const PRECISIONS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Int8];

/// The lowest and the mean cosine that a precision may have against candle's f32.
fn bounds(precision: Precision) -> (f64, f64) {
    match precision {
        Precision::F32 | Precision::F16 => (0.999_99, 0.999_999),
        Precision::Bf16 => (0.995, 0.999),
        Precision::Int8 => (0.99, 0.998),
    }
}

#[test]
fn fused_rows_point_where_candles_do() {
    let model = MiniLm::read();
    let texts = model.ids(&sentences(90));
    let expected = run(&mut model.reference(), &texts);
    let fastest = *Isa::supported().last().unwrap();
    for precision in PRECISIONS {
        let found = run(&mut model.cpu(fastest, precision), &texts);
        let cosines: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| cosine(a, b)).collect();
        let lowest = cosines.iter().copied().fold(f64::INFINITY, f64::min);
        let mean = cosines.iter().sum::<f64>() / cosines.len() as f64;
        let (lowest_min, mean_min) = bounds(precision);
        println!("{precision} on {fastest}: {} texts, cosine mean {mean:.6}, worst {lowest:.6}", texts.len());
        assert!(lowest >= lowest_min && mean >= mean_min, "{precision}: mean {mean}, worst {lowest}");
    }
}

#[test]
fn a_row_is_bit_identical_in_any_company() {
    let model = MiniLm::read();
    let texts = model.ids(&sentences(900));
    let mut backwards = texts.clone();
    backwards.reverse();
    for isa in Isa::supported().into_iter().filter(|isa| *isa != Isa::Scalar) {
        for precision in PRECISIONS {
            let mut engine = model.cpu(isa, precision);
            let together = run(&mut engine, &texts);
            let mut reversed = run(&mut engine, &backwards);
            reversed.reverse();
            assert!(together == reversed, "{precision} on {isa}: the order of a batch changed a row");
            for (text, row) in texts.iter().zip(&together) {
                let alone = run(&mut engine, std::slice::from_ref(text));
                assert!(alone[0] == *row, "{precision} on {isa}: a row of {} tokens differs alone", text.len());
            }
        }
    }
}

#[test]
fn a_batch_outside_the_contract_is_refused() {
    let model = MiniLm::read();
    let mut engine = model.cpu(Isa::active().unwrap(), Precision::F32);
    let mut out = vec![0.0; 384];
    let mut refused = |tokens: &[u32], out: &mut [f32]| {
        let offsets = [0, tokens.len()];
        let batch = FlatBatch::new(tokens, &offsets).unwrap();
        matches!(engine.run(batch, &|| false, out), Err(EngineError::Batch(_)))
    };
    assert!(refused(&[101, 30522, 102], &mut out), "a token outside the vocabulary");
    assert!(refused(&[101; 513], &mut out), "more tokens than positions");
    assert!(refused(&[101; 9000], &mut out), "more tokens than the capacity");
    assert!(refused(&[101, 102], &mut out[1..]), "an output of another length");
    assert!(FlatBatch::new(&[101, 102], &[0, 1]).is_err() && FlatBatch::new(&[101], &[0, 0, 1]).is_err());
}

#[test]
fn a_batch_that_nobody_waits_for_stops() {
    let model = MiniLm::read();
    for mut engine in
        [Box::new(model.cpu(Isa::active().unwrap(), Precision::F32)) as Box<dyn Engine>, Box::new(model.reference())]
    {
        let batch = FlatBatch::new(&[101, 102], &[0, 2]).unwrap();
        assert!(matches!(engine.run(batch, &|| true, &mut vec![0.0; 384]), Err(EngineError::Stopped)));
    }
}
