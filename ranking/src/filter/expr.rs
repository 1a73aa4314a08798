//! A filter as a tree: what was written, before anything is known of the attributes.

/// A condition on one item. Plain data, so that it can be printed in other languages.
///
/// Two are equal if they say the same, wherever it stood in their texts.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// Any of these holds; two at least.
    Or(Vec<Expr>),
    /// All of these hold; two at least.
    And(Vec<Expr>),
    /// This does not hold.
    Not(Box<Expr>),
    /// A boolean attribute is true.
    Is(Attribute),
    /// An attribute compares so with a value.
    Compare(Attribute, Operator, Literal),
    /// An attribute equals any of these values, or any of several values of the attribute does.
    In(Attribute, Vec<Literal>),
    /// An attribute is there and equals none of these values, nor does any of several values of the attribute.
    NotIn(Attribute, Vec<Literal>),
}

/// The name of an attribute.
#[derive(Clone, Debug)]
pub struct Attribute {
    /// The name, without quotes.
    pub name: String,
    /// Where it stands.
    pub at: Position,
}

/// A value to compare with.
#[derive(Clone, Debug)]
pub struct Literal {
    /// The value.
    pub value: Scalar,
    /// Where it stands.
    pub at: Position,
}

/// What a filter can state.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A keyword, or a time.
    Text(String),
    /// A finite number, or a time in Unix seconds.
    Number(f64),
    /// True or false.
    Boolean(bool),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A place in a text. The default is its start, also for what was never in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Bytes before it.
    pub offset: usize,
    /// Number of the character, from 1.
    pub column: usize,
}

impl Default for Position {
    fn default() -> Self {
        Self { offset: 0, column: 1 }
    }
}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl From<&str> for Attribute {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), at: Position::default() }
    }
}

impl From<Scalar> for Literal {
    fn from(value: Scalar) -> Self {
        Self { value, at: Position::default() }
    }
}
