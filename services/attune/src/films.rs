//! The demo's catalogue: 17,472 films from Wikidata (CC0), as `attune models pull films` fetches them.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use attune_api::rest::content::BatchItem;
use serde_json::{Map, Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{ConnectOptions, Row};

use crate::config::Config;
use crate::models;

/// The film's own data, and beside it how many critics wrote of it and what share of them liked it.
const QUERY: &str = "SELECT o.ID, o.Title, o.Year, o.Runtime, o.Genre, o.Director, o.\"Cast\", o.Language, o.Country, \
     t.Meter, t.Reviews FROM omdb o LEFT JOIN tomatoes t ON t.ID = o.ID WHERE o.Title <> '' ORDER BY o.ID";
/// Of the cast, as many are kept.
const CAST_MAX: usize = 10;

/// The file that the package holds.
pub fn path(config: &Config) -> PathBuf {
    models::folder(&config.data, "films").join("movies.db")
}

/// Reads the films, as items.
///
/// # Errors
/// The films are not there.
pub async fn read(films: &Path) -> Result<Vec<BatchItem>> {
    let missing = || format!("{} cannot be read: `attune models pull films` fetches it", films.display());
    // Immutable: SQLite is to make no files of its own beside one that is verified by its hash.
    let options = SqliteConnectOptions::new().filename(films).read_only(true).immutable(true);
    let mut connection = options.connect().await.with_context(missing)?;
    let rows = sqlx::query(QUERY).fetch_all(&mut connection).await.with_context(missing)?;
    rows.iter().map(item).collect()
}

fn item(row: &SqliteRow) -> Result<BatchItem> {
    let list = |column: &str| -> Result<Vec<String>> {
        let text: Option<String> = row.try_get(column)?;
        let parts = text.unwrap_or_default();
        Ok(parts.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    };
    let (genres, directors, countries) = (list("Genre")?, list("Director")?, list("Country")?);
    let cast: Vec<String> = list("Cast")?.into_iter().take(CAST_MAX).collect();
    let number = |column: &str| row.try_get::<Option<i64>, _>(column);
    let (year, meter, reviews) = (number("Year")?, number("Meter")?, number("Reviews")?);
    let minutes: Option<f64> = row.try_get("Runtime")?;
    let lists = [
        ("genres", genres.clone()),
        ("directors", directors.clone()),
        ("countries", countries.clone()),
        ("languages", list("Language")?),
        ("cast", cast),
    ];
    let numbers = [
        ("year", year.map(Value::from)),
        ("critics", meter.map(Value::from)),
        ("critic_reviews", reviews.map(Value::from)),
        ("minutes", minutes.map(Value::from)),
    ];
    let lists = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(name, list)| (name, json!(list)));
    let numbers = numbers.into_iter().filter_map(|(name, number)| Some((name, number?)));
    let attributes: Map<String, Value> = lists.chain(numbers).map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(BatchItem {
        id: format!("film-{}", row.try_get::<i64, _>("ID")?),
        title: row.try_get("Title")?,
        text: Some(sentence(&genres, &countries, year, &directors)).filter(|text| !text.is_empty()),
        attributes,
        hidden: false,
        published_at: None,
        expires_at: None,
    })
}

/// What is known of a film in a line: the data has no descriptions, and a few words are what an embedding needs at least.
fn sentence(genres: &[String], countries: &[String], year: Option<i64>, directors: &[String]) -> String {
    let mut line = genres.join(", ");
    if !genres.is_empty() {
        line.push_str(" film");
    }
    let parts = [
        ("from", (!countries.is_empty()).then(|| countries.join(", "))),
        ("of", year.map(|year| year.to_string())),
        ("by", (!directors.is_empty()).then(|| directors.join(", "))),
    ];
    for (word, what) in parts {
        if let Some(what) = what {
            line.push_str(if line.is_empty() { "Film " } else { " " });
            line.push_str(&format!("{word} {what}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_film_is_told_in_a_line() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let told = sentence(&list(&["Drama", "Crime"]), &list(&["Belgium", "France"]), Some(2011), &list(&["A. B."]));
        assert_eq!(told, "Drama, Crime film from Belgium, France of 2011 by A. B.");
        assert_eq!(sentence(&[], &[], Some(2011), &[]), "Film of 2011");
        assert_eq!(sentence(&[], &[], None, &[]), "");
    }
}
