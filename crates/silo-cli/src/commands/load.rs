//! `silo load`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use silo_engine::{Engine, Filter, Id, LoadMode, Query, Schema};
use silo_ingest::{
    LoadOptions, LoadSummary, Nulls, Plan, PlanOptions, Progress, ReadOptions, column_names, load, plan,
};

use super::bytes_on_disk;
use super::infer::{Files, guess};
use super::rejects::Rejects;
use super::staging::Staging;
use crate::args::{LoadArgs, Mode, ReportFormat};
use crate::failure::{Failure, Result};
use crate::output::human;
use crate::progress;

pub(super) fn run(args: &LoadArgs) -> Result<()> {
    if args.mode == Mode::Create && !args.adds.is_empty() {
        return Err(Failure::usage("--add needs --mode merge: a new silo has no records to add values to"));
    }
    let started = Instant::now();
    let rejects;
    let summary = match args.mode {
        Mode::Create => {
            let staging = Staging::begin(&args.dir)?;
            let files = if args.schema.is_some() {
                Files::once(&args.files)?
            } else {
                Files::repeatable(&args.files)?
            };
            let (schema, nulls) = schema_for(args, &files)?;
            let engine = Engine::create(staging.path(), schema)?;
            rejects = Rejects::new(args.rejects.as_deref(), &files)?;
            let summary =
                Job { args, engine: &engine, files: &files.paths, nulls, rejects: &rejects }.run()?;
            engine.close()?;
            staging.publish()?;
            summary
        }
        Mode::Append | Mode::Merge => {
            let engine = Engine::open(&args.dir)?;
            if let Some(path) = &args.schema
                && engine.schema().evolve(&read_schema(path)?).ok().as_ref() != Some(engine.schema())
            {
                return Err(Failure::usage(format!(
                    "{0} has another schema than {1}: leave --schema out, or change it first with `silo schema {0} --set {1}`",
                    args.dir.display(),
                    path.display()
                )));
            }
            let files = Files::once(&args.files)?;
            rejects = Rejects::new(args.rejects.as_deref(), &files)?;
            let nulls = args.nulls.clone();
            let summary =
                Job { args, engine: &engine, files: &files.paths, nulls, rejects: &rejects }.run()?;
            engine.close()?;
            summary
        }
    };
    rejects.finish(summary.read.rejected)?;
    report(args, &summary, started.elapsed())
}

/// A schema from a file.
pub(super) fn read_schema(path: &Path) -> Result<Schema> {
    let text = std::fs::read_to_string(path).map_err(Failure::file("read", path))?;
    Schema::from_toml(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// The schema of a new silo, and the spellings of null in its files.
fn schema_for(args: &LoadArgs, files: &Files) -> Result<(Schema, Vec<String>)> {
    if let Some(path) = &args.schema {
        return Ok((read_schema(path)?, args.nulls.clone()));
    }
    let mut inference = guess(&files.paths, &args.nulls, &args.splits)?;
    for join in &args.joins {
        let joined = guess(std::slice::from_ref(&join.file), &args.nulls, &[])?;
        inference.join(join, joined)?;
    }
    let schema = inference.schema(args.id.as_deref())?;
    let mut note = format!(
        "no --schema: guessed {} from {}",
        human::counted(schema.fields.len() as u64, "field"),
        human::counted(inference.rows, "row")
    );
    let found: Vec<&str> =
        inference.nulls.iter().filter(|null| !args.nulls.contains(null)).map(String::as_str).collect();
    if !found.is_empty() {
        note = format!("{note}, took {} for null", found.join(", "));
    }
    if args.id.is_none() {
        note = format!("{note}; records are numbered from 1 as {:?}", schema.id.name);
    }
    eprintln_quietly(&format!("{note}; see it with `silo schema {}`", args.dir.display()));
    Ok((schema, inference.nulls))
}

/// A note for people on standard error, which may be closed.
fn eprintln_quietly(note: &str) {
    let _ = std::io::stderr().write_all(format!("{note}\n").as_bytes());
}

/// A load into an engine that is open.
struct Job<'a> {
    args: &'a LoadArgs,
    engine: &'a Engine,
    files: &'a [PathBuf],
    nulls: Vec<String>,
    rejects: &'a Rejects,
}

impl Job<'_> {
    fn run(self) -> Result<LoadSummary> {
        let plan = self.plan()?;
        let options = LoadOptions {
            mode: if self.args.mode == Mode::Merge { LoadMode::Merge } else { LoadMode::Replace },
            first_number: if plan.numbered { self.first_number()? } else { 1 },
            plan,
            nulls: Nulls::new(self.nulls.clone()),
            threads: self.args.threads.map_or_else(|| ReadOptions::new(Vec::new()).threads, usize::from),
            memory_bytes: self.args.memory.0,
        };
        let progress = Arc::new(Progress::default());
        let loaded = progress::shown(&progress, |building| {
            load(self.engine, self.files, &options, self.rejects, &progress, building)
        });
        Ok(loaded?)
    }

    /// Which columns go where.
    fn plan(&self) -> Result<Plan> {
        let Self { args, engine, files, .. } = self;
        let schema = engine.schema();
        let mut names = column_names(files)?;
        if names.is_none() && args.id.is_none() && !files.iter().any(|file| file.as_os_str() == "-") {
            // Whether records carry their id decides what they are called.
            let inference = guess(files, &self.nulls, &[])?;
            names = Some(inference.columns.into_iter().map(|column| column.name).collect());
        }
        let carried = names.as_ref().is_some_and(|names| names.contains(&schema.id.name));
        let id = args.id.clone().or_else(|| carried.then(|| schema.id.name.clone()));
        if id.is_none() && args.mode == Mode::Merge {
            return Err(Failure::usage(
                "--mode merge needs --id COL: the column that says which record a row changes",
            ));
        }
        if id.is_none() && schema.id.is_string() {
            return Err(Failure::usage(format!(
                "ids of this silo are text and cannot be numbers: name the column of {:?} with --id",
                schema.id.name
            )));
        }
        let options = PlanOptions {
            id,
            add: args.adds.iter().map(|add| (add.column.clone(), add.field.clone())).collect(),
            split: args.splits.iter().map(|split| (split.field.clone(), split.separator.clone())).collect(),
            joins: args.joins.clone(),
        };
        let plan = plan(schema, names.as_deref(), &options)?;
        if let Some(names) = &names {
            let read = |name: &&String| plan.columns.iter().any(|column| column.name == **name);
            let left_out: Vec<&str> = names.iter().filter(|name| !read(name)).map(String::as_str).collect();
            if !left_out.is_empty() {
                eprintln_quietly(&format!(
                    "no field for these columns, which are left out: {}",
                    left_out.join(", ")
                ));
            }
        }
        Ok(plan)
    }

    /// The number of the first record, where records are numbered.
    fn first_number(&self) -> Result<i64> {
        let newest = self.engine.query(&Query::new(Filter::all()).limit(1))?;
        let last = match newest.ids.first() {
            Some(Id::Int(last)) => *last,
            _ => 0,
        };
        i64::try_from(last.max(0) + 1).map_err(|_| {
            Failure::failed(format!("no number follows the highest id, {last}: name a column with --id"))
        })
    }
}

fn report(args: &LoadArgs, summary: &LoadSummary, took: Duration) -> Result<()> {
    let LoadSummary { read, stored } = summary;
    let bytes = bytes_on_disk(&args.dir);
    let mut out = std::io::stdout().lock();
    if args.format == ReportFormat::Json {
        writeln!(
            out,
            "{}",
            json!({
                "rows": read.rows, "rejected": read.rejected, "nans": read.nans, "created": stored.created,
                "changed": stored.changed, "repeated": stored.repeated, "bytes": bytes,
                "elapsed_us": u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            })
        )?;
        return Ok(());
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate"
    )]
    let rate = (read.rows as f64 / took.as_secs_f64().max(1e-9)) as u64;
    writeln!(
        out,
        "{} in {} ({}/s): {} created, {} changed; {} on disk",
        human::counted(read.rows, "row"),
        human::duration(took),
        human::count(rate),
        human::counted(stored.created, "record"),
        human::count(stored.changed),
        human::bytes(bytes)
    )?;
    if stored.repeated > 0 {
        let kept = if args.mode == Mode::Merge {
            "were merged into one change"
        } else {
            "were left out for a later one"
        };
        writeln!(out, "{} with the id of another row {kept}", human::counted(stored.repeated, "row"))?;
    }
    if read.nans > 0 {
        writeln!(out, "{} became null", human::counted(read.nans, "NaN"))?;
    }
    if read.rejected > 0 {
        match &args.rejects {
            Some(path) => {
                writeln!(out, "{} rejected: see {}", human::counted(read.rejected, "row"), path.display())?;
            }
            None => {
                writeln!(
                    out,
                    "{} rejected: --rejects FILE lists them",
                    human::counted(read.rejected, "row")
                )?;
            }
        }
    }
    Ok(())
}
