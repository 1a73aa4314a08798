//! A question, checked: from here on everything that it names is there.

use attune_api::analytics::{FUNNEL_STEPS, RANGE_DAYS_DEFAULT, RANGE_DAYS_MAX, Report, TOP_ITEMS};
use attune_api::error::quoted;
use attune_api::rest::Timestamp;
use attune_api::rest::analytics::{Interval, Question};
use attune_api::{ApiError, ErrorCode, FieldError};
use attune_ranking::filter::{Expr, Filter, Literal, Operator, Scalar, parse};

use crate::fields::Knows;
use crate::properties::Properties;

const DAY_MS: i64 = 24 * 3_600 * 1_000;
/// How far clocks of clients may run ahead: what is acknowledged lies at most so far behind now, and a question without
/// an end is about all that is.
const AHEAD_MS: i64 = 5 * 60 * 1_000;
/// The longest type of an event, in bytes.
const TYPE_BYTES_MAX: usize = 64;

/// A report and what it is about.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub report: Report,
    /// In Unix milliseconds.
    pub from_ms: i64,
    /// The first moment that does not count any more.
    pub to_ms: i64,
    pub filter: Option<Filter>,
    /// What its filters read besides the fields of events.
    pub properties: Properties,
    pub group_by: Vec<&'static str>,
    pub interval: Option<Interval>,
    /// Items of a `top-items`.
    pub k: usize,
    /// Of a `funnel`.
    pub steps: Vec<Step>,
}

/// A step of a funnel.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// As it was asked.
    pub name: String,
    /// The events that are one.
    pub filter: Filter,
}

/// What is wrong with a question, all of it.
#[derive(Default)]
struct Faults(Vec<FieldError>);

impl Faults {
    fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
    }

    fn none(self) -> Result<(), ApiError> {
        let Some(first) = self.0.first() else { return Ok(()) };
        Err(ApiError { fields: self.0.clone(), ..ApiError::new(ErrorCode::Invalid, first.detail.clone()) })
    }
}

impl Ask {
    /// # Errors
    /// `Invalid` with a pointer to each fault.
    pub fn check(report: Report, question: Question, now_ms: i64) -> Result<Self, ApiError> {
        let (knows, mut faults) = (Knows::of(report), Faults::default());
        let (from_ms, to_ms) = range(question.from, question.to, now_ms, &mut faults);
        let mut filters = Filters { knows, properties: Properties::default() };
        let ask = Self {
            report,
            from_ms,
            to_ms,
            filter: question.filter.as_deref().and_then(|text| filters.read(text, "/filter", &mut faults)),
            group_by: group_by(report, question.group_by, knows, &mut faults),
            interval: interval(report, question.interval, knows, &mut faults),
            k: k(report, question.k, &mut faults),
            steps: steps(report, question.steps, &mut filters, &mut faults),
            properties: filters.properties,
        };
        faults.none().map(|()| ask)
    }
}

fn range(from: Option<Timestamp>, to: Option<Timestamp>, now_ms: i64, faults: &mut Faults) -> (i64, i64) {
    let to_ms = to.map_or(now_ms + AHEAD_MS + 1, |to| to.0);
    let from_ms = from.map_or(to.map_or(now_ms, |to| to.0) - RANGE_DAYS_DEFAULT * DAY_MS, |from| from.0);
    if from_ms >= to_ms {
        faults.add(
            "/from",
            format!("`from` {} is not before `to` {}", Timestamp(from_ms).text(), Timestamp(to_ms).text()),
        );
    } else if to_ms - from_ms > RANGE_DAYS_MAX * DAY_MS + AHEAD_MS + 1 {
        let days = (to_ms - from_ms) / DAY_MS;
        faults.add("/from", format!("a question is about at most {RANGE_DAYS_MAX} days, not {days}"));
    }
    (from_ms, to_ms)
}

/// Reads the filters of a question.
struct Filters {
    knows: Knows,
    properties: Properties,
}

impl Filters {
    fn read(&mut self, text: &str, pointer: &str, faults: &mut Faults) -> Option<Filter> {
        match parse(text).map_err(|error| error.to_string()).and_then(|expr| self.check(&expr)) {
            Ok(filter) => Some(filter),
            Err(error) => {
                faults.add(pointer, format!("{error}; the fields are {}", self.knows.fields()));
                None
            }
        }
    }

    fn check(&mut self, expr: &Expr) -> Result<Filter, String> {
        if self.knows.properties {
            self.properties.note(expr)?;
        }
        let schema = self.knows.schema(&self.properties).map_err(|error| error.to_string())?;
        Filter::check(expr, &schema).map_err(|error| error.to_string())
    }
}

fn group_by(report: Report, names: Option<Vec<String>>, knows: Knows, faults: &mut Faults) -> Vec<&'static str> {
    let Some(names) = names else { return knows.group_by_default.to_vec() };
    let mut columns = Vec::with_capacity(names.len().min(knows.group_by.len()));
    for (index, name) in names.iter().enumerate().take(knows.group_by.len() + 1) {
        let pointer = format!("/group_by/{index}");
        match knows.group_by.iter().find(|known| *known == name) {
            Some(known) if columns.contains(known) => {
                faults.add(pointer, format!("{} stands there twice", quoted(name)))
            }
            Some(known) => columns.push(*known),
            None if knows.group_by.is_empty() => faults.add(pointer, format!("`{report}` takes no `group_by`")),
            None => {
                let known = knows.group_by.join("`, `");
                faults.add(pointer, format!("`{report}` cannot count by {}, only by `{known}`", quoted(name)));
            }
        }
    }
    columns
}

fn interval(report: Report, asked: Option<Interval>, knows: Knows, faults: &mut Faults) -> Option<Interval> {
    if asked.is_some() && !knows.interval {
        faults.add("/interval", format!("`{report}` is about the whole time and takes no `interval`"));
    }
    asked.or((report == Report::Timeseries).then_some(Interval::Day))
}

fn k(report: Report, asked: Option<usize>, faults: &mut Faults) -> usize {
    let (default, max) = TOP_ITEMS;
    match asked {
        None => return default,
        Some(_) if report != Report::TopItems => faults.add("/k", "`k` is of `top-items` alone"),
        Some(k) if !(1..=max).contains(&k) => faults.add("/k", format!("`k` is 1 to {max}, not {k}")),
        Some(_) => {}
    }
    asked.unwrap_or(default)
}

fn steps(report: Report, asked: Option<Vec<String>>, filters: &mut Filters, faults: &mut Faults) -> Vec<Step> {
    let (min, max) = FUNNEL_STEPS;
    match (report, asked) {
        (Report::Funnel, Some(steps)) if (min..=max).contains(&steps.len()) => {
            let step = |(index, text)| step(text, &format!("/steps/{index}"), filters, faults);
            steps.into_iter().enumerate().filter_map(step).collect()
        }
        (Report::Funnel, _) => {
            faults.add("/steps", format!("a funnel has {min} to {max} steps, each a type of event or a filter"));
            Vec::new()
        }
        (_, None) => Vec::new(),
        (_, Some(_)) => {
            faults.add("/steps", "`steps` are of `funnel` alone");
            Vec::new()
        }
    }
}

/// A step is a type, or a filter. A word alone is a type: no field is true or false, and of a property that is, it can be
/// said by `== true`.
fn step(name: String, pointer: &str, filters: &mut Filters, faults: &mut Faults) -> Option<Step> {
    let is_part = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
    let filter = if (1..=TYPE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part) {
        let of_type = Expr::Compare("type".into(), Operator::Equal, Literal::from(Scalar::Text(name.clone())));
        filters.check(&of_type).ok()?
    } else {
        filters.read(&name, pointer, faults)?
    };
    Some(Step { name, filter })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW_MS: i64 = 1_769_860_800_000;

    fn ask(report: Report, question: Value) -> Result<Ask, Vec<(String, String)>> {
        let question = serde_json::from_value(question).unwrap();
        Ask::check(report, question, NOW_MS)
            .map_err(|error| error.fields.into_iter().map(|field| (field.pointer, field.detail)).collect())
    }

    #[test]
    fn what_is_not_said_is_the_last_thirty_days() {
        let ask = ask(Report::Timeseries, json!({})).unwrap();
        assert_eq!(ask.from_ms, NOW_MS - 30 * DAY_MS);
        assert!(ask.to_ms > NOW_MS + AHEAD_MS, "clocks that run ahead are included");
        assert_eq!((ask.interval, ask.k, ask.group_by.len()), (Some(Interval::Day), 10, 0));
        let of_items = self::ask(Report::Sentiment, json!({"group_by": null})).unwrap();
        assert_eq!(of_items.group_by, ["item_id"]);
        assert!(self::ask(Report::Sentiment, json!({"group_by": []})).unwrap().group_by.is_empty());
    }

    #[test]
    fn every_fault_is_named_where_it_is() {
        let wide = json!({"from": "2020-01-01", "to": "2026-01-01"});
        for (report, question, pointer, part) in [
            (Report::Ctr, json!({"from": "2026-01-02", "to": "2026-01-02"}), "/from", "is not before"),
            (Report::Ctr, wide, "/from", "at most 400 days, not 2192"),
            (Report::Timeseries, json!({"filter": "typ == \"view\""}), "/filter", "did you mean \"type\"?"),
            (Report::Timeseries, json!({"filter": "arm == \"a\""}), "/filter", "request_id, session_id, surface"),
            (Report::Ctr, json!({"filter": "item_id <"}), "/filter", "column 10"),
            (Report::Ctr, json!({"filter": "properties.a == 1"}), "/filter", "no attribute \"properties.a\""),
            (Report::Timeseries, json!({"filter": "properties.a < \"x\""}), "/filter", "column 1"),
            (Report::Timeseries, json!({"filter": "prop.a == 1"}), "/filter", "value, properties.NAME"),
            (
                Report::Funnel,
                json!({"steps": ["properties.a == true", "properties.a == 1"]}),
                "/steps/1",
                "of one kind",
            ),
            (Report::Timeseries, json!({"group_by": ["type", "user"]}), "/group_by/1", "only by `type`, `surface`"),
            (Report::Timeseries, json!({"group_by": ["type", "type"]}), "/group_by/1", "twice"),
            (Report::Experiments, json!({"group_by": ["arm"]}), "/group_by/0", "takes no `group_by`"),
            (Report::Funnel, json!({"steps": ["a", "b"], "interval": "day"}), "/interval", "takes no `interval`"),
            (Report::Funnel, json!({}), "/steps", "2 to 10 steps"),
            (Report::Funnel, json!({"steps": ["view", "type == 1"]}), "/steps/1", "column 9"),
            (Report::Ctr, json!({"steps": ["a", "b"]}), "/steps", "of `funnel` alone"),
            (Report::TopItems, json!({"k": 0}), "/k", "1 to 1000"),
            (Report::Ctr, json!({"k": 5}), "/k", "of `top-items` alone"),
        ] {
            let faults = ask(report, question.clone()).unwrap_err();
            assert_eq!(faults.len(), 1, "{question}: {faults:?}");
            assert!(faults[0].0 == pointer && faults[0].1.contains(part), "{question}: {faults:?}");
        }
        let many = json!({"from": "2026-01-02", "to": "2026-01-01", "k": 0, "group_by": ["x"], "filter": "("});
        assert_eq!(ask(Report::TopItems, many).unwrap_err().len(), 4);
    }

    #[test]
    fn a_step_is_a_type_or_a_filter() {
        let steps = json!({"steps": ["view", "type == \"click\" and surface == \"home\""]});
        let ask = ask(Report::Funnel, steps).unwrap();
        let of_type = parse("type == \"view\"").unwrap();
        assert_eq!(
            ask.steps[0].filter,
            Filter::check(&of_type, &Knows::of(Report::Funnel).schema(&Properties::default()).unwrap()).unwrap()
        );
        assert_eq!(ask.steps.len(), 2);
    }
}
