//! The workload in a silo, loaded from its files as a user would.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use silo_engine::{Engine, LoadMode, Schema};
use silo_ingest::{IgnoreRejects, LoadOptions, Nulls, PlanOptions, Progress, column_names, plan};

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

/// Memory for parsing.
const MEMORY_BYTES: u64 = 2 << 30;

/// The two files of the workload in a directory: rows, and pairs of image and tag.
#[must_use]
pub fn files_in(dir: &Path) -> [PathBuf; 2] {
    ["images.csv", "tags.csv"].map(|name| dir.join(name))
}

/// Loads the two files of the workload that lie in `files` into a new silo in `dir`: rows first, then tags into what is there.
/// Returns the engine and the rows of both.
pub fn load_silo(files: &Path, dir: &Path, threads: usize) -> Result<(Engine, [u64; 2])> {
    let engine = Engine::create(dir, Schema::from_toml(SCHEMA)?)?;
    let add = vec![("tagId".to_owned(), "tagIds".to_owned())];
    let mut rows = [0; 2];
    let steps = [(LoadMode::Replace, Vec::new()), (LoadMode::Merge, add)];
    for ((file, (mode, add)), rows) in files_in(files).into_iter().zip(steps).zip(&mut rows) {
        let files = [file];
        let how = PlanOptions { id: Some("imageId".to_owned()), add, ..PlanOptions::default() };
        let options = LoadOptions {
            mode,
            plan: plan(engine.schema(), column_names(&files)?.as_deref(), &how)?,
            nulls: Nulls::default(),
            first_number: 1,
            threads,
            memory_bytes: MEMORY_BYTES,
        };
        let progress = Arc::new(Progress::default());
        let loaded = silo_ingest::load(&engine, &files, &options, &IgnoreRejects, &progress, &|| {})?;
        *rows = loaded.stored.rows;
    }
    Ok((engine, rows))
}
