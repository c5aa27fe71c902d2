//! `silo demo`: the commands of this program, at work on real flights.

mod script;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;
use silo_engine::Engine;

use super::{load, query};
use crate::args::{Cli, DemoArgs, LoadArgs, QueryArgs, Verb};
use crate::failure::{Failure, Result};
use crate::output::human;

/// Runs of a query, of which the median time is told.
const RUNS: usize = 21;

/// What is loaded, as it lies in the folder of data sets.
const FILES: [(&str, &[u8]); 4] = [
    ("flights.csv.zst", include_bytes!("../../../../../datasets/nycflights13/flights.csv.zst")),
    ("planes.csv.zst", include_bytes!("../../../../../datasets/nycflights13/planes.csv.zst")),
    ("weather.csv.zst", include_bytes!("../../../../../datasets/nycflights13/weather.csv.zst")),
    ("flights.toml", include_bytes!("flights.toml")),
];

pub(super) fn run(args: &DemoArgs) -> Result<()> {
    let folder = tempfile::tempdir()
        .map_err(|error| Failure::failed(format!("cannot make a temporary folder: {error}")))?;
    for (name, bytes) in FILES {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).map_err(Failure::file("write", &path))?;
    }
    let kept = args.dir.as_deref().map(std::path::absolute).transpose();
    let kept = kept.map_err(|error| Failure::failed(format!("cannot tell where --dir is: {error}")))?;
    let show = Show {
        shown: args.dir.clone().unwrap_or_else(|| PathBuf::from("flights.silo")),
        dir: kept.unwrap_or_else(|| folder.path().join("flights.silo")),
        folder: folder.path(),
        styled: std::io::stdout().is_terminal(),
        threads: args.threads,
    };
    show.play(args.dir.is_some())
}

/// The demonstration.
struct Show<'a> {
    /// The silo, as it is named in what is printed, and where it is.
    shown: PathBuf,
    dir: PathBuf,
    /// Where the files are.
    folder: &'a Path,
    /// Whether commands are set in bold.
    styled: bool,
    threads: Option<u16>,
}

impl Show<'_> {
    fn play(&self, kept: bool) -> Result<()> {
        say("All flights that left New York in 2013, with their planes and the wind of the hour.\n")?;
        self.load()?;

        say("\nFilter, sort, page, count. Times are the median of 21 runs, results are not cached.")?;
        let engine = self.open()?;
        for (about, words) in script::QUERIES {
            self.query(&engine, about, words)?;
        }
        drop(engine);

        say("\nUpdate and delete: records and indexes change together, or not at all.\n")?;
        std::fs::write(self.folder.join("changes.ndjson"), script::CHANGES)
            .map_err(Failure::file("write", self.folder))?;
        let mut changes = script::CHANGES.lines();
        say(&format!("  changes.ndjson:\n    {}\n", changes.by_ref().collect::<Vec<_>>().join("\n    ")))?;
        for words in script::UPDATES {
            self.command(words)?;
        }

        let started = Instant::now();
        let engine = self.open()?;
        say(&format!("\nOpened again in {}. The same questions now:", human::duration(started.elapsed())))?;
        for (about, words) in script::QUERIES_AGAIN {
            self.query(&engine, about, words)?;
        }
        drop(engine);
        say("")?;
        self.command(script::CHECK)?;
        self.next(kept)
    }

    fn load(&self) -> Result<()> {
        let Verb::Load(mut args) = self.parse(script::LOAD)? else { return Ok(()) };
        let LoadArgs { files, schema, joins, threads, .. } = &mut args;
        let paths = files.iter_mut().chain(schema).chain(joins.iter_mut().map(|join| &mut join.file));
        for path in paths {
            *path = self.folder.join(&*path);
        }
        *threads = self.threads;
        self.prompt(script::LOAD)?;
        load::run(&args)
    }

    /// A query, timed.
    fn query(&self, engine: &Engine, about: &str, words: &[&str]) -> Result<()> {
        let Verb::Query(args) = self.parse(words)? else { return Ok(()) };
        say(&format!("\n{about}"))?;
        self.prompt(words)?;
        answer(engine, &args)
    }

    /// Any other command.
    fn command(&self, words: &[&str]) -> Result<()> {
        let mut verb = self.parse(words)?;
        if let Verb::Put(args) = &mut verb {
            args.file = self.folder.join(&args.file);
        }
        self.prompt(words)?;
        super::run(&verb)
    }

    fn open(&self) -> Result<Engine> {
        Ok(Engine::open_read_only(&self.dir)?)
    }

    /// What words mean as a command line, with the silo where it is.
    fn parse(&self, words: &[&str]) -> Result<Verb> {
        let silo = self.dir.as_os_str();
        let words = words
            .iter()
            .map(|word| if *word == script::SILO { silo.to_owned() } else { OsString::from(word) });
        match Cli::try_parse_from(std::iter::once("silo".into()).chain(words)) {
            Ok(cli) => Ok(cli.verb),
            Err(error) => Err(Failure::failed(error.to_string())),
        }
    }

    /// Prints words as they would be typed.
    fn prompt(&self, words: &[&str]) -> Result<()> {
        let shown = self.shown.to_string_lossy();
        let words = words.iter().map(|word| quoted(if *word == script::SILO { &shown } else { word }));
        let line = words.collect::<Vec<_>>().join(" ");
        say(&if self.styled { format!("\x1b[1m$ silo {line}\x1b[0m") } else { format!("$ silo {line}") })
    }

    fn next(&self, kept: bool) -> Result<()> {
        let shown = quoted(&self.shown.to_string_lossy());
        say("\nWhat to type next:")?;
        if !kept {
            say("  silo demo --dir flights.silo                     the same, and keep the silo")?;
        }
        say(&format!(
            "  silo query {shown} 'dest = \"LAX\"' --sort dep_delay:desc --facet carrier --stats arr_delay"
        ))?;
        say(&format!("  silo export {shown} --format parquet --output flights.parquet"))?;
        say("  silo load my.silo my-file.csv                    your own data; the schema is guessed")?;
        say("  silo --help")
    }
}

/// Answers a query several times, and prints the answer with the median time.
fn answer(engine: &Engine, args: &QueryArgs) -> Result<()> {
    let schema = engine.schema();
    let names = query::fields_of(schema, args);
    let asked = query::query_of(args, &names)?;
    let mut answer = engine.query(&asked)?;
    let mut times: Vec<Duration> = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        times.push(engine.query(&asked)?.elapsed);
    }
    times.sort_unstable();
    answer.elapsed = times.get(RUNS / 2).copied().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    query::print(&mut out, args, schema, &answer, &names)
}

fn say(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
