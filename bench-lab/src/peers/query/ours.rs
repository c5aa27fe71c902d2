//! The engine: loaded from files as a user would, queried in this process, no caches of results.

use std::path::Path;

use anyhow::{Context, Result, bail};
use silo_engine::{Direction, Engine, Filter, Id, Value};

use super::{Answer, Query, QueryEngine};
use crate::workload::{Columns, Format, TagForm, Workload, load_silo, write_workload};

pub(super) struct Ours {
    engine: Engine,
}

impl Ours {
    /// Loads the workload's two files into a silo in `dir`.
    pub(super) fn new(workload: &Workload, dir: &Path, threads: usize) -> Result<Self> {
        let files = dir.join("files");
        write_workload(workload, &files, Format::Csv, Columns::Light, TagForm::Pairs, |_| {})?;
        let (engine, _) = load_silo(&files, &dir.join("silo"), threads)?;
        std::fs::remove_dir_all(&files).context("removing the loaded files")?;
        Ok(Self { engine })
    }
}

impl QueryEngine for Ours {
    fn answer(&mut self, query: &Query) -> Result<Answer> {
        let mut asked =
            silo_engine::Query::new(Filter::parse(&query.filter)?).limit(query.limit).offset(query.offset);
        if let Some((field, descends)) = &query.sort {
            asked = asked.sort(field, if *descends { Direction::Descending } else { Direction::Ascending });
        }
        if query.facet {
            asked = asked.facet("baseModel", None);
        }
        // The others do not count the matches of a page either.
        asked = if query.count { asked.count_only() } else { asked.without_total() };
        let found = self.engine.query(&asked)?;
        let mut answer = Answer { total: query.count.then_some(found.total), ..Answer::default() };
        for id in found.ids {
            let Id::Int(id) = id else { bail!("a text id among integers") };
            answer.ids.push(u32::try_from(id)?);
        }
        for (_, counts) in found.facets {
            for count in counts {
                let Value::Text(model) = count.value else { bail!("a base model that is no text") };
                answer.facets.insert(model, count.count);
            }
        }
        Ok(answer)
    }
}
