//! Tokens into a tree: one function for each line of the grammar, and a count for each bound.

use super::lex::{Lexeme, Lexer, Token, Word};
use super::{
    Attribute, Expr, FilterError, Literal, NESTING_MAX, NODES_MAX, Position, Problem, Scalar, TEXT_BYTES_MAX,
    VALUES_MAX,
};

/// Reads a filter.
///
/// # Errors
/// [`FilterError`] says where the text stops being one, and what was expected there.
///
/// ```
/// use attune_ranking::filter::parse;
///
/// let expr = parse("price<20 and(not hidden)")?;
/// assert_eq!(expr.to_string(), "price < 20 and not hidden");
/// let error = parse("price < twenty").unwrap_err();
/// assert_eq!(error.at.column, 9);
/// # Ok::<(), attune_ranking::filter::FilterError>(())
/// ```
pub fn parse(text: &str) -> Result<Expr, FilterError> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = Problem::TooLong { bytes: text.len() };
        return Err(FilterError { at: Position::default(), problem });
    }
    let mut lexer = Lexer::new(text);
    let next = lexer.next()?;
    let mut parser = Parser { lexer, next, nesting: 0, nodes: 0, values: 0 };
    let expr = parser.or()?;
    match parser.next.token {
        Token::End => Ok(expr),
        _ => Err(parser.next.unexpected("an operator, \"and\", \"or\" or the end")),
    }
}

/// A text being read.
struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The first token not yet read.
    next: Lexeme<'a>,
    nesting: usize,
    nodes: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    fn or(&mut self) -> Result<Expr, FilterError> {
        self.chain(Word::Or, Expr::Or, Self::and)
    }

    fn and(&mut self) -> Result<Expr, FilterError> {
        self.chain(Word::And, Expr::And, Self::not)
    }

    /// Parts with a word between them; a single part is itself.
    fn chain(
        &mut self,
        word: Word,
        join: fn(Vec<Expr>) -> Expr,
        part: fn(&mut Self) -> Result<Expr, FilterError>,
    ) -> Result<Expr, FilterError> {
        let first = part(self)?;
        if self.next.token != Token::Word(word) {
            return Ok(first);
        }
        self.node()?;
        let mut parts = vec![first];
        while self.next.token == Token::Word(word) {
            self.advance()?;
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn not(&mut self) -> Result<Expr, FilterError> {
        if self.next.token != Token::Word(Word::Not) {
            return self.condition();
        }
        self.node()?;
        Ok(Expr::Not(Box::new(self.nested(Self::not)?)))
    }

    fn condition(&mut self) -> Result<Expr, FilterError> {
        if self.next.token != Token::Open {
            return self.comparison();
        }
        let inner = self.nested(Self::or)?;
        match self.next.token {
            Token::Close => self.advance()?,
            _ => return Err(self.next.unexpected("an operator, \"and\", \"or\" or \")\"")),
        };
        Ok(inner)
    }

    /// Reads what follows the next token one level deeper.
    fn nested(&mut self, part: fn(&mut Self) -> Result<Expr, FilterError>) -> Result<Expr, FilterError> {
        if self.nesting == NESTING_MAX {
            return Err(FilterError { at: self.next.at, problem: Problem::TooDeep });
        }
        self.advance()?;
        self.nesting += 1;
        let expr = part(self)?;
        self.nesting -= 1;
        Ok(expr)
    }

    fn comparison(&mut self) -> Result<Expr, FilterError> {
        let Token::Name(name) = &self.next.token else {
            return Err(self.next.unexpected("an attribute, \"not\" or \"(\""));
        };
        let attribute = Attribute { name: name.clone(), at: self.next.at };
        self.node()?;
        self.advance()?;
        match self.next.token {
            Token::Operator(operator) => {
                self.advance()?;
                Ok(Expr::Compare(attribute, operator, self.literal()?))
            }
            Token::Word(Word::In) => Ok(Expr::In(attribute, self.list()?)),
            Token::Word(Word::Not) => {
                self.advance()?;
                match self.next.token {
                    Token::Word(Word::In) => Ok(Expr::NotIn(attribute, self.list()?)),
                    _ => Err(self.next.unexpected("\"in\", since \"not\" follows an attribute")),
                }
            }
            _ => Ok(Expr::Is(attribute)),
        }
    }

    /// A list of values, after the word before it.
    fn list(&mut self) -> Result<Vec<Literal>, FilterError> {
        self.advance()?;
        if self.next.token != Token::ListOpen {
            return Err(self.next.unexpected("a list of values in \"[\" and \"]\""));
        }
        self.advance()?;
        let mut literals = Vec::new();
        while self.next.token != Token::ListClose {
            if self.values == VALUES_MAX {
                return Err(FilterError { at: self.next.at, problem: Problem::TooManyValues });
            }
            self.values += 1;
            literals.push(self.literal()?);
            match self.next.token {
                Token::Comma => self.comma()?,
                Token::ListClose => {}
                _ => return Err(self.next.unexpected("\",\" or \"]\"")),
            }
        }
        self.advance()?;
        Ok(literals)
    }

    /// A comma is followed by a value.
    fn comma(&mut self) -> Result<(), FilterError> {
        self.advance()?;
        match self.next.token {
            Token::ListClose => Err(self.next.unexpected("a value after the comma")),
            _ => Ok(()),
        }
    }

    fn literal(&mut self) -> Result<Literal, FilterError> {
        let value = match &self.next.token {
            Token::Text(text) => Scalar::Text(text.clone()),
            Token::Number(number) => Scalar::Number(*number),
            Token::Word(Word::True) => Scalar::Boolean(true),
            Token::Word(Word::False) => Scalar::Boolean(false),
            _ => return Err(self.next.unexpected("a string in double quotes, a number, true or false")),
        };
        Ok(Literal { value, at: self.advance()?.at })
    }

    /// Counts a node that starts with the next token.
    fn node(&mut self) -> Result<(), FilterError> {
        if self.nodes == NODES_MAX {
            return Err(FilterError { at: self.next.at, problem: Problem::TooManyNodes });
        }
        self.nodes += 1;
        Ok(())
    }

    /// Goes to the token after the next, and returns that one.
    fn advance(&mut self) -> Result<Lexeme<'a>, FilterError> {
        let following = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.next, following))
    }
}
