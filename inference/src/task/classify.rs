//! Logits to probabilities.

/// Softmax over each row of `labels` logits, in f64 so that a row adds up to 1 within f32's own rounding.
pub fn probabilities(logits: &[f32], labels: usize) -> Vec<f32> {
    logits.chunks_exact(labels).flat_map(softmax).collect()
}

fn softmax(logits: &[f32]) -> impl Iterator<Item = f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - highest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(move |power| (power / sum) as f32)
}

#[cfg(test)]
mod tests {
    use super::probabilities;

    #[test]
    fn known_logits() {
        let found = probabilities(&[0.0, std::f32::consts::LN_2, 1000.0, -1000.0], 2);
        let expected = [1.0 / 3.0, 2.0 / 3.0, 1.0, 0.0];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6), "{found:?}");
    }
}
