//! Forms the next batch: which class, which model, who is urgent, whose turn it is.

use super::batch::{Batch, Budget};
use super::{Core, Model, ModelId, RequestId, Time, WorkClass};

impl<P: Clone> Core<P> {
    /// Fills `batch` for a worker that is free. `false` when nothing waits.
    ///
    /// `batch.expired` holds the requests whose deadline has passed, whatever the answer.
    pub fn next_batch(&mut self, now: Time, batch: &mut Batch<P>) -> bool {
        batch.clear();
        self.expire(now, batch);
        let Some(class) = self.next_class(now) else { return false };
        let horizon = self.horizon(class, now);
        // A batch by turns is owed after so many that urgent requests filled, or kept for their model.
        let is_owed = self.classes[class].urgent_batches >= self.limits.urgent_batches_max;
        let urgent = if is_owed { None } else { self.first_urgent(class, now, horizon) };
        let turn = self.classes[class].models.first().copied();
        let Some(model) = urgent.map(|urgent| urgent.model).or(turn) else { return false };

        batch.class = WorkClass::ALL[class];
        batch.model = ModelId(model);
        let mut budget = self.budget(class, model);
        if !is_owed {
            self.take_urgent(class, now, horizon, &mut budget, batch);
        }
        let urgent_texts = batch.texts.len();
        if is_owed || self.first_urgent(class, now, horizon).is_none() {
            self.take_turns(class, &budget, batch);
        }
        let is_by_turns = batch.texts.len() > urgent_texts && turn == Some(model);
        let class = &mut self.classes[class];
        class.urgent_batches = if is_by_turns { 0 } else { class.urgent_batches + 1 };
        class.waits_since = now;
        true
    }

    /// Removes what is too late.
    fn expire(&mut self, now: Time, batch: &mut Batch<P>) {
        for class in 0..self.classes.len() {
            for model in 0..self.models.len() {
                while let Some(id) = self.classes[class].queues[model].deadlines.expired(now) {
                    batch.expired.extend(self.cancel(id));
                }
            }
        }
    }

    /// The highest class that waits, unless a lower one has waited too long for its batch.
    fn next_class(&self, now: Time) -> Option<usize> {
        let limits = [None, Some(self.limits.bulk_wait_max), Some(self.limits.training_wait_max)];
        let waits = |class: &usize| self.depths[*class].texts > 0;
        let due = |class: usize| Some((self.classes[class].waits_since + limits[class]?, class));
        let overdue = (0..limits.len()).filter(waits).filter_map(due).filter(|(due, _)| *due <= now).min();
        overdue.map(|(_, class)| class).or_else(|| (0..limits.len()).find(waits))
    }

    /// A worker takes no more than a part of its share of what waits. All rows of a batch are ready only at its end, so
    /// taking everything would let the first text wait for the last, and leave nothing to the worker that is free next.
    fn budget(&self, class: usize, model: usize) -> Budget {
        let Model { capacity_tokens, rate, .. } = &self.models[model];
        let waits = self.classes[class].queues[model].depth.work;
        let parts = self.workers as u64 * self.limits.batches_a_share.max(1);
        Budget {
            texts: self.limits.batch_texts_max,
            tokens: self.limits.batch_tokens_max.min(*capacity_tokens),
            work: rate.work(self.limits.batch_time_max).min(waits.div_ceil(parts)),
        }
    }

    /// Before this time a deadline might be missed by waiting for one more batch.
    fn horizon(&self, class: usize, now: Time) -> Time {
        let mut longest = self.limits.batch_time_max;
        let mut horizon = now + self.limits.deadline_margin;
        for (model, queue) in self.models.iter().zip(&self.classes[class].queues) {
            if queue.depth.texts > 0 {
                longest = longest.max(model.rate.time(model.text_work_max));
                horizon += model.rate.time(queue.deadlines.work);
            }
        }
        horizon + longest
    }

    /// The most urgent request of a class. Those met on the way that cannot be in time any more, or whose caller is too
    /// far ahead, fall back to their turn for good: each is looked at once.
    fn first_urgent(&mut self, class: usize, now: Time, horizon: Time) -> Option<Urgent> {
        let models = 0..self.models.len();
        models.filter_map(|model| self.first_urgent_of(class, model, now, horizon)).min()
    }

    fn first_urgent_of(&mut self, class: usize, model: usize, now: Time, horizon: Time) -> Option<Urgent> {
        loop {
            let queue = &mut self.classes[class].queues[model];
            let (deadline, id) = queue.deadlines.first().filter(|(deadline, _)| *deadline < horizon)?;
            let waiting = self.requests.get(&id)?;
            let rest = waiting.rest.work;
            let next = waiting.request.texts[waiting.next].work.max(rest / self.workers as u64);
            let in_time = now + self.models[model].rate.time(next) <= deadline;
            if in_time && queue.callers.lead(&waiting.request.caller) <= self.limits.urgent_lead_tokens_max {
                return Some(Urgent { deadline, id, model });
            }
            queue.deadlines.demote(deadline, id, rest);
        }
    }

    /// Takes urgent texts, the earliest deadline first, up to the first that does not fit: it opens the next batch.
    fn take_urgent(&mut self, class: usize, now: Time, horizon: Time, budget: &mut Budget, batch: &mut Batch<P>) {
        while let Some(urgent) = self.first_urgent(class, now, horizon) {
            if batch.texts.is_empty() {
                let until_deadline = self.models[urgent.model].rate.work(urgent.deadline - now);
                budget.work = budget.work.min(until_deadline);
            }
            if urgent.model != batch.model.0 || !self.take(urgent.id, budget, batch) {
                return;
            }
        }
    }

    /// Takes texts in fair order, up to the first that does not fit: it keeps its turn.
    fn take_turns(&mut self, class: usize, budget: &Budget, batch: &mut Batch<P>) {
        while let Some(id) = self.classes[class].queues[batch.model.0].first() {
            if !self.take(id, budget, batch) {
                return;
            }
        }
    }

    /// Moves the next text of a request into the batch. `false` when it does not fit.
    fn take(&mut self, id: RequestId, budget: &Budget, batch: &mut Batch<P>) -> bool {
        let Some(waiting) = self.requests.get_mut(&id) else { return false };
        let request = &waiting.request;
        let cost = request.texts[waiting.next];
        if !budget.admits(batch, cost) {
            return false;
        }
        batch.push(id, waiting.next, cost, request.payload.clone());
        waiting.next += 1;
        waiting.rest -= cost.into();

        let time = self.models[request.model.0].rate.time(cost.work);
        let class = &mut self.classes[request.class as usize];
        class.models.serve(&request.model.0, (time.as_micros() as u64).max(1));
        let queue = &mut class.queues[request.model.0];
        queue.serve(&request.caller, waiting.lane, u64::from(cost.tokens));
        queue.depth -= cost.into();
        if let Some(deadline) = request.deadline {
            queue.deadlines.serve(deadline, id, cost.work);
        }
        self.depths[request.class as usize] -= cost.into();
        let (caller, is_last) = (request.caller.clone(), waiting.next == request.texts.len());
        self.release(&caller, cost.into());
        if is_last {
            self.remove(id);
        }
        true
    }
}

/// A request that must not wait for one more batch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Urgent {
    deadline: Time,
    id: RequestId,
    model: usize,
}
