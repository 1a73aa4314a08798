//! Pooling, normalisation and inner products: the specification.

/// Means of the rows of each text.
pub(crate) fn pool_mean(x: &[f32], offsets: &[usize], width: usize, out: &mut [f32]) {
    for (text, mean) in offsets.windows(2).zip(out.chunks_exact_mut(width)) {
        let tokens = &x[text[0] * width..text[1] * width];
        let share = 1.0 / (text[1] - text[0]) as f32;
        for (column, mean) in mean.iter_mut().enumerate() {
            *mean = tokens.iter().skip(column).step_by(width).sum::<f32>() * share;
        }
    }
}

/// Rows of length 1.
pub(crate) fn l2_normalize(x: &mut [f32], width: usize, shortest: f32) {
    for row in x.chunks_exact_mut(width) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        // Not `max`, which would turn a NaN into a number.
        let scale = 1.0 / if length < shortest { shortest } else { length };
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

/// Products of one row with each of many.
pub(crate) fn inner_products(query: &[f32], rows: &[f32], out: &mut [f32]) {
    for (row, product) in rows.chunks_exact(query.len()).zip(out) {
        *product = query.iter().zip(row).map(|(a, b)| a * b).sum();
    }
}

/// Adds weighted rows of a table.
pub(crate) fn add_rows(table: &[f32], rows: &[u32], weights: &[f32], out: &mut [f32]) {
    let width = out.len();
    for (row, weight) in rows.iter().zip(weights) {
        let values = &table[*row as usize * width..][..width];
        out.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
    }
}
