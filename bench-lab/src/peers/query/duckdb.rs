//! `DuckDB`, in a process of Python (`scripts/peers_duckdb.py`), which times its queries itself.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::filter::Clause;
use super::{Answer, Query};

/// The process.
pub(super) struct DuckDb {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

#[derive(Deserialize)]
struct Reply {
    rows: Vec<Vec<serde_json::Value>>,
    nanoseconds: u64,
}

impl DuckDb {
    /// Loads `images.parquet` and `tags.parquet` of a directory.
    pub(super) fn open(python: &Path, dir: &Path, threads: usize) -> Result<Self> {
        let mut child = Command::new(python)
            .arg("scripts/peers_duckdb.py")
            .arg(dir)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("starting {}; scripts/install-peers.sh installs DuckDB", python.display())
            })?;
        let requests = child.stdin.take().context("the process has no standard input")?;
        let replies = BufReader::new(child.stdout.take().context("the process has no standard output")?);
        let mut this = Self { child, requests, replies };
        this.reply().context("DuckDB did not load the workload")?;
        Ok(this)
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            bail!("the process of DuckDB has ended; its message is above");
        }
        Ok(serde_json::from_str(&line)?)
    }

    /// Answers a query and says how long it took inside the process.
    pub(super) fn answer(&mut self, query: &Query) -> Result<(Answer, Duration)> {
        writeln!(self.requests, "{}", serde_json::to_string(&sql(query)?)?)?;
        self.requests.flush()?;
        let reply = self.reply()?;
        let number = |row: &Vec<serde_json::Value>, at: usize| {
            row.get(at).and_then(serde_json::Value::as_u64).unwrap_or(0)
        };
        let mut answer = Answer::default();
        if query.count {
            answer.total = reply.rows.first().map(|row| number(row, 0));
        } else if query.facet {
            let name = |row: &Vec<serde_json::Value>| {
                row.first().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
            };
            answer.facets = reply.rows.iter().map(|row| (name(row), number(row, 1))).collect();
        } else {
            answer.ids = reply.rows.iter().map(|row| number(row, 0) as u32).collect();
        }
        Ok((answer, Duration::from_nanos(reply.nanoseconds)))
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn condition(clause: &Clause) -> String {
    match clause {
        // The pairs are sorted by tag, so that zone maps leave a few row groups to read.
        Clause::Number(field, tags) if field == "tagIds" => {
            format!("imageId IN (SELECT imageId FROM tags WHERE tagId IN ({}))", list(tags))
        }
        Clause::Number(field, numbers) => format!("{field} IN ({})", list(numbers)),
        Clause::Text(field, text) => format!("{field} = '{text}'"),
        Clause::Prefix(field, text) => format!("starts_with({field}, '{text}')"),
        Clause::Bool(field, set) => format!("{field} = {set}"),
        Clause::Between(field, low, high) => format!("{field} BETWEEN {low} AND {high}"),
        Clause::Not(clause) => format!("NOT ({})", condition(clause)),
    }
}

/// The query in SQL.
fn sql(query: &Query) -> Result<String> {
    let conditions: Vec<String> = query.clauses.iter().map(condition).collect();
    let filter = if conditions.is_empty() { "true".to_owned() } else { conditions.join(" AND ") };
    if query.count {
        return Ok(format!("SELECT count(*) FROM images WHERE {filter}"));
    }
    if query.facet {
        return Ok(format!(
            "SELECT baseModel, count(*) FROM images WHERE {filter} AND baseModel IS NOT NULL GROUP BY baseModel"
        ));
    }
    let (field, descending) = query.sort.as_ref().context("pages of the workload are sorted")?;
    let direction = if *descending { "DESC" } else { "ASC" };
    let (limit, offset) = (query.limit, query.offset);
    Ok(format!(
        "SELECT imageId FROM images WHERE {filter} ORDER BY {field} {direction}, imageId {direction} LIMIT {limit} OFFSET {offset}"
    ))
}
