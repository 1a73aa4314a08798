//! A tree against a schema: names and kinds are known from here on, and every comparison is with a set of values.

use std::ops::RangeInclusive;

use roaring::RoaringBitmap;

use super::bound::Bound;
use super::error::shorten;
use super::{Attribute, Expr, FilterError, Literal, NESTING_MAX, Operator, Position, Problem, Scalar};
use crate::attributes::{Columns, Kind, NAME_BYTES_MAX, Schema, number_key, time_from_seconds, time_from_text};

/// How deep a tree is at most. No text makes a deeper one: a level is a `not`, or parentheses with an `or` and an
/// `and`.
const DEPTH_MAX: usize = 2 * (NESTING_MAX + 1) + 1;

/// A filter that fits a schema. It can be used on all columns, also on those written under an older schema: what they
/// lack, or have as another kind, counts as absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(super) root: Node,
}

/// A condition whose attributes are known. Plain data, so that a store can make a query of its own out of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// All of these hold.
    All(Vec<Node>),
    /// Any of these holds.
    Any(Vec<Node>),
    /// This does not hold.
    Not(Box<Node>),
    /// A comparison.
    Test(Test),
}

/// An attribute is there, and has a value in a set or, if `outside`, has none in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    /// The attribute's name.
    pub attribute: String,
    /// Its kind, which the set is for.
    pub kind: Kind,
    /// What it is compared with.
    pub set: Set,
    /// Whether the values have to be outside.
    pub outside: bool,
}

/// Values that an attribute is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Set {
    /// Sorted, each once.
    Keywords(Vec<String>),
    /// Of numbers by [`number_key`] and of times in microseconds; they rise and do not overlap. The least and the
    /// greatest `i64` are no values: a range that ends there has no bound on that side.
    Keys(Vec<RangeInclusive<i64>>),
    /// Booleans.
    Flags {
        /// Whether true is in the set.
        yes: bool,
        /// Whether false is.
        no: bool,
    },
}

impl Filter {
    /// Holds a filter against a schema, and turns its values into the attributes' kinds.
    ///
    /// # Errors
    /// [`FilterError`] names the first attribute that is not there, or that is compared with what it cannot be.
    pub fn check(expr: &Expr, schema: &Schema) -> Result<Self, FilterError> {
        Ok(Self { root: node(expr, schema, 1)? })
    }

    /// What was understood, for those who ask something else than [`Columns`].
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The rows that match.
    pub fn select(&self, columns: &Columns) -> RoaringBitmap {
        self.bind(columns).select()
    }

    /// Whether a row matches; one that is not there does not. For many rows of the same columns, [`bind`](Self::bind)
    /// once.
    pub fn matches(&self, row: u32, columns: &Columns) -> bool {
        self.bind(columns).matches(row)
    }

    /// Looks up in the columns what the filter names.
    pub fn bind<'a>(&'a self, columns: &'a Columns) -> Bound<'a> {
        Bound::new(&self.root, columns)
    }
}

fn node(expr: &Expr, schema: &Schema, depth: usize) -> Result<Node, FilterError> {
    if depth > DEPTH_MAX {
        return Err(FilterError { at: Position::default(), problem: Problem::TooDeep });
    }
    match expr {
        Expr::Or(parts) => Ok(Node::Any(nodes(parts, schema, depth)?)),
        Expr::And(parts) => Ok(Node::All(nodes(parts, schema, depth)?)),
        Expr::Not(part) => Ok(Node::Not(Box::new(node(part, schema, depth + 1)?))),
        Expr::Is(attribute) => is(Named::find(attribute, schema)?),
        Expr::Compare(attribute, operator, literal) => Named::find(attribute, schema)?.compare(*operator, literal),
        Expr::In(attribute, literals) => Named::find(attribute, schema)?.members(literals, false),
        Expr::NotIn(attribute, literals) => Named::find(attribute, schema)?.members(literals, true),
    }
}

fn nodes(parts: &[Expr], schema: &Schema, depth: usize) -> Result<Vec<Node>, FilterError> {
    if parts.len() < 2 {
        return Err(FilterError { at: Position::default(), problem: Problem::NothingToJoin });
    }
    parts.iter().map(|part| node(part, schema, depth + 1)).collect()
}

fn is(attribute: Named<'_>) -> Result<Node, FilterError> {
    match attribute.kind {
        Kind::Boolean => Ok(attribute.test(Set::Flags { yes: true, no: false }, false)),
        kind => Err(attribute.error(Problem::NotBoolean { name: attribute.name(), kind })),
    }
}

/// An attribute of the filter that the schema has.
#[derive(Clone, Copy)]
struct Named<'a> {
    attribute: &'a Attribute,
    kind: Kind,
}

impl<'a> Named<'a> {
    fn find(attribute: &'a Attribute, schema: &Schema) -> Result<Self, FilterError> {
        match schema.kind(&attribute.name) {
            Some(kind) => Ok(Self { attribute, kind }),
            None => {
                let problem =
                    Problem::Unknown { name: shorten(&attribute.name), nearest: nearest(&attribute.name, schema) };
                Err(FilterError { at: attribute.at, problem })
            }
        }
    }

    fn compare(self, operator: Operator, literal: &Literal) -> Result<Node, FilterError> {
        match operator {
            Operator::Equal => return self.members(std::slice::from_ref(literal), false),
            Operator::NotEqual => return self.members(std::slice::from_ref(literal), true),
            _ if !matches!(self.kind, Kind::Number | Kind::Time) => {
                return Err(self.error(Problem::NoOrder { name: self.name(), kind: self.kind }));
            }
            _ => {}
        }
        let range = keys_that_are(operator, self.key(literal)?);
        Ok(self.test(Set::Keys(range.into_iter().collect()), false))
    }

    /// A test for the values of a list.
    fn members(self, literals: &[Literal], outside: bool) -> Result<Node, FilterError> {
        let set = match self.kind {
            Kind::Keyword | Kind::KeywordList => Set::Keywords(self.distinct(literals, Self::keyword)?),
            Kind::Number | Kind::Time => {
                let keys = self.distinct(literals, Self::key)?;
                Set::Keys(keys.into_iter().map(|key| key..=key).collect())
            }
            Kind::Boolean => {
                let flags = self.distinct(literals, Self::flag)?;
                Set::Flags { yes: flags.contains(&true), no: flags.contains(&false) }
            }
        };
        Ok(self.test(set, outside))
    }

    /// The values of literals, sorted, each once.
    fn distinct<T: Ord>(
        self,
        literals: &[Literal],
        value: fn(Self, &Literal) -> Result<T, FilterError>,
    ) -> Result<Vec<T>, FilterError> {
        let mut values =
            literals.iter().map(|literal| value(self, literal)).collect::<Result<Vec<T>, FilterError>>()?;
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }

    fn keyword(self, literal: &Literal) -> Result<String, FilterError> {
        match &literal.value {
            Scalar::Text(text) => Ok(text.clone()),
            _ => Err(self.wrong_value(literal)),
        }
    }

    fn flag(self, literal: &Literal) -> Result<bool, FilterError> {
        match literal.value {
            Scalar::Boolean(flag) => Ok(flag),
            _ => Err(self.wrong_value(literal)),
        }
    }

    /// The key of a number or time.
    fn key(self, literal: &Literal) -> Result<i64, FilterError> {
        let key = match (self.kind, &literal.value) {
            (Kind::Number, Scalar::Number(number)) => number.is_finite().then(|| number_key(*number)),
            (Kind::Time, Scalar::Number(seconds)) => time_from_seconds(*seconds),
            (Kind::Time, Scalar::Text(text)) => time_from_text(text),
            _ => None,
        };
        key.ok_or_else(|| self.wrong_value(literal))
    }

    fn test(self, set: Set, outside: bool) -> Node {
        Node::Test(Test { attribute: self.attribute.name.clone(), kind: self.kind, set, outside })
    }

    fn name(self) -> String {
        self.attribute.name.clone()
    }

    fn error(self, problem: Problem) -> FilterError {
        FilterError { at: self.attribute.at, problem }
    }

    fn wrong_value(self, literal: &Literal) -> FilterError {
        let needed = match self.kind {
            Kind::Keyword | Kind::KeywordList => "a string",
            Kind::Number => "a number",
            Kind::Boolean => "true or false",
            Kind::Time => "a time like \"2026-01-31T12:00:00Z\" or Unix seconds, of the years 0 to 9999",
        };
        let found = shorten(&literal.to_string());
        let problem = Problem::WrongValue { name: self.name(), kind: self.kind, needed, found };
        FilterError { at: literal.at, problem }
    }
}

/// The keys that compare so with `key`; `None` if there are none.
fn keys_that_are(operator: Operator, key: i64) -> Option<RangeInclusive<i64>> {
    match operator {
        Operator::Less => key.checked_sub(1).map(|end| i64::MIN..=end),
        Operator::LessOrEqual => Some(i64::MIN..=key),
        Operator::Greater => key.checked_add(1).map(|start| start..=i64::MAX),
        Operator::GreaterOrEqual => Some(key..=i64::MAX),
        Operator::Equal | Operator::NotEqual => Some(key..=key),
    }
}

/// A known name that differs in no more than a third of the characters of `name`.
fn nearest(name: &str, schema: &Schema) -> Option<String> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let distances = schema.iter().map(|(known, _)| (strsim::osa_distance(name, known), known));
    let (distance, known) = distances.min()?;
    (distance <= name.chars().count().div_ceil(3)).then(|| known.to_owned())
}
