//! A crowd that we made up, since a demo has none: who is fond of which films, and what he did in the last minutes. The
//! walk says that it is made up. Everything is drawn from seeds, but for the time.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use attune_api::rest::content::BatchItem;
use attune_api::rest::tracking::EventInput;
use attune_load::random::SplitMix64;

/// A film belongs to the first of these that it has.
const TASTES: [&str; 4] = ["Animation", "Sci-Fi", "Romance", "Crime"];
/// The taste of the person whose list the walk shows.
const HERS: usize = 1;
/// Films that the people of one taste know: those of which most critics wrote, if they liked them.
const KNOWN: usize = 12;
const CRITICS_MIN: f64 = 85.0;
/// Films that somebody looks at, most of them of his taste; on every second one he clicks.
const VIEWS: usize = 6;
/// One in so many looks, after all others, at a film of another taste.
const STRAYS_ONE_IN: u64 = 4;
/// How far back the crowd's past reaches.
pub const PAST_MS: i64 = 15 * 60_000;
/// Between a look and the click that follows it.
const CLICK_AFTER_MS: i64 = 5_000;

/// The crowd, and the films as it sees them.
pub struct Crowd {
    films: HashMap<String, Film>,
    /// By taste, best known first.
    known: Vec<Vec<String>>,
}

struct Film {
    title: String,
    taste: Option<usize>,
}

/// One person of the crowd.
pub struct Person {
    /// His id.
    pub name: String,
    taste: usize,
    random: SplitMix64,
}

impl Person {
    /// One of many, each a person of his own.
    pub fn new(kind: &str, number: usize) -> Self {
        let random = SplitMix64::new(number as u64 ^ (kind.len() as u64) << 32);
        Self { name: format!("{kind}-{number}"), taste: number % TASTES.len(), random }
    }

    /// Whether one in `many` times comes up.
    pub fn one_in(&mut self, many: u64) -> bool {
        self.random.below(many) == 0
    }
}

impl Crowd {
    /// A crowd that knows these films.
    ///
    /// # Errors
    /// There are not enough films of a taste.
    pub fn of(films: &[BatchItem]) -> Result<Self> {
        let known = (0..TASTES.len()).map(|taste| known(films, taste)).collect::<Result<_>>()?;
        let film = |item: &BatchItem| (item.id.clone(), Film { title: item.title.clone(), taste: taste_of(item) });
        Ok(Self { films: films.iter().map(film).collect(), known })
    }

    /// What a film is called.
    pub fn title<'a>(&'a self, id: &'a str) -> &'a str {
        self.films.get(id).map_or(id, |film| &film.title)
    }

    /// The three films that she clicks.
    pub fn hers(&self) -> [&str; 3] {
        [0, 2, 4].map(|place| self.known[HERS][place].as_str())
    }

    /// Whether somebody would like a film.
    pub fn likes(&self, person: &Person, film: &str) -> bool {
        self.films.get(film).is_some_and(|film| film.taste == Some(person.taste))
    }

    /// What somebody did in the time before `now_ms`.
    pub fn past(&self, person: &mut Person, now_ms: i64) -> Vec<EventInput> {
        let mut events = Vec::new();
        for number in 0..VIEWS {
            // The last look may be at something else.
            let strays = number + 1 == VIEWS && person.one_in(STRAYS_ONE_IN);
            let stray = if strays { 1 + person.random.below(3) as usize } else { 0 };
            let films = &self.known[(person.taste + stray) % TASTES.len()];
            let film = &films[person.random.below(films.len() as u64) as usize];
            // The sum of two even draws: most of it in the middle.
            let half = (PAST_MS - CLICK_AFTER_MS) as u64 / 2;
            let time_ms = now_ms - PAST_MS + (person.random.below(half) + person.random.below(half)) as i64;
            let at = |kind, time_ms| EventInput { timestamp_ms: Some(time_ms), ..event(kind, &person.name, film) };
            events.push(at("view", time_ms));
            if number % 2 == 0 {
                events.push(at("click", time_ms + CLICK_AFTER_MS));
            }
        }
        events
    }
}

/// Something that somebody does with a film.
pub fn event(kind: &str, user: &str, film: &str) -> EventInput {
    EventInput {
        r#type: kind.to_owned(),
        user_id: Some(user.to_owned()),
        item_id: Some(film.to_owned()),
        ..EventInput::default()
    }
}

fn taste_of(film: &BatchItem) -> Option<usize> {
    let genres = film.attributes.get("genres")?.as_array()?;
    TASTES.iter().position(|taste| genres.iter().any(|genre| genre == taste))
}

fn known(films: &[BatchItem], taste: usize) -> Result<Vec<String>> {
    let number =
        |film: &BatchItem, name: &str| film.attributes.get(name).and_then(|value| value.as_f64()).unwrap_or(0.0);
    let is_liked = |film: &&BatchItem| taste_of(film) == Some(taste) && number(film, "critics") >= CRITICS_MIN;
    let mut liked: Vec<&BatchItem> = films.iter().filter(is_liked).collect();
    liked.sort_by(|one, two| number(two, "critic_reviews").total_cmp(&number(one, "critic_reviews")));
    ensure!(liked.len() >= KNOWN, "there are only {} films of the genre {}", liked.len(), TASTES[taste]);
    Ok(liked.into_iter().take(KNOWN).map(|film| film.id.clone()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn films() -> Vec<BatchItem> {
        let film = |number: usize| {
            let genres = [TASTES[number % 4], "Drama", TASTES[3]];
            let film = json!({"id": format!("film-{number}"), "title": format!("Film {number}"), "attributes":
                {"genres": genres, "critics": 80 + number % 20, "critic_reviews": number}});
            serde_json::from_value(film).unwrap()
        };
        (0..400).map(film).collect()
    }

    #[test]
    fn people_do_what_they_are_fond_of_within_the_time() {
        let crowd = Crowd::of(&films()).unwrap();
        for number in 0..50 {
            let mut person = Person::new("person", number);
            let events = crowd.past(&mut person, PAST_MS);
            assert!(events.iter().all(|event| (0..PAST_MS).contains(&event.timestamp_ms.unwrap())));
            let of_his_taste = |event: &&EventInput| crowd.likes(&person, event.item_id.as_deref().unwrap());
            let (views, clicks): (Vec<_>, Vec<_>) = events.iter().partition(|event| event.r#type == "view");
            assert_eq!((views.len(), clicks.len()), (VIEWS, VIEWS / 2));
            assert!(views.into_iter().filter(of_his_taste).count() >= VIEWS - 1);
            assert!(clicks.into_iter().all(|click| of_his_taste(&click)));
        }
    }

    #[test]
    fn a_catalogue_without_the_genres_is_told() {
        assert!(Crowd::of(&films()[..40]).err().unwrap().to_string().contains("Animation"));
    }
}
