//! Tokens to a tree.
//!
//! ```text
//! or    := and ("OR" and)*
//! and   := not ("AND" not)*
//! not   := "NOT" not | "(" or ")" | test
//! test  := field ( op value | ["NOT"] "IN" list | ["NOT"] "BETWEEN" value "AND" value
//!                | ["NOT"] "STARTS" "WITH" text | "IS" ["NOT"] ("NULL" | "EMPTY") )
//! list  := "[" [value ("," value)*] "]", or in parentheses
//! value := number | text | date | "TRUE" | "FALSE"
//! field := word | word in backticks
//! ```

use super::lexer::{Token, TokenKind, tokens};
use super::{Condition, Fault, Literal, Name, Node};
use crate::value::Value;

/// Deepest nesting of a filter.
pub(super) const MAX_DEPTH: usize = 100;

const KEYWORDS: [&str; 12] =
    ["and", "or", "not", "in", "between", "starts", "with", "is", "null", "empty", "true", "false"];

/// Whether a name can be written without backticks.
pub(super) fn is_plain_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
        && !KEYWORDS.contains(&name.to_ascii_lowercase().as_str())
}

pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0, depth: 0 };
    if parser.kind() == &TokenKind::End {
        return Ok(Node::And(Vec::new()));
    }
    let node = parser.or()?;
    match parser.kind() {
        TokenKind::End => Ok(node),
        TokenKind::Symbol(')') => Err(parser.fail("a parenthesis is closed that was not opened")),
        _ => Err(parser.expected("AND, OR or the end")),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn kind(&self) -> &'a TokenKind {
        self.tokens.get(self.at).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn place(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(0, |token| token.at)
    }

    fn fail(&self, message: impl Into<String>) -> Fault {
        Fault::new(Some(self.place()), message)
    }

    fn expected(&self, what: &str) -> Fault {
        self.fail(format!("expected {what}, found {}", self.kind().describe()))
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        let found = matches!(self.kind(), TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let found = self.kind() == &TokenKind::Symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn deeper(&mut self) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.fail(format!("more than {MAX_DEPTH} levels of nesting")));
        }
        Ok(())
    }

    fn or(&mut self) -> Result<Node, Fault> {
        let first = self.and()?;
        let mut parts = vec![first];
        while self.keyword("or") {
            parts.push(self.and()?);
        }
        Ok(only(parts).unwrap_or_else(Node::Or))
    }

    fn and(&mut self) -> Result<Node, Fault> {
        let first = self.not()?;
        let mut parts = vec![first];
        while self.keyword("and") {
            parts.push(self.not()?);
        }
        Ok(only(parts).unwrap_or_else(Node::And))
    }

    fn not(&mut self) -> Result<Node, Fault> {
        if self.keyword("not") {
            self.deeper()?;
            let node = self.not()?;
            self.depth -= 1;
            return Ok(negation(node));
        }
        if self.symbol('(') {
            self.deeper()?;
            let node = self.or()?;
            self.depth -= 1;
            if !self.symbol(')') {
                return Err(self.expected("AND, OR or \")\""));
            }
            return Ok(node);
        }
        self.test()
    }

    fn test(&mut self) -> Result<Node, Fault> {
        let at = Some(self.place());
        let name = match self.kind() {
            TokenKind::Quoted(name) => name.clone(),
            TokenKind::Word(word) if !KEYWORDS.contains(&word.to_ascii_lowercase().as_str()) => word.clone(),
            _ => return Err(self.expected("a field")),
        };
        self.at += 1;
        let field = Name { name, at };
        if let TokenKind::Comparison(comparison) = self.kind() {
            self.at += 1;
            let test = Condition::Compare(*comparison, self.value()?);
            return Ok(Node::Test { field, test });
        }
        if self.keyword("is") {
            let negated = self.keyword("not");
            let test = if self.keyword("null") {
                Condition::IsNull
            } else if self.keyword("empty") {
                Condition::IsEmpty
            } else {
                return Err(self.expected("NULL, NOT NULL, EMPTY or NOT EMPTY"));
            };
            return Ok(negate_if(negated, Node::Test { field, test }));
        }
        let negated = self.keyword("not");
        let test = if self.keyword("in") {
            self.list()?
        } else if self.keyword("between") {
            let low = self.value()?;
            if !self.keyword("and") {
                return Err(self.expected("AND between the bounds"));
            }
            Condition::Between(low, self.value()?)
        } else if self.keyword("starts") {
            if !self.keyword("with") {
                return Err(self.expected("WITH"));
            }
            Condition::StartsWith(self.value()?)
        } else {
            return Err(self.expected(
                "an operator: = != < <= > >= IN, NOT IN, BETWEEN, STARTS WITH, IS NULL, IS EMPTY",
            ));
        };
        Ok(negate_if(negated, Node::Test { field, test }))
    }

    fn list(&mut self) -> Result<Condition, Fault> {
        let close = if self.symbol('[') {
            ']'
        } else if self.symbol('(') {
            ')'
        } else {
            return Err(self.expected("a list in brackets"));
        };
        let mut values = Vec::new();
        if self.symbol(close) {
            return Ok(Condition::In(values));
        }
        loop {
            values.push(self.value()?);
            if self.symbol(close) {
                return Ok(Condition::In(values));
            }
            if !self.symbol(',') {
                return Err(self.expected(&format!("\",\" or \"{close}\"")));
            }
        }
    }

    fn value(&mut self) -> Result<Literal, Fault> {
        let at = Some(self.place());
        let value = match self.kind() {
            TokenKind::Value(value) => value.clone(),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            TokenKind::Word(word) if word.eq_ignore_ascii_case("null") => {
                return Err(self.fail("nothing equals null: write IS NULL or IS NOT NULL"));
            }
            TokenKind::Word(word) => {
                return Err(
                    self.fail(format!("expected a value, found {word:?}; text is written \"{word}\""))
                );
            }
            _ => return Err(self.expected("a value")),
        };
        self.at += 1;
        Ok(Literal { value, at })
    }
}

/// The only part there is, or all of them.
fn only(mut parts: Vec<Node>) -> Result<Node, Vec<Node>> {
    match parts.pop() {
        Some(one) if parts.is_empty() => Ok(one),
        Some(last) => {
            parts.push(last);
            Err(parts)
        }
        None => Err(parts),
    }
}

fn negation(node: Node) -> Node {
    Node::Not(Box::new(node))
}

fn negate_if(negated: bool, node: Node) -> Node {
    if negated { negation(node) } else { node }
}
