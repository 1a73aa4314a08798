//! What services are told of a list, and all of them asked at once.

use std::time::Duration;

use attune_api::outside::{HISTORY_MAX, Outside, OutsideError, Wait};
use attune_api::rest::outside::{OutsideItem, OutsideRequest, OutsideTask};
use attune_store::relational::PersonId;
use futures::future::join_all;

use super::Outsider;
use crate::ask::{Ask, Who};
use crate::stage::Order;

/// What a service answered.
pub struct Said {
    /// Its number among the sources of the pipeline.
    pub place: usize,
    /// The items, or why there are none.
    pub answer: Result<Vec<OutsideItem>, OutsideError>,
}

/// One list, as services are told of it.
#[derive(Clone, Copy)]
pub struct Telling<'a> {
    pub order: &'a Order,
    /// Whoever asks; nobody, where no host may be asked.
    pub outside: Option<&'a dyn Outside>,
}

impl Telling<'_> {
    /// Asks those that propose.
    pub async fn proposals(self) -> Vec<Said> {
        let asked = self.of(OutsideTask::Propose).map(|outsider| self.ask(outsider, self.order.ask.only.clone()));
        join_all(asked).await
    }

    /// Asks those that score about the candidates, as many of the best as each wants.
    pub async fn scores(self, candidates: &[String]) -> Vec<Said> {
        let asked = self.of(OutsideTask::Score).map(|outsider| {
            let ids = candidates.iter().take(outsider.k(&self.order.ask)).cloned().collect();
            self.ask(outsider, Some(ids))
        });
        join_all(asked).await
    }

    /// How many candidates those that score want at most; none where there are none of them.
    pub fn scored(self) -> Option<usize> {
        self.of(OutsideTask::Score).map(|outsider| outsider.k(&self.order.ask)).max()
    }

    fn of(&self, task: OutsideTask) -> impl Iterator<Item = &Outsider> {
        self.order.chosen.outside.iter().filter(move |outsider| outsider.spec.task == task)
    }

    async fn ask(self, outsider: &Outsider, item_ids: Option<Vec<String>>) -> Said {
        let place = outsider.place;
        let Some(outside) = self.outside else {
            let detail = "is not asked: no host may be asked from here".to_owned();
            return Said { place, answer: Err(OutsideError::NotAsked(detail)) };
        };
        // About nothing, nobody is asked.
        if item_ids.as_ref().is_some_and(Vec::is_empty) {
            return Said { place, answer: Ok(Vec::new()) };
        }
        let asked_about = item_ids.clone();
        let request = request(self.order, outsider, item_ids);
        let wait = Wait { at_most: Duration::from_millis(outsider.spec.timeout_ms), until: self.order.deadline };
        let answer = outside.ask(&outsider.spec.url, &request, wait).await;
        Said { place, answer: answer.map(|items| only(items, asked_about.as_deref())) }
    }
}

/// Without items that nobody asked about.
fn only(mut items: Vec<OutsideItem>, asked_about: Option<&[String]>) -> Vec<OutsideItem> {
    if let Some(ids) = asked_about {
        let before = items.len();
        let ids: std::collections::HashSet<&str> = ids.iter().map(String::as_str).collect();
        items.retain(|item| ids.contains(item.item_id.as_str()));
        let count = (before - items.len()) as u64;
        metrics::counter!("attune_outside_items_dropped_total", "reason" => "not_asked").increment(count);
    }
    items
}

/// The body of a call.
fn request(order: &Order, outsider: &Outsider, item_ids: Option<Vec<String>>) -> OutsideRequest {
    let Order { replica, chosen, ask, list_id, .. } = order;
    let Ask { who, surface, item, session, .. } = ask;
    let (user_id, anonymous_id, history) = match who {
        Who::Nobody => (None, None, None),
        Who::Person(PersonId::User(id)) => (Some(id.clone()), None, None),
        Who::Person(PersonId::Anonymous(id)) => (None, Some(id.clone()), None),
        Who::Stranger(events) => (None, None, Some(last(events))),
    };
    OutsideRequest {
        request_id: list_id.clone(),
        tenant: replica.tenant.to_string(),
        pipeline: chosen.name.clone(),
        source: outsider.name.clone(),
        task: outsider.spec.task,
        user_id,
        anonymous_id,
        history,
        k: outsider.k(ask),
        surface: surface.clone(),
        item_id: item.clone(),
        session_item_ids: last(session),
        item_ids,
    }
}

/// As many as are told, the newest.
fn last<T: Clone>(list: &[T]) -> Vec<T> {
    list[list.len().saturating_sub(HISTORY_MAX)..].to_vec()
}
