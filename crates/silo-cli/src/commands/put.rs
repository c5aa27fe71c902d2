//! `silo put`

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value as Json;
use silo_engine::{Change, Durability, Engine, Error, Merge, Record, UpdateBatch, UpdateReport};

use crate::args::PutArgs;
use crate::failure::{Failure, Result};
use crate::output::human;

/// Records that are committed together.
const BATCH: usize = 1_000;

pub(super) fn run(args: &PutArgs) -> Result<()> {
    let mut input: Box<dyn BufRead> = if args.file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(&args.file).map_err(Failure::file("open", &args.file))?;
        Box::new(BufReader::new(file))
    };
    let engine = Engine::open(&args.dir)?;
    let mut putting = Putting {
        engine: &engine,
        merge: args.merge,
        changes: Vec::new(),
        committed: 0,
        done: UpdateReport::default(),
    };
    let put = putting.all(&mut input);
    let UpdateReport { created, changed, .. } = putting.done;
    let done = format!("{} created, {} changed", human::counted(created, "record"), human::count(changed));
    engine.close()?;
    match put {
        Ok(()) => Ok(writeln!(std::io::stdout(), "{done}")?),
        Err(why) => Err(Failure::failed(format!("{}: {why}; before that: {done}", args.file.display()))),
    }
}

/// Records on their way from a file into a silo.
struct Putting<'a> {
    engine: &'a Engine,
    merge: bool,
    /// What is committed next.
    changes: Vec<Change>,
    /// Records committed so far.
    committed: u64,
    done: UpdateReport,
}

impl Putting<'_> {
    /// Puts all records; those before one that does not fit stay.
    fn all(&mut self, input: &mut dyn BufRead) -> Result<(), String> {
        let read = self.read(input);
        self.commit()?;
        read
    }

    fn read(&mut self, input: &mut dyn BufRead) -> Result<(), String> {
        let text = |error: serde_json::Error| error.to_string();
        if first_byte(input).map_err(|error| error.to_string())? == Some(b'[') {
            let mut reader = serde_json::Deserializer::from_reader(input);
            Items(self).deserialize(&mut reader).map_err(text)?;
            return reader.end().map_err(text);
        }
        for json in serde_json::Deserializer::from_reader(input).into_iter::<Json>() {
            self.one(&json.map_err(text)?)?;
        }
        Ok(())
    }

    fn one(&mut self, json: &Json) -> Result<(), String> {
        let number = self.committed + self.changes.len() as u64 + 1;
        let record = Record::from_json(self.engine.schema(), json);
        let record = record.map_err(|error| format!("record {number}: {error}"))?;
        self.changes.push(if self.merge {
            Merge { set: record.fields, ..Merge::new(record.id) }.into()
        } else {
            record.into()
        });
        if self.changes.len() >= BATCH { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), String> {
        let changes = std::mem::take(&mut self.changes);
        match self.apply(changes.clone()) {
            // One does not fit, and must not take the others along.
            Err(Error::Document(_)) => changes.into_iter().try_for_each(|change| {
                let number = self.committed + 1;
                self.apply(vec![change]).map_err(|error| format!("record {number}: {error}"))
            }),
            applied => applied.map_err(|error| error.to_string()),
        }
    }

    fn apply(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let count = changes.len() as u64;
        let report = self.engine.apply(&UpdateBatch::from_iter(changes), Durability::Power)?;
        self.committed += count;
        self.done.created += report.created;
        self.done.changed += report.changed;
        Ok(())
    }
}

/// The first byte that is no space, which is left where it is.
fn first_byte(input: &mut dyn BufRead) -> std::io::Result<Option<u8>> {
    loop {
        let buffer = input.fill_buf()?;
        let Some(byte) = buffer.first().copied() else { return Ok(None) };
        if !byte.is_ascii_whitespace() {
            return Ok(Some(byte));
        }
        input.consume(1);
    }
}

/// The items of an array, one by one.
struct Items<'p, 'a>(&'p mut Putting<'a>);

impl<'de> DeserializeSeed<'de> for Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(json) = items.next_element::<Json>()? {
            self.0.one(&json).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}
