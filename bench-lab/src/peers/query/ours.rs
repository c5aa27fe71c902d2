//! The engine: loaded from files as a user would, queried in this process, no caches of results.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use silo_engine::{Direction, Engine, Filter, Id, LoadMode, Schema, Value};
use silo_ingest::{IgnoreRejects, LoadOptions, Nulls, PlanOptions, Progress, column_names, plan};

use super::{Answer, Query, QueryEngine};
use crate::workload::{Columns, Format, TagForm, Workload, write_workload};

/// The workload's fields, indexed by what the queries ask of them.
const SCHEMA: &str = r#"
id = { name = "imageId", type = "u32" }
fields = [
    { name = "userId", type = "u32", index = ["high"] },
    { name = "postId", type = "u32", index = ["high"] },
    { name = "nsfwLevel", type = "u8", index = ["filter"] },
    { name = "type", type = "string", index = ["filter"] },
    { name = "baseModel", type = "string", index = ["filter"] },
    { name = "hasMeta", type = "bool", index = ["filter"] },
    { name = "poi", type = "bool", index = ["filter"] },
    { name = "sortAt", type = "time(s)", index = ["sort"] },
    { name = "reactionCount", type = "u32", index = ["sort"] },
    { name = "commentCount", type = "u32", index = ["sort"] },
    { name = "collectedCount", type = "u32", index = ["sort"] },
    { name = "tagIds", type = "u32", multi = true, index = ["filter"] },
]
"#;

pub(super) struct Ours {
    engine: Engine,
}

impl Ours {
    /// Loads the workload's two files into a silo in `dir`.
    pub(super) fn new(workload: &Workload, dir: &Path, threads: usize) -> Result<Self> {
        let files = dir.join("files");
        write_workload(workload, &files, Format::Csv, Columns::Light, TagForm::Pairs, |_| {})?;
        let engine = Engine::create(dir.join("silo"), Schema::from_toml(SCHEMA)?)?;
        let add = vec![("tagId".to_owned(), "tagIds".to_owned())];
        for (file, mode, add) in
            [("images.csv", LoadMode::Replace, Vec::new()), ("tags.csv", LoadMode::Merge, add)]
        {
            let files = [files.join(file)];
            let how = PlanOptions { id: Some("imageId".to_owned()), add, ..PlanOptions::default() };
            let options = LoadOptions {
                mode,
                plan: plan(engine.schema(), column_names(&files)?.as_deref(), &how)?,
                nulls: Nulls::default(),
                first_number: 1,
                threads,
                memory_bytes: 2 << 30,
            };
            silo_ingest::load(
                &engine,
                &files,
                &options,
                &IgnoreRejects,
                &Arc::new(Progress::default()),
                &|| {},
            )?;
        }
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
