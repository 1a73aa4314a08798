//! Filters as text. What [`parse`](super::parse) made is printed so that it makes the same again, as long as the text
//! keeps to its bound: spaces are added.

use std::fmt::{Display, Formatter, Result, Write};

use super::lex::{Word, is_identifier};
use super::{Attribute, Expr, Literal, Operator, Scalar};

/// From here on, and below one over it, a number is shorter with an exponent.
const PLAIN_MAX: f64 = 1e15;

impl Display for Expr {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Or(parts) => chain(out, parts, " or ", |part| matches!(part, Self::Or(_))),
            Self::And(parts) => chain(out, parts, " and ", is_chain),
            Self::Not(part) => {
                out.write_str("not ")?;
                operand(out, part, is_chain(part))
            }
            Self::Is(attribute) => write!(out, "{attribute}"),
            Self::Compare(attribute, operator, literal) => write!(out, "{attribute} {operator} {literal}"),
            Self::In(attribute, literals) => list(out, attribute, "in", literals),
            Self::NotIn(attribute, literals) => list(out, attribute, "not in", literals),
        }
    }
}

fn is_chain(part: &Expr) -> bool {
    matches!(part, Expr::Or(_) | Expr::And(_))
}

fn chain(out: &mut Formatter<'_>, parts: &[Expr], word: &str, in_parentheses: fn(&Expr) -> bool) -> Result {
    for (index, part) in parts.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { word })?;
        operand(out, part, in_parentheses(part))?;
    }
    Ok(())
}

fn operand(out: &mut Formatter<'_>, part: &Expr, in_parentheses: bool) -> Result {
    if in_parentheses { write!(out, "({part})") } else { write!(out, "{part}") }
}

fn list(out: &mut Formatter<'_>, attribute: &Attribute, word: &str, literals: &[Literal]) -> Result {
    write!(out, "{attribute} {word} [")?;
    for (index, literal) in literals.iter().enumerate() {
        out.write_str(if index == 0 { "" } else { ", " })?;
        write!(out, "{literal}")?;
    }
    out.write_char(']')
}

impl Display for Attribute {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        let plain = is_identifier(&self.name) && Word::of(&self.name).is_none();
        if plain { out.write_str(&self.name) } else { write!(out, "`{}`", self.name) }
    }
}

impl Display for Literal {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        write!(out, "{}", self.value)
    }
}

impl Display for Scalar {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        match self {
            Self::Text(text) => write!(out, "{}", serde_json::Value::from(text.as_str())),
            Self::Number(number) => {
                let plain = *number == 0.0 || (1.0 / PLAIN_MAX..PLAIN_MAX).contains(&number.abs());
                if plain { write!(out, "{number}") } else { write!(out, "{number:e}") }
            }
            Self::Boolean(value) => write!(out, "{value}"),
        }
    }
}

impl Display for Operator {
    fn fmt(&self, out: &mut Formatter<'_>) -> Result {
        out.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        })
    }
}
