//! Queries of the workload: 13 classes of 26 variants each.
//!
//! Their values come from the workload's own distributions, so that a variant of a common tag is followed by
//! one of a rarer tag; contradictions come too.

use serde::{Deserialize, Serialize};

use super::block::{Row, Workload};
use super::tables::BASE_MODELS;
use crate::random::Random;

/// Variants of each class.
pub const QUERY_VARIANTS: u32 = 26;

/// One query, one line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabQuery {
    /// Class and number: `two-tags/7`.
    pub name: String,
    /// The filter, empty for all rows.
    pub filter: String,
    /// `field:desc` or `field:asc`; none for the default order, id descending.
    #[serde(default)]
    pub sort: Option<String>,
    /// Rows of the page.
    #[serde(default)]
    pub limit: u32,
    /// Rows skipped.
    #[serde(default)]
    pub offset: u32,
    /// Where a page before ended.
    #[serde(default)]
    pub cursor: Option<String>,
    /// `field:N`.
    #[serde(default)]
    pub facets: Vec<String>,
    /// Only the total is wanted.
    #[serde(default)]
    pub count: bool,
}

impl LabQuery {
    /// The name without the number.
    #[must_use]
    pub fn class(&self) -> &str {
        self.name.split('/').next().unwrap_or_default()
    }
}

/// Names of the classes.
pub const CLASSES: [&str; 13] = [
    "low-cardinality",
    "two-tags",
    "any-of-five-tags",
    "level-tag-not-tag",
    "user-by-time",
    "time-range-and-tag",
    "count-three-clauses",
    "page-after-10000",
    "facet-60",
    "prefix-and-level",
    "newest-filtered",
    "rare-tag",
    "ascending-ties",
];

/// Samples of the workload to draw values from.
struct Values<'a> {
    rows: Vec<(&'a Row, &'a [u16])>,
    random: Random,
}

impl Values<'_> {
    /// A tag as rows have them: often a frequent one.
    fn tag(&mut self) -> u16 {
        loop {
            let (_, tags) = self.rows[self.random.below(self.rows.len() as u32) as usize];
            if !tags.is_empty() {
                return tags[self.random.below(tags.len() as u32) as usize];
            }
        }
    }

    /// Some tags, all different.
    fn tags<const N: usize>(&mut self) -> [u16; N] {
        let mut tags = [0; N];
        for at in 0..N {
            tags[at] = loop {
                let tag = self.tag();
                if !tags[..at].contains(&tag) {
                    break tag;
                }
            };
        }
        tags
    }

    fn row(&mut self) -> &Row {
        self.rows[self.random.below(self.rows.len() as u32) as usize].0
    }

    /// One to four levels: mostly what is safe and a little more, sometimes any.
    fn levels(&mut self) -> String {
        const LEVELS: [u8; 6] = [1, 2, 4, 8, 16, 32];
        let mut levels = Vec::new();
        let first = self.random.below(4) as usize;
        let count = 1 + self.random.below(3) as usize;
        levels.extend(&LEVELS[first..(first + count).min(6)]);
        let more = LEVELS[self.random.below(6) as usize];
        if !levels.contains(&more) {
            levels.push(more);
        }
        format!("{levels:?}")
    }
}

/// The queries, class after class.
#[must_use]
pub fn generate_queries(workload: &Workload, seed: u64) -> Vec<LabQuery> {
    let middle = workload.block(workload.block_count() / 2);
    let mut values = Values { rows: middle.iter().collect(), random: Random::new(seed, 0x5155_4552) };
    let mut queries = Vec::new();
    for class in CLASSES {
        for variant in 0..QUERY_VARIANTS {
            let mut query = query_of(class, variant, &mut values);
            query.name = format!("{class}/{variant}");
            queries.push(query);
        }
    }
    queries
}

fn query_of(class: &str, variant: u32, values: &mut Values<'_>) -> LabQuery {
    let any_sort = ["sortAt:desc", "reactionCount:desc", "commentCount:desc"][variant as usize % 3];
    let page = |filter: String, sort: &str| LabQuery {
        name: String::new(),
        filter,
        sort: Some(sort.to_owned()),
        limit: 50,
        offset: 0,
        cursor: None,
        facets: Vec::new(),
        count: false,
    };
    let model = BASE_MODELS[values.random.below(12) as usize];
    match class {
        "low-cardinality" => {
            let levels = values.levels();
            let filter = match values.random.below(4) {
                0 => format!("nsfwLevel IN {levels}"),
                1 => format!("nsfwLevel IN {levels} AND type = \"image\""),
                2 => format!("baseModel = \"{model}\""),
                _ => format!("nsfwLevel IN {levels} AND hasMeta = true AND poi = false"),
            };
            page(filter, any_sort)
        }
        "two-tags" => {
            let [a, b] = values.tags();
            page(format!("tagIds = {a} AND tagIds = {b}"), any_sort)
        }
        "any-of-five-tags" => {
            let tags: [u16; 5] = values.tags();
            page(format!("tagIds IN {tags:?}"), any_sort)
        }
        "level-tag-not-tag" => {
            let [a, b] = values.tags();
            // Every seventh contradicts itself.
            let b = if variant % 7 == 6 { a } else { b };
            let levels = values.levels();
            page(format!("nsfwLevel IN {levels} AND tagIds = {a} AND NOT tagIds = {b}"), any_sort)
        }
        "user-by-time" => page(format!("userId = {}", values.row().user), "sortAt:desc"),
        "time-range-and-tag" => {
            let [tag] = values.tags();
            let end = values.row().sort_at;
            let start = end - [86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400][variant as usize % 4];
            page(format!("sortAt BETWEEN {start} AND {end} AND tagIds = {tag}"), any_sort)
        }
        "count-three-clauses" => {
            let [tag] = values.tags();
            let levels = values.levels();
            let third = if variant.is_multiple_of(2) {
                "hasMeta = true".into()
            } else {
                format!("NOT baseModel = \"{model}\"")
            };
            let filter = format!("nsfwLevel IN {levels} AND tagIds = {tag} AND {third}");
            LabQuery { limit: 0, sort: None, count: true, ..page(filter, any_sort) }
        }
        "page-after-10000" => {
            let levels = values.levels();
            LabQuery { offset: 10_000, ..page(format!("nsfwLevel IN {levels} AND poi = false"), any_sort) }
        }
        "facet-60" => {
            let [tag] = values.tags();
            let filter = match variant % 3 {
                0 => format!("tagIds = {tag}"),
                1 => format!("nsfwLevel IN {}", values.levels()),
                _ => format!("tagIds = {tag} AND hasMeta = true"),
            };
            LabQuery {
                limit: 0,
                sort: None,
                facets: vec!["baseModel:60".to_owned()],
                ..page(filter, any_sort)
            }
        }
        "prefix-and-level" => {
            let prefix = ["SD", "SDXL", "Flux", "SD 3", "Pony", "Wan", "S", "Hunyuan"]
                [values.random.below(8) as usize];
            let levels = values.levels();
            page(format!("baseModel STARTS WITH \"{prefix}\" AND nsfwLevel IN {levels}"), any_sort)
        }
        "newest-filtered" => {
            let levels = values.levels();
            page(format!("nsfwLevel IN {levels} AND type = \"image\" AND poi = false"), "sortAt:desc")
        }
        "rare-tag" => page(format!("tagIds = {}", 3_000 + values.random.below(26_000)), any_sort),
        "ascending-ties" => {
            let levels = values.levels();
            page(format!("nsfwLevel IN {levels} AND hasMeta = true"), "reactionCount:asc")
        }
        other => unreachable!("class {other}"),
    }
}
