//! The filters of the generated queries: conjunctions of simple clauses.

use anyhow::{Context, Result, bail};

/// One clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clause {
    /// A number field is one of these.
    Number(String, Vec<u32>),
    /// A text field is this.
    Text(String, String),
    /// A text field begins so.
    Prefix(String, String),
    /// A bool field.
    Bool(String, bool),
    /// A number field lies between these, both included.
    Between(String, u32, u32),
    /// Not the clause, nulls left out.
    Not(Box<Clause>),
}

struct Tokens<'a> {
    list: std::iter::Peekable<std::vec::IntoIter<&'a str>>,
}

/// Words, quoted strings with their quotes, and signs.
fn tokens(text: &str) -> Vec<&str> {
    let mut list = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
            '[' | ']' | ',' | '=' | '(' | ')' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "[],=()\"".contains(c)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(len);
        list.push(token);
        rest = after.trim_start();
    }
    list
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Result<&'a str> {
        self.list.next().context("the filter ends too early")
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        let found = self.next()?;
        if found == word { Ok(()) } else { bail!("expected {word}, found {found}") }
    }

    fn number(&mut self) -> Result<u32> {
        let word = self.next()?;
        word.parse().with_context(|| format!("{word} is no number"))
    }

    fn text(&mut self) -> Result<String> {
        Ok(self.next()?.trim_matches('"').to_owned())
    }

    fn clause(&mut self) -> Result<Clause> {
        let field = self.next()?;
        if field == "NOT" {
            return Ok(Clause::Not(Box::new(self.clause()?)));
        }
        let field = field.to_owned();
        match self.next()? {
            "=" => match *self.list.peek().context("the filter ends too early")? {
                word @ ("true" | "false") => {
                    self.next()?;
                    Ok(Clause::Bool(field, word == "true"))
                }
                word if word.starts_with('"') => Ok(Clause::Text(field, self.text()?)),
                _ => Ok(Clause::Number(field, vec![self.number()?])),
            },
            "IN" => {
                self.expect("[")?;
                let mut numbers = vec![self.number()?];
                while self.next()? == "," {
                    numbers.push(self.number()?);
                }
                Ok(Clause::Number(field, numbers))
            }
            "BETWEEN" => {
                let low = self.number()?;
                self.expect("AND")?;
                Ok(Clause::Between(field, low, self.number()?))
            }
            "STARTS" => {
                self.expect("WITH")?;
                Ok(Clause::Prefix(field, self.text()?))
            }
            other => bail!("{other} is no operator of the generated queries"),
        }
    }
}

/// The clauses of a filter.
pub fn parse(filter: &str) -> Result<Vec<Clause>> {
    let list = tokens(filter).into_iter().collect::<Vec<_>>().into_iter().peekable();
    let mut tokens = Tokens { list };
    let mut clauses = Vec::new();
    while tokens.list.peek().is_some() {
        if !clauses.is_empty() {
            tokens.expect("AND")?;
        }
        clauses.push(tokens.clause().with_context(|| format!("in filter {filter}"))?);
    }
    Ok(clauses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_filters_are_read() {
        let clauses = parse(
            "nsfwLevel IN [1, 2] AND NOT tagIds = 7 AND sortAt BETWEEN 5 AND 9 AND baseModel STARTS WITH \"SD 3\" AND poi = false",
        );
        let field = |name: &str| name.to_owned();
        let expected = vec![
            Clause::Number(field("nsfwLevel"), vec![1, 2]),
            Clause::Not(Box::new(Clause::Number(field("tagIds"), vec![7]))),
            Clause::Between(field("sortAt"), 5, 9),
            Clause::Prefix(field("baseModel"), "SD 3".into()),
            Clause::Bool(field("poi"), false),
        ];
        assert_eq!(clauses.unwrap(), expected);
        assert!(
            parse("tagIds LIKE 3").is_err() && parse("tagIds = ").is_err() && parse("a = 1 b = 2").is_err()
        );
    }
}
