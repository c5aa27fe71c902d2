//! `silo put`

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};

use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::Value as Json;
use silo_engine::{Durability, Engine, Merge, Record, UpdateBatch, UpdateReport};

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
    let mut putting =
        Putting { engine: &engine, merge: args.merge, batch: UpdateBatch::new(), records: 0, done: UpdateReport::default() };
    let put = putting.all(&mut input);
    let UpdateReport { created, changed, .. } = putting.done;
    let done = format!("{} created, {} changed", human::counted(created, "record"), human::count(changed));
    engine.close()?;
    match put {
        Ok(()) => Ok(writeln!(std::io::stdout(), "{done}")?),
        Err(Failure::Failed(why)) => {
            Err(Failure::failed(format!("{}: {why}; before that: {done}", args.file.display())))
        }
        Err(other) => Err(other),
    }
}

/// Records on their way from a file into a silo.
struct Putting<'a> {
    engine: &'a Engine,
    merge: bool,
    batch: UpdateBatch,
    /// Records read so far.
    records: u64,
    done: UpdateReport,
}

impl Putting<'_> {
    fn all(&mut self, input: &mut dyn BufRead) -> Result<()> {
        let not_json = |error: serde_json::Error| Failure::failed(error.to_string());
        if first_byte(input).map_err(|error| Failure::failed(error.to_string()))? == Some(b'[') {
            let mut reader = serde_json::Deserializer::from_reader(input);
            Items(self).deserialize(&mut reader).map_err(not_json)?;
            reader.end().map_err(not_json)?;
        } else {
            for json in serde_json::Deserializer::from_reader(input).into_iter::<Json>() {
                let json = json.map_err(not_json)?;
                self.one(&json).map_err(Failure::failed)?;
            }
        }
        self.commit().map_err(Failure::failed)
    }

    fn one(&mut self, json: &Json) -> Result<(), String> {
        self.records += 1;
        let record = Record::from_json(self.engine.schema(), json);
        let record = record.map_err(|error| format!("record {}: {error}", self.records))?;
        // A record that does not fit must not take those around it along.
        let types = self.engine.documents();
        if self.merge {
            let merge = Merge { set: record.fields, ..Merge::new(record.id) };
            self.batch.merge(merge);
        } else {
            types.document(&record).map_err(|error| format!("record {}: {error}", self.records))?;
            self.batch.put(record);
        }
        if self.batch.len() >= BATCH { self.commit() } else { Ok(()) }
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let report = self.engine.apply(&self.batch, Durability::Power).map_err(|error| error.to_string())?;
        self.done.created += report.created;
        self.done.changed += report.changed;
        self.batch.clear();
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
