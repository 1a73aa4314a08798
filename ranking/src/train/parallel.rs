//! Rows of a matrix filled by several threads.
//!
//! A row's value depends on the row alone, never on who computes it, so results are the same bits whatever the number of
//! threads. Rows are handed out in small chunks because their costs differ: popular items come first in many tables.

use std::sync::{Mutex, PoisonError};

/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 16;

/// Calls `fill(state, row, values)` for every row of `matrix`, `width` numbers each, with one `state` per thread.
/// The first error in the order of rows is the answer; rows after an error may be left as they were.
pub(super) fn fill_rows<T, S, E>(
    matrix: &mut [T],
    width: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    fill: impl Fn(&mut S, usize, &mut [T]) -> Result<(), E> + Sync,
) -> Result<(), E>
where
    T: Send,
    E: Send,
{
    if width == 0 || matrix.is_empty() {
        return Ok(());
    }
    let chunks_max = matrix.len().div_ceil(width * CHUNK_ROWS);
    let chunks = Mutex::new(matrix.chunks_mut(width * CHUNK_ROWS).enumerate());
    let failed: Mutex<Option<(usize, E)>> = Mutex::new(None);
    let work = || {
        let mut state = state();
        loop {
            let taken = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((chunk, rows)) = taken else { return };
            for (place, values) in rows.chunks_mut(width).enumerate() {
                let row = chunk * CHUNK_ROWS + place;
                if let Err(error) = fill(&mut state, row, values) {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    if failed.as_ref().is_none_or(|(first, _)| row < *first) {
                        *failed = Some((row, error));
                    }
                    break;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, chunks_max) {
            scope.spawn(work);
        }
        work();
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), |(_, error)| Err(error))
}

/// As many threads as asked for, or as this process may run when 0 is asked for.
pub(super) fn threads_or_all(threads: usize) -> usize {
    match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_row_is_filled_once_whatever_the_threads() {
        for (rows, threads) in [(0, 2), (1, 4), (CHUNK_ROWS, 1), (5 * CHUNK_ROWS + 3, 3)] {
            let mut matrix = vec![0_usize; rows * 2];
            let fill = |_: &mut (), row: usize, values: &mut [usize]| {
                values[0] += row;
                values[1] += 1;
                Ok::<(), ()>(())
            };
            fill_rows(&mut matrix, 2, threads, || (), fill).unwrap();
            assert!(matrix.chunks(2).enumerate().all(|(row, values)| values == [row, 1]), "{rows} {threads}");
        }
    }

    #[test]
    fn as_many_threads_work_as_are_asked_for() {
        for threads in [1, 3] {
            let working = AtomicUsize::new(0);
            // Each of them begins with a state of its own.
            let state = || working.fetch_add(1, Ordering::Relaxed);
            let fill = |_: &mut usize, _: usize, _: &mut [u8]| Ok::<(), ()>(());
            fill_rows(&mut vec![0; 20 * CHUNK_ROWS], 1, threads, state, fill).unwrap();
            assert_eq!(working.into_inner(), threads);
        }
    }

    #[test]
    fn the_first_error_is_told() {
        let fill = |_: &mut (), row: usize, _: &mut [u8]| if row % 10 == 7 { Err(row) } else { Ok(()) };
        for threads in [1, 3] {
            assert_eq!(fill_rows(&mut [0; 100], 1, threads, || (), fill), Err(7));
        }
    }
}
