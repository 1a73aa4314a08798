//! The service: what happens to a call.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use attune_api::log::{Event, Record};
use attune_api::moment::now_ms;
use attune_api::rest::tracking::{
    DeadLetters, EventInput, Identified, IdentifyRequest, RejectCode, RejectedEvent, RejectedLetter, ReplayRequest,
    Replayed, Tracked,
};
use attune_api::tracking::{CALL_BYTES_MAX, EVENT_BYTES_MAX, EVENTS_MAX, Given, LETTERS_MAX, Tracking};
use attune_api::{ApiError, Call, ErrorCode};
use attune_store::cache::Cache;
use attune_store::events::{DeadLetter, EventLog, NewEvent, PAGE_MAX};
use attune_store::relational::{PersonId, Relational, Write};
use attune_store::{StoreError, Tenant};

use crate::check::{self, Checked, Refusal, check_id, hash128};
use crate::letters::{self, Refused};
use crate::people::{Found, Known, People};
use crate::recent;
use crate::window::{Seen, WINDOW_EVENTS_MAX, Window};

const EVENTS: &str = "attune_tracking_events_total";
const LETTERS_LOST: &str = "attune_tracking_dead_letters_lost_total";

/// What the service keeps things in.
#[derive(Clone)]
pub struct Stores {
    /// Who is behind a subject.
    pub relational: Arc<dyn Relational>,
    /// Recent events of a person.
    pub cache: Arc<dyn Cache>,
    /// Everything.
    pub events: Arc<dyn EventLog>,
}

/// Takes events.
pub struct TrackingService {
    pub(crate) stores: Stores,
    pub(crate) people: People,
    window: Arc<Window>,
}

/// An event that is to be appended.
struct Fresh {
    subject: Arc<str>,
    event: Event,
    key: u128,
    body: u64,
}

impl Fresh {
    fn record(&self) -> NewEvent {
        NewEvent { subject: self.subject.to_string(), payload: self.event.to_record().into() }
    }
}

/// What became of a call.
#[derive(Default)]
struct Sorted {
    fresh: Vec<Fresh>,
    kept: u32,
    refused: Vec<Refused>,
    duplicates: u32,
    dropped: u32,
}

impl TrackingService {
    /// Over these stores.
    pub fn new(stores: Stores) -> Self {
        let people = People::new(Arc::clone(&stores.relational));
        Self { stores, people, window: Arc::new(Window::new(WINDOW_EVENTS_MAX)) }
    }

    async fn take(&self, call: &Call, events: Vec<Given>, keeps_letters: bool) -> Result<Tracked, ApiError> {
        let tenant = tenant(call)?;
        let sizes = sizes(&events)?;
        let (checked, refused) = check_all(events, &sizes, now_ms());
        let people: BTreeSet<PersonId> = checked
            .iter()
            .map(|(_, one)| one.person.clone())
            .chain(refused.iter().filter(|_| keeps_letters).flat_map(Refused::people))
            .collect();
        let people = self.people.find(&tenant, people).await?;
        let mut sorted = self.sort(&tenant, checked, refused, &people);
        sorted.refused.sort_by_key(|one| one.index);
        let bury = self.bury(&tenant, if keeps_letters { &sorted.refused } else { &[] }, &people);
        let (kept, ()) = tokio::join!(self.keep(&tenant, std::mem::take(&mut sorted.fresh), call.is_bulk), bury);
        sorted.kept = kept?;
        Ok(answer(sorted))
    }

    /// Names each event, and tells those that were here before.
    fn sort(&self, tenant: &Tenant, checked: Vec<(usize, Checked)>, refused: Vec<Refused>, people: &Found) -> Sorted {
        let mut sorted = Sorted { refused, ..Sorted::default() };
        let mut equals = HashMap::new();
        let mut in_call: HashMap<u128, u64> = HashMap::new();
        for (index, mut one) in checked {
            let Some(Known { subject, refuses }) = people.get(&one.person).cloned() else { continue };
            if refuses {
                sorted.dropped += 1;
                continue;
            }
            let digest = check::digest(&one, false);
            if one.event.event_id.is_empty() {
                one.event.event_id = made_id(tenant, &subject, &one, &mut equals);
            }
            let key = hash128(&[tenant.as_str().as_bytes(), subject.as_bytes(), one.event.event_id.as_bytes()]);
            let body = u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
            let seen = match in_call.get(&key) {
                Some(known) if *known == body => Seen::Duplicate,
                Some(_) => Seen::Conflict,
                None => self.window.look(key, body),
            };
            match seen {
                Seen::Duplicate => sorted.duplicates += 1,
                Seen::Conflict => sorted.refused.push(conflict(index, one)),
                Seen::New => {
                    in_call.insert(key, body);
                    sorted.fresh.push(Fresh { subject, event: one.event, key, body });
                }
            }
        }
        sorted
    }

    /// Appends events, and returns how many when they would survive a loss of power. Once begun it goes on to its end,
    /// whether or not somebody still waits: what the log has, the window and the recent lists know of.
    async fn keep(&self, tenant: &Tenant, fresh: Vec<Fresh>, is_bulk: bool) -> Result<u32, ApiError> {
        if fresh.is_empty() {
            return Ok(0);
        }
        let (stores, window, tenant) = (self.stores.clone(), Arc::clone(&self.window), tenant.clone());
        let keeping = tokio::spawn(async move {
            let positions = stores.events.append(&tenant, fresh.iter().map(Fresh::record).collect()).await?;
            window.remember(fresh.iter().map(|one| (one.key, one.body)));
            if !is_bulk {
                let mut lists = recent::Lists::new();
                for (one, position) in fresh.iter().zip(positions) {
                    recent::add(&mut lists, &one.subject, position, &one.event);
                }
                recent::push(&*stores.cache, &tenant, lists).await;
            }
            Ok::<_, StoreError>(fresh.len() as u32)
        });
        let kept = keeping.await.map_err(|error| {
            tracing::error!(%error, "appending events ended");
            ApiError::internal()
        })?;
        Ok(kept?)
    }

    /// Keeps what is refused. Its sender is told either way, so that a failure here costs nobody an answer.
    async fn bury(&self, tenant: &Tenant, refused: &[Refused], people: &Found) {
        let letters: Vec<_> = refused.iter().filter_map(|one| one.letter(people)).collect();
        if letters.is_empty() {
            return;
        }
        let count = letters.len();
        if let Err(error) = self.stores.events.bury(tenant, letters).await {
            metrics::counter!(LETTERS_LOST).increment(count as u64);
            tracing::warn!(count, %error, "refused events could not be kept as dead letters");
        }
    }

    /// The letters of these ids, in the order in which they came.
    async fn find_letters(&self, tenant: &Tenant, ids: &BTreeSet<String>) -> Result<Vec<DeadLetter>, StoreError> {
        let mut found = Vec::new();
        let mut from = Some(0);
        while let Some(place) = from.filter(|_| found.len() < ids.len()) {
            let page = self.stores.events.dead_letters(tenant, place, PAGE_MAX).await?;
            found.extend(page.letters.into_iter().filter(|letter| ids.contains(&letter.id)));
            from = page.next;
        }
        Ok(found)
    }
}

#[async_trait]
impl Tracking for TrackingService {
    async fn track(&self, call: &Call, events: Vec<Given>) -> Result<Tracked, ApiError> {
        self.take(call, events, true).await
    }

    async fn identify(&self, call: &Call, request: IdentifyRequest) -> Result<Identified, ApiError> {
        let tenant = tenant(call)?;
        let IdentifyRequest { anonymous_id: anonymous, user_id: user } = request;
        for (name, id) in [("anonymous_id", &anonymous), ("user_id", &user)] {
            check_id(name, id).map_err(|detail| ApiError::at(ErrorCode::Invalid, format!("/{name}"), detail))?;
        }
        let relational = &self.stores.relational;
        let id = PersonId::Anonymous(anonymous.clone());
        let before = relational.person(&tenant, &id).await?;
        let is_new = before.as_ref().and_then(|person| person.user.as_ref()) != Some(&user);
        let join = Write::Join { anonymous, user: user.clone() };
        relational.commit(&tenant, vec![join]).await?;
        self.people.refresh(&tenant, [id]);
        if let Some(before) = before {
            // Appended whether or not the join is new: a crash between the two is mended by the next call.
            let user = PersonId::User(user);
            let subject = relational.resolve(&tenant, &[user]).await?.remove(0).subject;
            let record = Record::Join { from: before.subject.to_string() };
            let payload = serde_json::to_vec(&record).unwrap_or_default().into();
            self.stores.events.append(&tenant, vec![NewEvent { subject: subject.to_string(), payload }]).await?;
        }
        Ok(Identified { is_new })
    }

    async fn dead_letters(&self, call: &Call, cursor: Option<&str>, limit: usize) -> Result<DeadLetters, ApiError> {
        let tenant = tenant(call)?;
        let no_cursor = |_| {
            let detail = "this is no cursor: give the `next_cursor` of the page before, or none to begin";
            ApiError::at(ErrorCode::Invalid, "/cursor", detail)
        };
        if !(1..=LETTERS_MAX).contains(&limit) {
            let detail = format!("a page has 1 to {LETTERS_MAX} letters, not {limit}");
            return Err(ApiError::at(ErrorCode::Invalid, "/limit", detail));
        }
        let from = cursor.map_or(Ok(0), |cursor| u64::from_str_radix(cursor, 16)).map_err(no_cursor)?;
        let page = self.stores.events.dead_letters(&tenant, from, limit).await?;
        let names = letters::names(&*self.stores.relational, &tenant, &page.letters).await?;
        Ok(DeadLetters {
            dead_letters: page.letters.iter().map(|letter| letters::view(letter, &names)).collect(),
            next_cursor: page.next.map(|next| format!("{next:x}")),
        })
    }

    async fn replay(&self, call: &Call, request: ReplayRequest) -> Result<Replayed, ApiError> {
        let tenant = tenant(call)?;
        if !(1..=LETTERS_MAX).contains(&request.ids.len()) {
            let detail = format!("{} ids are given, 1 to {LETTERS_MAX} are allowed", request.ids.len());
            return Err(ApiError::at(ErrorCode::Invalid, "/ids", detail));
        }
        let mut ids: BTreeSet<String> = request.ids.into_iter().collect();
        let found = self.find_letters(&tenant, &ids).await?;
        ids.retain(|id| found.iter().all(|letter| letter.id != *id));
        let (recorded, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.letter.origin.is_some());
        let mut replayed = Replayed { unknown: ids.into_iter().collect(), ..Replayed::default() };
        replayed.replayed = recorded.len() as u32;
        self.stores.events.replay(&tenant, recorded).await?;
        self.send_again(call, &tenant, refused, &mut replayed).await?;
        Ok(replayed)
    }
}

impl TrackingService {
    /// Sends letters through that were refused before they came to the log.
    async fn send_again(
        &self,
        call: &Call,
        tenant: &Tenant,
        letters: Vec<DeadLetter>,
        replayed: &mut Replayed,
    ) -> Result<(), ApiError> {
        let names = letters::names(&*self.stores.relational, tenant, &letters).await?;
        let mut tried = Vec::new();
        for letter in letters {
            let opened = letters::open(&letter, &names);
            if opened.is_orphaned {
                let detail = "the person of this event is forgotten".to_owned();
                replayed.rejected.push(RejectedLetter { id: letter.id, code: RejectCode::Invalid, detail });
            } else {
                tried.push((letter.id, Given::read(opened.event)));
            }
        }
        // As many events as letters fit a call in number; in bytes they may need several.
        let per_call = (CALL_BYTES_MAX / EVENT_BYTES_MAX).max(1);
        for part in tried.chunks(per_call) {
            let events = part.iter().map(|(_, given)| given.clone()).collect();
            let answer = self.take(call, events, false).await?;
            let refused: HashMap<usize, &RejectedEvent> =
                answer.rejected.iter().map(|one| (one.index as usize, one)).collect();
            let mut sent = Vec::new();
            for (index, (id, _)) in part.iter().enumerate() {
                match refused.get(&index) {
                    Some(one) => replayed.rejected.push(RejectedLetter {
                        id: id.clone(),
                        code: one.code,
                        detail: one.detail.clone(),
                    }),
                    None => sent.push(id.clone()),
                }
            }
            self.stores.events.forget(tenant, &sent).await?;
            replayed.replayed += sent.len() as u32;
        }
        Ok(())
    }
}

/// The tenant of a call.
pub(crate) fn tenant(call: &Call) -> Result<Tenant, ApiError> {
    call.tenant.parse().map_err(|error| {
        tracing::error!(%error, "a call came with a tenant that cannot be one");
        ApiError::internal()
    })
}

/// The size of each event, within what a call may have.
fn sizes(events: &[Given]) -> Result<Vec<usize>, ApiError> {
    if events.is_empty() {
        return Err(ApiError::at(ErrorCode::Empty, "/events", "the list is empty; give at least one event"));
    }
    if events.len() > EVENTS_MAX {
        let detail = format!("{} events in one call, {EVENTS_MAX} are allowed: send several calls", events.len());
        return Err(ApiError::at(ErrorCode::Invalid, "/events", detail));
    }
    let sizes: Vec<usize> = events.iter().map(size).collect();
    let bytes: usize = sizes.iter().sum();
    if bytes > CALL_BYTES_MAX {
        let detail = format!("the events have {bytes} bytes as JSON, {CALL_BYTES_MAX} are allowed: send several calls");
        return Err(ApiError::at(ErrorCode::BodyTooLarge, "/events", detail));
    }
    Ok(sizes)
}

/// Bytes as compact JSON.
fn size(given: &Given) -> usize {
    struct Count(usize);
    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    let written = match given {
        Given::Event(event) => serde_json::to_writer(&mut count, event),
        Given::Unreadable { json, .. } => serde_json::to_writer(&mut count, json),
    };
    written.map_or(usize::MAX, |()| count.0)
}

/// Tells sound events from others.
fn check_all(events: Vec<Given>, sizes: &[usize], now_ms: i64) -> (Vec<(usize, Checked)>, Vec<Refused>) {
    let (mut checked, mut refused) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, (given, &bytes)) in events.into_iter().zip(sizes).enumerate() {
        let refusal = match &given {
            _ if bytes > EVENT_BYTES_MAX => {
                let detail = format!("the event has {bytes} bytes as JSON, {EVENT_BYTES_MAX} are allowed");
                Some(Refusal::new(RejectCode::TooLarge, detail))
            }
            Given::Unreadable { why, .. } => Some(Refusal::new(RejectCode::Invalid, why)),
            Given::Event(event) => check::check(event, now_ms).err(),
        };
        match (refusal, given) {
            (None, Given::Event(event)) => checked.push((index, check::take(*event, now_ms))),
            (refusal, given) => refused.extend(refusal.map(|refusal| Refused { index, json: given.json(), refusal })),
        }
    }
    (checked, refused)
}

/// The id of an event that has none: what it says, whose it is, and its number among its equals in the call. Without a
/// moment of its own it is that of its arrival, so that a second click an hour later is another event.
fn made_id(tenant: &Tenant, subject: &str, one: &Checked, equals: &mut HashMap<u128, u64>) -> String {
    let digest = check::digest(one, true);
    let event = hash128(&[tenant.as_str().as_bytes(), subject.as_bytes(), &digest]);
    let number = equals.entry(event).or_insert(0);
    let id = hash128(&[&event.to_le_bytes(), &number.to_le_bytes()]);
    *number += 1;
    format!("{id:032x}")
}

fn conflict(index: usize, one: Checked) -> Refused {
    let id = attune_api::error::quoted(&one.event.event_id);
    let detail = format!("there is another event {id} of this person: the first one counts");
    let Event { event_id, r#type, item_id, value, time_ms, session_id, request_id, surface, properties, .. } =
        one.event;
    let (user_id, anonymous_id) = match one.person {
        PersonId::User(id) => (Some(id), None),
        PersonId::Anonymous(id) => (None, Some(id)),
    };
    let timestamp_ms = one.has_time.then_some(time_ms);
    let input = EventInput {
        event_id: Some(event_id),
        r#type,
        user_id,
        anonymous_id,
        item_id,
        value,
        timestamp_ms,
        session_id,
        request_id,
        surface,
        properties,
    };
    let json = Given::Event(Box::new(input)).json();
    Refused { index, json, refusal: Refusal::new(RejectCode::Conflict, detail) }
}

fn answer(sorted: Sorted) -> Tracked {
    let count = |outcome: &'static str, events: usize| {
        metrics::counter!(EVENTS, "outcome" => outcome).increment(events as u64);
    };
    count("kept", sorted.kept as usize);
    count("duplicate", sorted.duplicates as usize);
    count("without_consent", sorted.dropped as usize);
    count("rejected", sorted.refused.len());
    let rejected = sorted.refused.into_iter().map(|one| RejectedEvent {
        index: one.index as u32,
        code: one.refusal.code,
        detail: one.refusal.detail,
    });
    Tracked { accepted: sorted.kept + sorted.dropped, duplicates: sorted.duplicates, rejected: rejected.collect() }
}
