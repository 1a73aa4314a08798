//! The seam between a model and whoever ranks with it.

/// What one user did, oldest first; the three slices have one length.
#[derive(Clone, Copy, Debug, Default)]
pub struct History<'a> {
    /// Rows of the items.
    pub items: &'a [u32],
    /// What each event is worth; below 0 is dislike.
    pub weights: &'a [f32],
    /// Unix seconds.
    pub times: &'a [i64],
}

/// A model that gives every item a score for a user: higher is better, and only the order within one user counts.
pub trait Scorer: Sync {
    /// Items that the model knows.
    fn items(&self) -> usize;

    /// Writes the score of every item. `user` is the row of a user whom the model was trained with, `None` a new one:
    /// then only `history` speaks for him. An empty history is answered with what everybody likes.
    ///
    /// # Panics
    /// If `scores` has another length than [`items`](Self::items).
    fn score(&self, user: Option<u32>, history: History<'_>, scores: &mut [f32]);

    /// As [`score`](Self::score), for a user of whom more is known than his history: `attributes` are columns of the table
    /// of users by attributes that the model was trained with. Models that know nothing of attributes pass them over.
    ///
    /// # Panics
    /// As [`score`](Self::score).
    fn score_described(&self, user: Option<u32>, history: History<'_>, attributes: &[u32], scores: &mut [f32]) {
        let _ = attributes;
        self.score(user, history, scores);
    }
}
