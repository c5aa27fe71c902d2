//! `silo check`

use std::io::Write;

use datasilo::RepairReport;
use serde_json::json;
use silo_engine::{Engine, EngineCheck, Error};

use crate::args::{CheckArgs, ReportFormat};
use crate::failure::{Failure, Result};
use crate::output::human;

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    let Examined { report, salvaged, repaired } = examine(args)?;
    let mut out = std::io::stdout().lock();
    let bytes = report.files.as_ref().map(|files| files.bytes);
    match args.format {
        ReportFormat::Json => writeln!(
            out,
            "{}",
            json!({
                "ok": report.is_ok(), "records": report.records, "entries": report.entries, "bytes": bytes,
                "findings": report.findings, "repaired": repaired,
                "salvaged": salvaged.is_some(), "lost_bytes": salvaged.as_ref().map_or(0, |salvaged| salvaged.lost_bytes),
            })
        )?,
        ReportFormat::Table => {
            writeln!(
                out,
                "{} and {} index entries compared{}",
                human::counted(report.records, "record"),
                human::count(report.entries),
                bytes.map_or_else(
                    || "; the files were left out, because another process has the silo open for writing"
                        .to_owned(),
                    |bytes| format!(", checksums over {} verified", human::bytes(bytes))
                ),
            )?;
            if let Some(salvaged) = &salvaged {
                writeln!(
                    out,
                    "files were damaged: {} kept, {} lost; see the files that end in .damaged: {}",
                    human::counted(salvaged.frames, "entry").replace("entrys", "entries"),
                    human::bytes(salvaged.lost_bytes),
                    salvaged.damaged_segments.join(", ")
                )?;
            }
            for index in &repaired {
                writeln!(out, "rebuilt: {index}")?;
            }
            for finding in &report.findings {
                writeln!(out, "wrong: {finding}")?;
            }
            if report.is_ok() {
                writeln!(out, "everything is as it should be")?;
            }
        }
    }
    if report.is_ok() {
        return Ok(());
    }
    let found = human::counted(report.findings.len() as u64, "index");
    Err(Failure::failed(if args.repair {
        format!("{found} could not be repaired: restore a backup, or export the records and load them anew")
    } else {
        format!("{found} found wrong; `silo check {} --repair` rebuilds what differs", args.dir.display())
    }))
}

/// What a check found and a repair did.
struct Examined {
    /// How things are in the end.
    report: EngineCheck,
    /// What was kept of damaged files.
    salvaged: Option<RepairReport>,
    /// Indexes that were rebuilt.
    repaired: Vec<String>,
}

fn examine(args: &CheckArgs) -> Result<Examined> {
    // A check that repairs nothing goes beside a writer.
    let opened = match Engine::open(&args.dir) {
        Err(Error::Store(datasilo::Error::Locked { .. })) if !args.repair => {
            Engine::open_read_only(&args.dir)
        }
        opened => opened,
    };
    let mut salvaged = None;
    let (mut engine, mut report) =
        match opened.and_then(|engine| engine.check().map(|report| (engine, report))) {
            Err(Error::Damaged { .. } | Error::Index(_) | Error::Store(datasilo::Error::Corrupt(_)))
                if args.repair =>
            {
                salvaged = Some(Engine::salvage(&args.dir)?);
                let engine = Engine::open(&args.dir)?;
                let report = engine.check()?;
                (engine, report)
            }
            checked => checked?,
        };
    let mut repaired = Vec::new();
    if args.repair && !report.is_ok() {
        repaired = engine.repair()?;
        report = engine.check()?;
    }
    engine.close()?;
    Ok(Examined { report, salvaged, repaired })
}
