//! Pooling, normalisation and inner products: every tier against f64.

use crate::support::{
    PARITY_LENS, UNIT, assert_close, bits, offsets, on_every_tier, rng, same_bits_on_vector_tiers, sum_bound, uniform,
};
use attune_kernels::{add_rows, inner_products, l2_normalize, pool_first, pool_last, pool_mean};

const LENGTHS: [usize; 6] = [1, 2, 7, 25, 64, 130];

#[test]
fn means_of_texts() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for width in PARITY_LENS {
            let offsets = offsets(&LENGTHS);
            let x = uniform(offsets[LENGTHS.len()] * width, 1.0, &mut rng);
            let mut out = vec![f32::NAN; LENGTHS.len() * width];
            pool_mean(isa, &x, &offsets, width, &mut out);
            for (i, &got) in out.iter().enumerate() {
                let text = offsets[i / width]..offsets[i / width + 1];
                let count = text.len();
                let values = text.map(|token| f64::from(x[token * width + i % width]));
                let exact = values.clone().sum::<f64>() / count as f64;
                let bound = sum_bound(count + 2, values.map(f64::abs).sum()) / count as f64;
                assert_close(got, exact, bound, format!("{isa} width {width}, {count} tokens"));
            }
        }
    });
}

#[test]
fn a_mean_does_not_depend_on_its_company() {
    let mut rng = rng();
    let (offsets, width) = (offsets(&LENGTHS), 33);
    let x = uniform(offsets[LENGTHS.len()] * width, 1.0, &mut rng);
    on_every_tier(|isa| {
        let mut together = vec![0.0; LENGTHS.len() * width];
        pool_mean(isa, &x, &offsets, width, &mut together);
        for (text, together) in offsets.windows(2).zip(together.chunks_exact(width)) {
            let mut alone = vec![0.0; width];
            pool_mean(isa, &x[text[0] * width..text[1] * width], &[0, text[1] - text[0]], width, &mut alone);
            assert_eq!(bits(&alone), bits(together), "{isa}");
        }
    });
}

#[test]
fn first_and_last_rows_of_texts() {
    let x: Vec<f32> = (0..12u8).map(f32::from).collect();
    let mut out = [0.0; 4];
    pool_first(&x, &[0, 1, 6], 2, &mut out);
    assert_eq!(out, [0.0, 1.0, 2.0, 3.0]);
    pool_last(&x, &[0, 1, 6], 2, &mut out);
    assert_eq!(out, [0.0, 1.0, 10.0, 11.0]);
}

#[test]
#[should_panic(expected = "every text has a token")]
fn a_text_without_tokens_has_no_mean() {
    pool_first(&[1.0, 2.0], &[0, 0, 1], 2, &mut [0.0; 4]);
}

#[test]
fn rows_of_length_one() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for width in PARITY_LENS {
            let x = uniform(3 * width, 5.0, &mut rng);
            let mut y = x.clone();
            l2_normalize(isa, &mut y, width);
            for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(width)) {
                let length = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
                for (&x, &y) in x.iter().zip(y) {
                    let exact = f64::from(x) / length;
                    assert_close(
                        y,
                        exact,
                        exact.abs() * UNIT * (width as f64 / 2.0 + 5.0),
                        format!("{isa} width {width}"),
                    );
                }
            }
        }
        let mut zeros = [0.0; 7];
        l2_normalize(isa, &mut zeros, 7);
        assert_eq!(zeros, [0.0; 7], "{isa}");
        let mut spoiled = [1.0, f32::NAN, 3.0];
        l2_normalize(isa, &mut spoiled, 3);
        assert!(spoiled.iter().all(|x| x.is_nan()), "{isa}: {spoiled:?}");
    });
}

#[test]
fn products_with_one_row() {
    let mut rng = rng();
    on_every_tier(|isa| {
        for width in PARITY_LENS {
            let (query, mut rows) = (uniform(width, 1.0, &mut rng), uniform(9 * width, 1.0, &mut rng));
            rows[5 * width + width / 2] = f32::NAN;
            let mut out = [0.0; 9];
            inner_products(isa, &query, &rows, &mut out);
            for (i, (row, got)) in rows.chunks_exact(width).zip(out).enumerate() {
                let terms = query.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b));
                let (exact, magnitudes) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                if i == 5 {
                    assert!(got.is_nan(), "{isa} width {width}: {got}");
                } else {
                    assert_close(got, exact, sum_bound(width, magnitudes), format!("{isa} width {width}"));
                }
            }
        }
    });
}

#[test]
fn sums_of_weighted_rows() {
    let mut rng = rng();
    let rows = [3_u32, 0, 3, 6];
    let weights = uniform(rows.len(), 2.0, &mut rng);
    for width in PARITY_LENS {
        let (table, start) = (uniform(7 * width, 1.0, &mut rng), uniform(width, 1.0, &mut rng));
        let sums = |isa| {
            let mut out = start.clone();
            add_rows(isa, &table, &rows, &weights, &mut out);
            out
        };
        on_every_tier(|isa| {
            for (column, got) in sums(isa).into_iter().enumerate() {
                let value = |row: u32| table[row as usize * width + column];
                let terms = rows.iter().zip(&weights).map(|(row, weight)| f64::from(*weight) * f64::from(value(*row)));
                let own = f64::from(start[column]);
                let (exact, size) = terms.fold((own, own.abs()), |(sum, size), term| (sum + term, size + term.abs()));
                assert_close(got, exact, sum_bound(rows.len() + 1, size), format!("{isa} width {width}"));
            }
        });
        same_bits_on_vector_tiers(sums);
    }
}
