//! Text into tokens, one at a time, so that the first mistake in a text is the one that is named.

use super::error::shorten;
use super::{FilterError, Operator, Position, Problem};

/// What a filter is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Text(String),
    Number(f64),
    Word(Word),
    Operator(Operator),
    Open,
    Close,
    ListOpen,
    ListClose,
    Comma,
    End,
}

/// A reserved word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    And,
    Or,
    Not,
    In,
    True,
    False,
}

impl Word {
    pub(super) fn of(text: &str) -> Option<Self> {
        Some(match text {
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            "in" => Self::In,
            "true" => Self::True,
            "false" => Self::False,
            _ => return None,
        })
    }
}

/// A token and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Lexeme<'a> {
    pub(super) token: Token,
    pub(super) at: Position,
    pub(super) text: &'a str,
}

impl Lexeme<'_> {
    /// An error for something else having been expected.
    pub(super) fn unexpected(&self, expected: &'static str) -> FilterError {
        let found = if self.token == Token::End { "the end".to_owned() } else { shorten(self.text) };
        FilterError { at: self.at, problem: Problem::Unexpected { expected, found } }
    }
}

/// Reads tokens from the front of a text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: Position,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: Position::default() }
    }

    pub(super) fn next(&mut self) -> Result<Lexeme<'a>, FilterError> {
        let rest = &self.text[self.at.offset..];
        self.advance(rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len());
        let at = self.at;
        let rest = &self.text[at.offset..];
        let (token, bytes) = scan(rest).map_err(|problem| FilterError { at, problem })?;
        self.advance(bytes);
        Ok(Lexeme { token, at, text: &rest[..bytes] })
    }

    fn advance(&mut self, bytes: usize) {
        let passed = &self.text[self.at.offset..][..bytes];
        self.at.offset += bytes;
        self.at.column += passed.chars().count();
    }
}

/// The token at the start of `rest`, and its length in bytes.
fn scan(rest: &str) -> Result<(Token, usize), Problem> {
    match rest.chars().next() {
        None => Ok((Token::End, 0)),
        Some('"') => string(rest),
        Some('`') => quoted_name(rest),
        Some('-' | '0'..='9') => number(rest),
        Some(first) if starts_identifier(first) => {
            let end = rest.find(|next| !continues_identifier(next)).unwrap_or(rest.len());
            let text = &rest[..end];
            Ok((Word::of(text).map_or_else(|| Token::Name(text.to_owned()), Token::Word), end))
        }
        Some(first) => symbol(rest, first),
    }
}

fn starts_identifier(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_'
}

fn continues_identifier(character: char) -> bool {
    starts_identifier(character) || character.is_ascii_digit() || character == '.'
}

/// Whether a name needs no quotes, unless it is reserved.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(starts_identifier) && name.chars().all(continues_identifier)
}

fn symbol(rest: &str, first: char) -> Result<(Token, usize), Problem> {
    let (start, _) = rest.split_at_checked(2).unwrap_or((rest, ""));
    let double = match start {
        "==" => Some(Operator::Equal),
        "!=" => Some(Operator::NotEqual),
        "<=" => Some(Operator::LessOrEqual),
        ">=" => Some(Operator::GreaterOrEqual),
        _ => None,
    };
    if let Some(operator) = double {
        return Ok((Token::Operator(operator), start.len()));
    }
    let token = match first {
        '<' => Token::Operator(Operator::Less),
        '>' => Token::Operator(Operator::Greater),
        '(' => Token::Open,
        ')' => Token::Close,
        '[' => Token::ListOpen,
        ']' => Token::ListClose,
        ',' => Token::Comma,
        _ => return Err(unknown(first)),
    };
    Ok((token, first.len_utf8()))
}

/// What people write who know another language.
fn unknown(first: char) -> Problem {
    let expected = match first {
        '=' => "\"==\" to compare",
        '!' => "\"!=\" to compare, or \"not\"",
        '&' => "the word \"and\"",
        '|' => "the word \"or\"",
        '\'' => "a string in double quotes",
        _ => "an attribute (in backquotes if its name is no plain word), a value or an operator",
    };
    Problem::Unexpected { expected, found: first.to_string() }
}

fn string(rest: &str) -> Result<(Token, usize), Problem> {
    let mut escaped = false;
    let closes = |(_, byte): &(usize, u8)| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    };
    let close = rest.bytes().enumerate().skip(1).find(closes);
    let (close, _) = close.ok_or(Problem::NotClosed { quote: "double quote" })?;
    let quoted = &rest[..=close];
    match serde_json::from_str(quoted) {
        Ok(text) => Ok((Token::Text(text), quoted.len())),
        Err(_) => Err(Problem::NotAString { found: shorten(quoted) }),
    }
}

fn quoted_name(rest: &str) -> Result<(Token, usize), Problem> {
    let name = rest[1..].split_once('`').ok_or(Problem::NotClosed { quote: "backquote" })?.0;
    Ok((Token::Name(name.to_owned()), name.len() + 2))
}

fn number(rest: &str) -> Result<(Token, usize), Problem> {
    let end = number_end(rest.as_bytes());
    let number = rest[..end.unwrap_or(0)].parse().ok().filter(|number: &f64| number.is_finite());
    match (number, end) {
        (Some(number), Some(end)) => Ok((Token::Number(number), end)),
        _ => {
            let word = rest.find([' ', '\t', '\r', '\n', ',', ']', ')']).unwrap_or(rest.len());
            Err(Problem::NotANumber { found: shorten(&rest[..word]) })
        }
    }
}

/// Where the number ends that the bytes start with; `None` if digits are missing.
fn number_end(bytes: &[u8]) -> Option<usize> {
    let starts = |place: usize, with: &[u8]| bytes.get(place).is_some_and(|byte| with.contains(byte));
    let digits = |from: usize| {
        let count = bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (count > 0).then_some(from + count)
    };
    let mut end = digits(usize::from(starts(0, b"-")))?;
    if starts(end, b".") {
        end = digits(end + 1)?;
    }
    if starts(end, b"eE") {
        end = digits(end + 1 + usize::from(starts(end + 1, b"+-")))?;
    }
    Some(end)
}
