//! From a request to a list: what has to be known, who is asked, in what order.
//!
//! Services of the user's own are asked while everything else goes on: those that propose beside the look-up of the user
//! and the sources of this process, those that score when it is known what there is to score. A list without any takes one
//! turn on a thread of the pool, together with others that wait there; one with some takes another when all are heard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attune_api::log::{Exposure, Shown as ShownItem};
use attune_api::moment::now_ms;
use attune_api::rest::recommendation::{ListTiming, RecommendResponse, RecommendedItem};
use attune_api::{ApiError, Call};
use attune_ranking::pipeline::Answered;
use attune_ranking::retrieve::Scratch;
use attune_store::relational::Subject;

use crate::answer::{Lacks, response};
use crate::ask::{Ask, Who};
use crate::asked::Known;
use crate::exposures::{Exposures, Shown};
use crate::fold::key_of;
use crate::fresh::{Fresh, fresh};
use crate::outside::Telling;
use crate::pool::Work;
use crate::replica::Replica;
use crate::service::Recommender;
use crate::stage::{self, Made, Order, Retrieved, Settings};

/// What is left of a caller's time when his sources are late, in parts of it: a list has to be made of the others yet.
const LEFT: u32 = 4;

/// Whose a list is, and what could not be looked up.
#[derive(Clone, Copy)]
struct Whose {
    subject: Option<Subject>,
    lacks: Lacks,
}

/// What a thread of the pool does for a list: its first turn, or with what came of that, and of services since, its last.
pub struct Turn {
    order: Arc<Order>,
    whose: Whose,
    exposures: Exposures,
    does: Does,
}

enum Does {
    Begin(Known),
    Finish(Box<Retrieved>),
}

/// What comes of a turn.
pub enum Turned {
    /// The list.
    List(RecommendResponse),
    /// Services of the user's own are to be heard before there is one.
    Waits(Box<Retrieved>),
}

impl Work for Turn {
    type Made = Turned;

    fn goes_with(&self, other: &Self) -> bool {
        self.known().is_some() && other.known().is_some() && Arc::ptr_eq(&self.order.replica, &other.order.replica)
    }

    fn done(together: &[&Self], scratch: &mut Scratch) -> Vec<Result<Turned, ApiError>> {
        if let [Self { does: Does::Finish(retrieved), .. }] = together {
            return vec![together[0].finish((**retrieved).clone())];
        }
        let asked: Vec<_> = together.iter().filter_map(|turn| Some((&turn.order, turn.known()?))).collect();
        let retrieved = stage::retrieve(&asked, scratch);
        let turned = together.iter().zip(retrieved).map(|(turn, retrieved)| match retrieved {
            Ok(retrieved) if turn.order.chosen.outside.is_empty() => turn.finish(retrieved),
            retrieved => Ok(Turned::Waits(Box::new(retrieved?))),
        });
        turned.collect()
    }
}

impl Turn {
    /// What was looked up for a first turn.
    fn known(&self) -> Option<&Known> {
        match &self.does {
            Does::Begin(known) => Some(known),
            Does::Finish(_) => None,
        }
    }

    /// The list as it is answered; that it was shown goes into the log.
    fn finish(&self, retrieved: Retrieved) -> Result<Turned, ApiError> {
        let (start, retrieve) = (Instant::now(), retrieved.took);
        let (made, Whose { subject, lacks }) = (retrieved.finish()?, self.whose);
        let mut list = response(&made, lacks);
        list.timing = ListTiming { retrieve, score: start.elapsed() };
        // Nobody's lists stand under their own name.
        let subject = subject.map_or_else(|| format!("list/{}", list.request_id), |subject| subject.to_string());
        let tenant = self.order.replica.tenant.clone();
        self.exposures.take(Shown { tenant, subject, exposure: exposure(made, &list) });
        Ok(Turned::List(list))
    }
}

impl Recommender {
    pub(crate) async fn serve(&self, call: &Call, ask: Ask) -> Result<RecommendResponse, ApiError> {
        let deadline = sources_deadline(Instant::now(), self.sources_wait(), call.deadline);
        let replica = self.ready(call).await?;
        let world = replica.world();
        let chosen = world.choose(&ask.pipeline, ask.who.key().as_deref())?;
        let settings = Settings { seen_days: self.config.seen_days };
        let list_id = format!("{:032x}", rand::random::<u128>());
        let order = Arc::new(Order { replica, world, chosen, ask, settings, list_id, deadline });
        let telling = Telling { order: &order, outside: self.outside() };
        let turn = |whose, does| Turn { order: order.clone(), whose, exposures: self.exposures.clone(), does };
        let first = async {
            let (known, whose) = self.look_up(&order).await;
            Ok((self.pool.run(call, turn(whose, Does::Begin(known))).await?, whose))
        };
        // A request that is wrong ends what is asked for it.
        let ((turned, whose), said) = tokio::try_join!(first, async { Ok::<_, ApiError>(telling.proposals().await) })?;
        let mut retrieved = match turned {
            Turned::List(list) => return Ok(list),
            Turned::Waits(retrieved) => retrieved,
        };
        retrieved.hear(said);
        if let Some(count) = telling.scored() {
            let candidates = retrieved.candidates(count);
            retrieved.hear(telling.scores(&candidates).await);
        }
        match self.pool.run(call, turn(whose, Does::Finish(retrieved))).await? {
            Turned::List(list) => Ok(list),
            Turned::Waits(_) => unreachable!("nobody is waited for after the last turn"),
        }
    }

    /// Whom the list is for, and what he did a moment ago. Where a store is away the list is made without.
    async fn look_up(&self, order: &Order) -> (Known, Whose) {
        let (subject, fresh, lacks) = self.look_for(&order.replica, &order.ask.who).await;
        let known = Known { subject: subject.and_then(|subject| key_of(&subject.to_string())), fresh };
        (known, Whose { subject, lacks })
    }

    async fn look_for(&self, replica: &Replica, who: &Who) -> (Option<Subject>, Fresh, Lacks) {
        let Who::Person(id) = who else { return (None, Fresh::default(), Lacks::default()) };
        let subject = match self.people.subject(replica, id.clone()).await {
            Ok(Some(subject)) => subject,
            Ok(None) => return (None, Fresh::default(), Lacks::default()),
            Err(error) => {
                tracing::warn!(tenant = %replica.tenant, %error, "a user could not be looked up");
                return (None, Fresh::default(), Lacks { person: true, ..Lacks::default() });
            }
        };
        let wait = Duration::from_millis(self.config.catch_up_ms_max);
        let fresh = fresh(replica, &*self.seams.log, &*self.seams.cache, &subject.to_string(), wait).await;
        let lacks = Lacks { events: fresh.is_behind, ..Lacks::default() };
        (Some(subject), fresh, lacks)
    }
}

/// When late sources are left out: after as long as a list waits for them, and early enough that its caller gets one.
fn sources_deadline(began: Instant, wait: Duration, callers: Option<Instant>) -> Instant {
    let callers = callers.map(|deadline| deadline - deadline.saturating_duration_since(began) / LEFT);
    callers.map_or(began + wait, |deadline| deadline.min(began + wait))
}

fn exposure(made: Made, list: &RecommendResponse) -> Exposure {
    let item = |(answered, item): (Answered, &RecommendedItem)| ShownItem {
        item_id: item.item_id.clone(),
        score: item.score,
        propensity: answered.propensity as f32,
        features: answered.features,
    };
    let Order { chosen, ask, .. } = &*made.order;
    Exposure {
        request_id: list.request_id.clone(),
        time_ms: now_ms(),
        surface: ask.surface.clone(),
        pipeline: list.pipeline.clone(),
        model_version: list.model_version.clone(),
        experiment: chosen.arm.clone(),
        feature_names: chosen.pipeline.features().to_vec(),
        items: made.answer.items.into_iter().zip(&list.items).map(item).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_gets_a_list_however_late_sources_are() {
        let (began, ms) = (Instant::now(), Duration::from_millis);
        let wait =
            |callers: Option<u64>| sources_deadline(began, ms(100), callers.map(|callers| began + ms(callers))) - began;
        assert_eq!((wait(None), wait(Some(1_000)), wait(Some(60))), (ms(100), ms(100), ms(45)));
        assert_eq!(sources_deadline(began + ms(5), ms(100), Some(began)), began, "he waits no more");
    }
}
