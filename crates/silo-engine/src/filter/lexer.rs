//! Text to tokens.

use super::{Comparison, Fault};
use crate::value::Value;

/// A token and the character at which it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A keyword or a field's name.
    Word(String),
    /// A field's name in backticks.
    Quoted(String),
    /// A number, a string or a date.
    Value(Value),
    Comparison(Comparison),
    Symbol(char),
    End,
}

impl TokenKind {
    /// How messages call it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Quoted(name) => format!("`{name}`"),
            Self::Value(Value::Text(text)) => format!("the text {text:?}"),
            Self::Value(Value::Int(x)) => x.to_string(),
            Self::Value(Value::Float(x)) => x.to_string(),
            Self::Value(other) => other.type_name().to_owned(),
            Self::Comparison(comparison) => format!("{:?}", comparison.symbol()),
            Self::Symbol(symbol) => format!("{:?}", symbol.to_string()),
            Self::End => "the end".to_owned(),
        }
    }
}

/// All tokens; the last is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let chars: Vec<char> = text.chars().collect();
    let mut lexer = Lexer { chars: &chars, at: 0 };
    let mut tokens = Vec::new();
    loop {
        while lexer.peek().is_some_and(char::is_whitespace) {
            lexer.at += 1;
        }
        let at = lexer.at;
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { kind, at });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    chars: &'a [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn while_true(&mut self, accept: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while self.peek().is_some_and(&accept) {
            self.at += 1;
        }
        self.chars.get(start..self.at).unwrap_or_default().iter().collect()
    }

    fn token(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        let Some(first) = self.peek() else { return Ok(TokenKind::End) };
        match first {
            '(' | ')' | '[' | ']' | ',' => {
                self.at += 1;
                Ok(TokenKind::Symbol(first))
            }
            '=' | '!' | '<' | '>' => {
                let symbol = self.while_true(|c| matches!(c, '=' | '!' | '<' | '>'));
                let known = Comparison::from_symbol(&symbol).map(TokenKind::Comparison);
                known.ok_or_else(|| {
                    Fault::new(Some(start), format!("{symbol:?} is no operator; there are: = != < <= > >="))
                })
            }
            '"' | '\'' => self.string(first).map(|text| TokenKind::Value(Value::Text(text))),
            '`' => {
                self.at += 1;
                let name = self.while_true(|c| c != '`');
                match self.next() {
                    Some(_) => Ok(TokenKind::Quoted(name)),
                    None => Err(Fault::new(Some(start), "a backtick is missing at the end of the name")),
                }
            }
            _ if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') => self.number(),
            _ if first.is_alphabetic() || first == '_' => {
                Ok(TokenKind::Word(self.while_true(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))))
            }
            _ => Err(Fault::new(Some(start), format!("{:?} has no meaning here", first.to_string()))),
        }
    }

    fn string(&mut self, quote: char) -> Result<String, Fault> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                None => {
                    return Err(Fault::new(
                        Some(start),
                        format!("a {quote} is missing at the end of the text"),
                    ));
                }
                // A quote in the text is doubled.
                Some(c) if c == quote && self.peek() == Some(quote) => {
                    self.at += 1;
                    text.push(quote);
                }
                Some(c) if c == quote => return Ok(text),
                Some('\\') => text.push(match self.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(c @ ('"' | '\'' | '\\')) => c,
                    _ => {
                        let message = r#"after a backslash comes one of " ' \ n t; write \\ for a backslash"#;
                        return Err(Fault::new(Some(self.at - 1), message));
                    }
                }),
                Some(c) => text.push(c),
            }
        }
    }

    /// A number, or a date and perhaps a time.
    fn number(&mut self) -> Result<TokenKind, Fault> {
        let start = self.at;
        let text = self.while_true(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '+' | '.' | ':' | '_'));
        if let Ok(int) = text.parse::<i128>() {
            return Ok(TokenKind::Value(Value::Int(int)));
        }
        // `inf` and the like do not get here, since they start with a letter or follow a sign.
        if text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E'))
            && let Ok(float) = text.parse::<f64>()
            && float.is_finite()
        {
            return Ok(TokenKind::Value(Value::Float(float)));
        }
        match crate::time::parse_nanoseconds(&text) {
            Ok(_) => Ok(TokenKind::Value(Value::Text(text))),
            Err(_) => Err(Fault::new(
                Some(start),
                format!(
                    "{text:?} is neither a number nor a date; write 12, -1.5, 2024-01-31 or 2024-01-31T23:59:59Z"
                ),
            )),
        }
    }
}
