//! Who may wait, and when a refused caller should come back.

use std::time::Duration;

use super::{Core, Cost, Depth, ModelId, Request, Time, WorkClass};

/// The share of the queue, in percent, that each class may fill: what a lower class cannot take is left for higher.
const CLASS_ROOM_PERCENT: [u64; WorkClass::ALL.len()] = [100, 75, 50];

/// Why a request was not taken in. All but [`Full`](Self::Full) are for the caller to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The scheduler has no such model.
    #[error("there is no model number {}", .0.0)]
    UnknownModel(ModelId),
    /// Nothing is asked for.
    #[error("the request holds no texts")]
    NoTexts,
    /// A text without tokens; even an empty one has its special tokens.
    #[error("text {index} has no tokens")]
    EmptyText {
        /// Which text.
        index: usize,
    },
    /// A text that no engine of the model can run.
    #[error("text {index} has {tokens} tokens, the engine takes at most {tokens_max}")]
    TextTooLong {
        /// Which text.
        index: usize,
        /// Its length.
        tokens: usize,
        /// The engine's capacity.
        tokens_max: usize,
    },
    /// More than the whole queue may hold for this class of work: split the request.
    #[error(
        "the request has {texts} texts of {tokens} tokens in all, the queue takes at most {texts_max} texts and \
         {tokens_max} tokens for its class of work"
    )]
    TooLarge {
        /// Texts asked for.
        texts: usize,
        /// Their tokens.
        tokens: u64,
        /// What the queue takes.
        texts_max: usize,
        /// What the queue takes.
        tokens_max: u64,
    },
    /// Too much waits already.
    #[error("too much work waits already, come back in {retry_after:?}")]
    Full {
        /// When the present backlog will have been served, by the measured speed.
        retry_after: Duration,
    },
    /// The deadline had passed on arrival.
    #[error("the deadline had passed on arrival")]
    DeadlinePassed,
    /// The scheduler takes no more work.
    #[error("the scheduler is draining and takes no more work")]
    Draining,
}

impl<P> Core<P> {
    /// Checks a request and measures it.
    pub(super) fn admit(&self, now: Time, request: &Request<P>) -> Result<Depth, Refused> {
        let model = self.models.get(request.model.0).ok_or(Refused::UnknownModel(request.model))?;
        check_texts(&request.texts, model.capacity_tokens)?;
        if request.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Refused::DeadlinePassed);
        }
        let depth = Depth::of(&request.texts);
        self.check_room(request, depth)?;
        self.check_wait(now, request, depth)?;
        Ok(depth)
    }

    /// The queue has room for the class, and the caller holds no more than is then still free.
    fn check_room(&self, request: &Request<P>, depth: Depth) -> Result<(), Refused> {
        let percent = CLASS_ROOM_PERCENT[request.class as usize];
        let texts_max = self.limits.queue_texts_max * percent as usize / 100;
        let tokens_max = self.limits.queue_tokens_max * percent / 100;
        if depth.texts > texts_max || depth.tokens > tokens_max {
            return Err(Refused::TooLarge { texts: depth.texts, tokens: depth.tokens, texts_max, tokens_max });
        }
        let mut after = depth;
        for waiting in self.depths {
            after += waiting;
        }
        let held = self.callers.get(&request.caller).copied().unwrap_or_default();
        let fits = after.texts + held.texts <= texts_max && after.tokens + held.tokens <= tokens_max;
        if fits { Ok(()) } else { Err(self.full()) }
    }

    /// What goes before the request leaves it time to be of use. With nothing before it, it may try.
    fn check_wait(&self, now: Time, request: &Request<P>, depth: Depth) -> Result<(), Refused> {
        let ahead = self.time_ahead(request);
        let own = self.models[request.model.0].rate.time(depth.work) / self.workers as u32;
        let too_late = request.deadline.is_some_and(|deadline| now + ahead + own > deadline);
        let too_long = request.class == WorkClass::Interactive && ahead > self.limits.queue_wait_max;
        if !ahead.is_zero() && (too_late || too_long) { Err(self.full()) } else { Ok(()) }
    }

    /// An estimate of the wait: the higher classes, and of its own what can go before it, which is the smaller of the
    /// backlog (of those with a deadline, if it has one) and what all callers get while this one's turns come.
    fn time_ahead(&self, request: &Request<P>) -> Duration {
        let class = request.class as usize;
        let higher: Duration = (0..class).map(|higher| self.backlog_time(higher)).sum();
        let rate = self.models[request.model.0].rate;
        let queues = &self.classes[class].queues;
        let backlog = match request.deadline {
            Some(_) => {
                queues.iter().zip(&self.models).map(|(queue, model)| model.rate.time(queue.deadlines.work)).sum()
            }
            None => self.backlog_time(class),
        };
        let held = self.callers.get(&request.caller).map_or(0, |held| held.work);
        let turns = rate.time(held) * queues[request.model.0].callers.len() as u32;
        (higher + backlog.min(turns)) / self.workers as u32
    }

    /// How long one worker would need for all that waits in a class.
    fn backlog_time(&self, class: usize) -> Duration {
        let queues = self.classes[class].queues.iter().zip(&self.models);
        queues.map(|(queue, model)| model.rate.time(queue.depth.work)).sum()
    }

    fn full(&self) -> Refused {
        let backlog: Duration = (0..self.classes.len()).map(|class| self.backlog_time(class)).sum();
        Refused::Full { retry_after: backlog / self.workers as u32 }
    }
}

fn check_texts(texts: &[Cost], capacity_tokens: usize) -> Result<(), Refused> {
    if texts.is_empty() {
        return Err(Refused::NoTexts);
    }
    for (index, cost) in texts.iter().enumerate() {
        let tokens = cost.tokens as usize;
        if tokens == 0 {
            return Err(Refused::EmptyText { index });
        }
        if tokens > capacity_tokens {
            return Err(Refused::TextTooLong { index, tokens, tokens_max: capacity_tokens });
        }
    }
    Ok(())
}
