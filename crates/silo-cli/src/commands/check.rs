//! `silo check`

use std::io::Write;

use serde_json::json;
use silo_engine::Engine;

use crate::args::{CheckArgs, ReportFormat};
use crate::failure::{Failure, Result};
use crate::output::human;

pub(super) fn run(args: &CheckArgs) -> Result<()> {
    // A check that repairs nothing goes beside a writer.
    let mut engine = match Engine::open(&args.dir) {
        Err(silo_engine::Error::Store(datasilo::Error::Locked { .. })) if !args.repair => {
            Engine::open_read_only(&args.dir)?
        }
        opened => opened?,
    };
    let mut report = engine.check()?;
    let mut repaired = Vec::new();
    if args.repair && !report.is_ok() {
        repaired = engine.repair()?;
        report = engine.check()?;
    }
    engine.close()?;
    let mut out = std::io::stdout().lock();
    let bytes = report.files.as_ref().map(|files| files.bytes);
    match args.format {
        ReportFormat::Json => writeln!(
            out,
            "{}",
            json!({
                "ok": report.is_ok(), "records": report.records, "entries": report.entries, "bytes": bytes,
                "findings": report.findings, "repaired": repaired,
            })
        )?,
        ReportFormat::Table => {
            writeln!(
                out,
                "{} and {} index entries compared{}",
                human::counted(report.records, "record"),
                human::count(report.entries),
                bytes.map_or_else(
                    || "; the files were left out, because another process has the silo open for writing".to_owned(),
                    |bytes| format!(", checksums over {} verified", human::bytes(bytes))
                ),
            )?;
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
