//! Ratings of which some become reviews: what the data of `sentiment-signal` is made of.

use std::collections::{HashMap, HashSet};

use attune_api::catalogue::{AttributeKind, Entry};
use attune_batch::names::Names;
use attune_content::Opinion;
use attune_ranking::data::{Event, EventError, EventLog};
use attune_ranking::evaluate::{Case, Group, Task};
use attune_sentiment::data::Class;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, json};

/// The share of the ratings that become reviews.
pub const SHARE: f64 = 0.1;
/// From so many stars on somebody likes what he rates.
const LIKED_MIN: f32 = 4.0;
/// Up to so many he does not.
const DISLIKED_MAX: f32 = 2.0;

/// A sentence that people have labelled, and what our own model makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sentence {
    /// By the people.
    pub class: Class,
    /// By the model: the probability of positive less that of negative.
    pub polarity: f64,
}

/// A rating that has become a review.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Review {
    /// Who wrote it.
    pub user: u32,
    /// Of what.
    pub item: u32,
    /// What the model makes of it.
    pub polarity: f64,
}

/// Ratings, and the reviews that others of them have become.
pub struct Reviewed {
    /// What is left of the ratings: nothing that became a review.
    pub ratings: EventLog,
    /// The reviews.
    pub reviews: Vec<Review>,
}

impl Reviewed {
    /// Takes each rating with the chance of [`SHARE`] for a review: a sentence by chance among those whose label is what the
    /// stars say, 4 and 5 positive, 3 neutral, 1 and 2 negative. A rating without stars stays one, and so does one for
    /// whose class there is no sentence.
    ///
    /// # Errors
    /// None that a log could cause which was one before.
    pub fn new(log: &EventLog, sentences: &[Sentence], seed: u64) -> Result<Self, EventError> {
        let of = |class| sentences.iter().filter(move |sentence| sentence.class == class).collect::<Vec<_>>();
        let pools = Class::ALL.map(of);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut review = |event: &Event| {
            let is_review = random.random_bool(SHARE);
            let sentence = pools[class(event.value?.get()).index()].choose(&mut random)?;
            is_review.then_some(Review { user: event.user, item: event.item, polarity: sentence.polarity })
        };
        let (mut left, mut reviews) = (Vec::new(), Vec::new());
        for event in log.events() {
            match review(event) {
                Some(review) => reviews.push(review),
                None => left.push(*event),
            }
        }
        let ratings = EventLog::new(left, log.users(), log.items(), log.kinds().to_vec())?;
        Ok(Self { ratings, reviews })
    }

    /// The same reviews of the same items, each with the words of another: as many, and they say nothing.
    pub fn shuffled(&self, seed: u64) -> Vec<Review> {
        let mut said: Vec<f64> = self.reviews.iter().map(|review| review.polarity).collect();
        said.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        self.reviews.iter().zip(said).map(|(review, polarity)| Review { polarity, ..*review }).collect()
    }

    /// The task asked about what is liked: relevant are items of 4 or 5 stars alone, and what somebody has reviewed is not
    /// ranked for him.
    pub fn about_liked(&self, mut task: Task) -> Task {
        let events = self.ratings.events().iter();
        let liked = events.filter(|event| event.value.is_some_and(|stars| stars.get() >= LIKED_MIN));
        let liked: HashSet<(u32, u32)> = liked.map(|event| (event.user, event.item)).collect();
        let mut reviewed: HashMap<u32, Vec<u32>> = HashMap::new();
        self.reviews.iter().for_each(|review| reviewed.entry(review.user).or_default().push(review.item));
        let about = |mut case: Case| {
            case.masked.extend(reviewed.get(&case.user).into_iter().flatten());
            case.masked.sort_unstable();
            case.masked.dedup();
            let masked = &case.masked;
            case.relevant.retain(|item| liked.contains(&(case.user, *item)) && masked.binary_search(item).is_err());
            case
        };
        for Group { cases, skipped, .. } in &mut task.groups {
            let (asked, unanswerable): (Vec<Case>, Vec<Case>) =
                std::mem::take(cases).into_iter().map(about).partition(|case| !case.relevant.is_empty());
            *skipped += unanswerable.len();
            *cases = asked;
        }
        task
    }
}

/// The task with a group of the same users for each beginning, as if they had just come, before all that is known of them.
pub fn with_beginnings(mut task: Task, beginnings: &[usize]) -> Task {
    let all = task.groups.pop().expect("users are not divided");
    let group = |events: &usize| {
        let name = match events {
            0 => "no event known".to_owned(),
            1 => "the first event known".to_owned(),
            events => format!("the first {events} events known"),
        };
        Group { name, cases: all.cases.iter().map(|case| case.beginning(*events)).collect(), skipped: all.skipped }
    };
    task.groups = beginnings.iter().map(group).collect();
    task.groups.push(Group { name: "all events known".to_owned(), ..all });
    task
}

fn class(stars: f32) -> Class {
    if stars >= LIKED_MIN {
        Class::Positive
    } else if stars <= DISLIKED_MAX {
        Class::Negative
    } else {
        Class::Neutral
    }
}

/// What a catalogue says of its items once these reviews are written: counted as the content service counts them.
pub fn catalogue(items: &Names, reviews: &[Review]) -> (Vec<(String, AttributeKind)>, Vec<Entry>) {
    let mut opinions = vec![Opinion::default(); items.len()];
    reviews.iter().for_each(|review| opinions[review.item as usize].add(Some(review.polarity)));
    let kinds = ["review_count", "sentiment"].map(|name| (name.to_owned(), AttributeKind::Number)).to_vec();
    let entry = |(id, opinion): (&str, &Opinion)| {
        let mut attributes = Map::new();
        if let Some(sentiment) = opinion.sentiment() {
            attributes.insert("review_count".to_owned(), json!(opinion.count));
            attributes.insert("sentiment".to_owned(), json!(sentiment));
        }
        Entry { item_id: id.to_owned(), version: 1, title: id.to_owned(), attributes, ..Entry::default() }
    };
    (kinds, items.iter().zip(&opinions).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use attune_ranking::data::{Amount, Worth};
    use attune_ranking::evaluate::{Protocol, Stage};

    use super::*;

    const SENTENCES: [Sentence; 3] = [
        Sentence { class: Class::Negative, polarity: -0.9 },
        Sentence { class: Class::Neutral, polarity: 0.1 },
        Sentence { class: Class::Positive, polarity: 0.8 },
    ];

    /// Fifty users rate forty items, item by item 1 to 5 stars.
    fn log() -> EventLog {
        let event = |(user, item): (u32, u32)| {
            let (value, time) = (Some(Amount::from((item % 5 + 1) as f32)), i64::from(user * 40 + item));
            Event { user, item, kind: 0, value, time }
        };
        let events = (0..50).flat_map(|user| (0..40).map(move |item| (user, item))).map(event).collect();
        EventLog::new(events, 50, 40, vec!["rating".into()]).unwrap()
    }

    #[test]
    fn a_tenth_becomes_reviews_that_say_what_the_stars_said_and_is_no_rating_any_more() {
        let log = log();
        let Reviewed { ratings, reviews } = Reviewed::new(&log, &SENTENCES, 1).unwrap();
        assert_eq!(ratings.events().len() + reviews.len(), log.events().len());
        // 200 expected with a deviation of 13.
        assert!((150..250).contains(&reviews.len()), "{}", reviews.len());
        for review in &reviews {
            let by_hand = [-0.9, -0.9, 0.1, 0.8, 0.8][review.item as usize % 5];
            assert_eq!(review.polarity, by_hand);
            assert!(!ratings.events().iter().any(|event| (event.user, event.item) == (review.user, review.item)));
        }
        let again = Reviewed::new(&log, &SENTENCES, 1).unwrap();
        assert_eq!(again.reviews, reviews);
        assert_ne!(Reviewed::new(&log, &SENTENCES, 2).unwrap().reviews, reviews);
        assert!(Reviewed::new(&log, &SENTENCES[..1], 1).unwrap().reviews.iter().all(|review| review.polarity < 0.0));
    }

    #[test]
    fn shuffled_reviews_are_as_many_and_say_what_others_said() {
        let reviewed = Reviewed::new(&log(), &SENTENCES, 1).unwrap();
        let shuffled = reviewed.shuffled(1);
        let of = |reviews: &[Review]| reviews.iter().map(|review| (review.user, review.item)).collect::<Vec<_>>();
        let said = |reviews: &[Review]| {
            let mut said: Vec<f64> = reviews.iter().map(|review| review.polarity).collect();
            said.sort_by(f64::total_cmp);
            said
        };
        assert_eq!((of(&shuffled), said(&shuffled)), (of(&reviewed.reviews), said(&reviewed.reviews)));
        assert_ne!(shuffled, reviewed.reviews);
    }

    #[test]
    fn what_is_asked_about_is_liked_and_was_not_reviewed() {
        let reviewed = Reviewed::new(&log(), &SENTENCES, 1).unwrap();
        let protocol = Protocol::named("user-90-10").unwrap();
        let whole = Task::new(protocol, &reviewed.ratings, &Worth::alike(), 0, Stage::Test).unwrap();
        let (asked, skipped) = (whole.groups[0].cases.len(), whole.groups[0].skipped);
        let task = with_beginnings(reviewed.about_liked(whole), &[0, 3]);
        let known = |group: &Group| group.cases.iter().map(|case| case.history().items.len()).max();
        assert_eq!(task.groups.iter().map(known).collect::<Vec<_>>()[..2], [Some(0), Some(3)]);
        assert!(task.groups.iter().all(|group| group.cases.len() == task.groups[2].cases.len()));
        let group = &task.groups[2];
        assert!(group.cases.len() + group.skipped == asked + skipped && !group.cases.is_empty());
        for case in &group.cases {
            assert!(case.relevant.iter().all(|item| item % 5 >= 3), "4 or 5 stars: {:?}", case.relevant);
            let mut theirs = reviewed.reviews.iter().filter(|review| review.user == case.user);
            assert!(theirs.all(|review| case.masked.binary_search(&review.item).is_ok()));
        }
    }

    #[test]
    fn a_catalogue_says_what_reviews_come_to() {
        let mut items = Names::default();
        for id in ["a", "b"] {
            items.row_or_new(id);
        }
        let review = |polarity| Review { user: 0, item: 0, polarity };
        let (kinds, entries) = catalogue(&items, &[review(1.0), review(0.2)]);
        assert_eq!(kinds.len(), 2);
        assert_eq!(entries[0].attributes["sentiment"], json!(1.2 / 7.0), "two, and five of 0");
        assert_eq!(entries[0].attributes["review_count"], json!(2));
        assert!(entries[1].attributes.is_empty());
    }
}
