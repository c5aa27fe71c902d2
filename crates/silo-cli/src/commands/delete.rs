//! `silo delete`

use std::io::Write;

use silo_engine::{Durability, Engine, Filter, Id, Query, UpdateBatch, UpdateReport};

use super::id_of;
use crate::args::DeleteArgs;
use crate::failure::{Failure, Result};
use crate::output::human;

/// Records that are deleted together.
const BATCH: usize = 10_000;

pub(super) fn run(args: &DeleteArgs) -> Result<()> {
    let engine = Engine::open(&args.dir)?;
    let mut done = UpdateReport::default();
    if let Some(filter) = &args.filter {
        matching(&engine, Filter::parse(filter)?, &mut done)?;
    } else {
        let ids = args.ids.iter().map(|text| id_of(engine.schema(), text)).collect::<Result<Vec<_>>>()?;
        commit(&engine, ids, &mut done)?;
    }
    engine.close()?;
    writeln!(std::io::stdout(), "{} deleted", human::counted(done.deleted, "record"))?;
    if done.missing == 0 {
        return Ok(());
    }
    Err(Failure::failed(format!("no record has {} of these ids", human::count(done.missing))))
}

/// Deletes the records that match now, page by page.
fn matching(engine: &Engine, filter: Filter, done: &mut UpdateReport) -> Result<()> {
    let view = engine.view()?;
    let mut query = Query::new(filter).limit(BATCH);
    loop {
        let page = view.query(&query)?;
        commit(engine, page.ids, done)?;
        match page.cursor {
            Some(cursor) => query = query.cursor(Some(cursor)),
            None => return Ok(()),
        }
    }
}

fn commit(engine: &Engine, ids: Vec<Id>, done: &mut UpdateReport) -> Result<()> {
    let mut batch = UpdateBatch::new();
    for id in ids {
        batch.delete(id);
    }
    let report = engine.apply(&batch, Durability::Power)?;
    done.deleted += report.deleted;
    done.missing += report.missing;
    Ok(())
}
