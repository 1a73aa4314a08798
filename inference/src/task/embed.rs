//! Pooled states to embeddings: shortened and scaled as asked.

/// Keeps `dimensions` leading values of each row of `width`, scaled to unit length when `normalize`.
///
/// Shortened embeddings are scaled after the cut, so that inner products are cosines again. A row of zeros stays one.
pub fn finish(rows: Vec<f32>, width: usize, dimensions: usize, normalize: bool) -> Vec<f32> {
    let mut values = rows;
    if dimensions < width {
        values = values.chunks_exact(width).flat_map(|row| &row[..dimensions]).copied().collect();
    }
    if normalize {
        values.chunks_exact_mut(dimensions).for_each(scale_to_unit);
    }
    values
}

fn scale_to_unit(row: &mut [f32]) {
    let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::finish;

    #[test]
    fn a_shortened_row_has_unit_length_again() {
        assert_eq!(finish(vec![3.0, 4.0, 12.0, 0.0, 0.0, 9.0], 3, 2, true), [0.6, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn without_scaling_values_stay() {
        assert_eq!(finish(vec![3.0, 4.0], 2, 2, false), [3.0, 4.0]);
    }
}
