//! tantivy, in process.
//!
//! Fields are indexed without frequencies; each sort field has a fast field of (value, id), so that ties break by id as everywhere. In the
//! sorted form documents lie in descending order of (reactionCount, id): a page in that order is the first matches.

use std::ops::Bound;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{
    AllQuery, BooleanQuery, EnableScoring, Occur, Query as TantivyQuery, RangeQuery, TermQuery, TermSetQuery,
};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, STRING, Schema};
use tantivy::{DocAddress, DocSet, Index, Order, Searcher, TERMINATED, TantivyDocument, Term};

use super::filter::Clause;
use super::{Answer, Query, QueryEngine};
use crate::workload::{BASE_MODELS, Row, TYPES, Workload, flag};

#[derive(Clone, Copy)]
struct Fields {
    id: Field,
    user: Field,
    level: Field,
    kind: Field,
    model: Field,
    has_model: Field,
    has_meta: Field,
    poi: Field,
    tags: Field,
    sort_at: Field,
    keys: [Field; 3],
}

/// Names of the fast fields of (value, id).
const KEYS: [(&str, &str); 3] =
    [("sortAt", "sortAtKey"), ("reactionCount", "reactionCountKey"), ("commentCount", "commentCountKey")];

/// The index.
pub(super) struct Tantivy {
    searcher: Searcher,
    fields: Fields,
    by_reactions: bool,
}

fn schema() -> (Schema, Fields) {
    let mut builder = Schema::builder();
    let fields = Fields {
        id: builder.add_u64_field("imageId", FAST),
        user: builder.add_u64_field("userId", INDEXED),
        level: builder.add_u64_field("nsfwLevel", INDEXED),
        kind: builder.add_text_field("type", STRING),
        model: builder.add_text_field("baseModel", STRING | FAST),
        has_model: builder.add_bool_field("hasModel", INDEXED),
        has_meta: builder.add_bool_field("hasMeta", INDEXED),
        poi: builder.add_bool_field("poi", INDEXED),
        tags: builder.add_u64_field("tagIds", INDEXED),
        sort_at: builder.add_u64_field("sortAt", FAST),
        keys: KEYS.map(|(_, key)| builder.add_u64_field(key, FAST)),
    };
    (builder.build(), fields)
}

fn document(fields: Fields, row: &Row, tags: &[u16]) -> TantivyDocument {
    let mut document = TantivyDocument::new();
    document.add_u64(fields.id, u64::from(row.id));
    document.add_u64(fields.user, u64::from(row.user));
    document.add_u64(fields.level, u64::from(row.level));
    document.add_text(fields.kind, TYPES[usize::from(row.kind)]);
    if let Some(model) = BASE_MODELS.get(usize::from(row.base_model)) {
        document.add_text(fields.model, model);
    }
    document.add_bool(fields.has_model, row.base_model != 255);
    document.add_bool(fields.has_meta, row.flags & flag::HAS_META != 0);
    document.add_bool(fields.poi, row.flags & flag::POI != 0);
    tags.iter().for_each(|tag| document.add_u64(fields.tags, u64::from(*tag)));
    document.add_u64(fields.sort_at, u64::from(row.sort_at));
    for (field, value) in fields.keys.into_iter().zip([row.sort_at, row.reactions, row.comments]) {
        document.add_u64(field, u64::from(value) << 32 | u64::from(row.id));
    }
    document
}

impl Tantivy {
    pub(super) fn new(workload: &Workload, dir: &Path, by_reactions: bool) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let (schema, fields) = schema();
        let index = Index::create_in_dir(dir, schema)?;
        // One thread, so that segments hold consecutive documents.
        let mut writer = index.writer_with_num_threads(1, 1 << 30)?;
        writer.set_merge_policy(Box::new(tantivy::merge_policy::NoMergePolicy));
        if by_reactions {
            let mut rows = Vec::new();
            let mut all_tags: Vec<u16> = Vec::new();
            for block in 0..workload.block_count() {
                for (row, tags) in workload.block(block).iter() {
                    rows.push((*row, all_tags.len(), tags.len()));
                    all_tags.extend_from_slice(tags);
                }
            }
            rows.sort_unstable_by_key(|(row, ..)| std::cmp::Reverse((row.reactions, row.id)));
            for (row, start, count) in rows {
                writer.add_document(document(fields, &row, &all_tags[start..start + count]))?;
            }
        } else {
            for block in 0..workload.block_count() {
                let block = workload.block(block);
                let mut rows: Vec<_> = block.iter().collect();
                rows.sort_by_key(|(row, _)| row.id);
                for (row, tags) in rows {
                    writer.add_document(document(fields, row, tags))?;
                }
            }
        }
        writer.commit()?;
        // One segment out of those that the writer's memory held, in the order of the documents.
        let (column, mut segments) = (if by_reactions { KEYS[1].1 } else { "imageId" }, Vec::new());
        for reader in index.reader()?.searcher().segment_readers() {
            let first = reader.fast_fields().u64(column)?.first(0).unwrap_or(0);
            segments.push((if by_reactions { !first } else { first }, reader.segment_id()));
        }
        segments.sort_unstable();
        if segments.len() > 1 {
            let ids: Vec<_> = segments.into_iter().map(|(_, id)| id).collect();
            writer.merge(&ids).wait()?;
        }
        writer.wait_merging_threads()?;
        Ok(Self { searcher: index.reader()?.searcher(), fields, by_reactions })
    }

    fn clause(&self, clause: &Clause) -> Result<Box<dyn TantivyQuery>> {
        let fields = self.fields;
        let term = |term: Term| -> Box<dyn TantivyQuery> {
            Box::new(TermQuery::new(term, IndexRecordOption::Basic))
        };
        Ok(match clause {
            Clause::Number(name, numbers) => {
                let field = match name.as_str() {
                    "tagIds" => fields.tags,
                    "nsfwLevel" => fields.level,
                    "userId" => fields.user,
                    other => bail!("no field {other}"),
                };
                let mut terms = numbers.iter().map(|number| Term::from_field_u64(field, u64::from(*number)));
                match numbers.len() {
                    1 => term(terms.next().context("a number")?),
                    _ => Box::new(BooleanQuery::new_multiterms_query(terms.collect())),
                }
            }
            Clause::Text(name, text) if name == "type" => term(Term::from_field_text(fields.kind, text)),
            Clause::Text(_, text) => term(Term::from_field_text(fields.model, text)),
            Clause::Prefix(_, prefix) => {
                let models = BASE_MODELS.iter().filter(|model| model.starts_with(prefix.as_str()));
                Box::new(TermSetQuery::new(models.map(|model| Term::from_field_text(fields.model, model))))
            }
            Clause::Bool(name, set) => {
                term(Term::from_field_bool(if name == "poi" { fields.poi } else { fields.has_meta }, *set))
            }
            Clause::Between(_, low, high) => {
                let bound =
                    |value: &u32| Bound::Included(Term::from_field_u64(fields.sort_at, u64::from(*value)));
                Box::new(RangeQuery::new(bound(low), bound(high)))
            }
            Clause::Not(_) => bail!("negation is a clause of the conjunction"),
        })
    }

    fn query(&self, clauses: &[Clause]) -> Result<Box<dyn TantivyQuery>> {
        let mut all: Vec<(Occur, Box<dyn TantivyQuery>)> = Vec::new();
        for clause in clauses {
            if let Clause::Not(inner) = clause {
                all.push((Occur::MustNot, self.clause(inner)?));
                if matches!(&**inner, Clause::Text(name, _) if name == "baseModel") {
                    let present = Term::from_field_bool(self.fields.has_model, true);
                    all.push((Occur::Must, Box::new(TermQuery::new(present, IndexRecordOption::Basic))));
                }
            } else {
                all.push((Occur::Must, self.clause(clause)?));
            }
        }
        if all.is_empty() {
            return Ok(Box::new(AllQuery));
        }
        Ok(Box::new(BooleanQuery::new(all)))
    }

    fn ids(&self, addresses: impl Iterator<Item = DocAddress>) -> Result<Vec<u32>> {
        let readers = self.searcher.segment_readers();
        let columns: Vec<_> =
            readers.iter().map(|reader| reader.fast_fields().u64("imageId")).collect::<Result<_, _>>()?;
        let id = |address: DocAddress| {
            columns[address.segment_ord as usize].first(address.doc_id).unwrap_or(0) as u32
        };
        Ok(addresses.map(id).collect())
    }

    /// The first matches in the order of the documents.
    fn first(&self, query: &dyn TantivyQuery, offset: usize, limit: usize) -> Result<Vec<u32>> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        // Segments in the order of their first documents.
        let mut segments = Vec::new();
        for (at, reader) in (0..).zip(self.searcher.segment_readers()) {
            let first = reader.fast_fields().u64(KEYS[1].1)?.first(0);
            segments.push((std::cmp::Reverse(first), at));
        }
        segments.sort_unstable();
        let mut found = Vec::new();
        for (_, at) in segments {
            if found.len() == offset + limit {
                break;
            }
            let mut matches = weight.scorer(self.searcher.segment_reader(at), 1.0)?;
            let mut doc = matches.doc();
            while doc != TERMINATED && found.len() < offset + limit {
                found.push(DocAddress::new(at, doc));
                doc = matches.advance();
            }
        }
        self.ids(found.into_iter().skip(offset))
    }

    fn facet(&self, query: &dyn TantivyQuery) -> Result<Answer> {
        let weight = query.weight(EnableScoring::disabled_from_searcher(&self.searcher))?;
        let mut answer = Answer::default();
        for reader in self.searcher.segment_readers() {
            let column = reader.fast_fields().str("baseModel")?.context("baseModel is a fast field")?;
            let mut counts = vec![0_u64; column.num_terms()];
            weight.for_each_no_score(reader, &mut |docs| {
                for doc in docs {
                    if let Some(ord) = column.ords().first(*doc) {
                        counts[ord as usize] += 1;
                    }
                }
            })?;
            for (ord, count) in (0..).zip(counts).filter(|(_, count)| *count > 0) {
                let mut name = String::new();
                column.ord_to_str(ord, &mut name)?;
                *answer.facets.entry(name).or_default() += count;
            }
        }
        Ok(answer)
    }
}

impl QueryEngine for Tantivy {
    fn answer(&mut self, query: &Query) -> Result<Answer> {
        let parsed = self.query(&query.clauses)?;
        if query.count {
            let total = self.searcher.search(&*parsed, &Count)? as u64;
            return Ok(Answer { total: Some(total), ..Answer::default() });
        }
        if query.facet {
            return self.facet(&*parsed);
        }
        let (field, descending) = query.sort.as_ref().context("pages of the workload are sorted")?;
        if self.by_reactions && field == "reactionCount" && *descending {
            return Ok(Answer { ids: self.first(&*parsed, query.offset, query.limit)?, ..Answer::default() });
        }
        let key =
            KEYS.iter().find(|(name, _)| name == field).map(|(_, key)| *key).context("no such sort field")?;
        let order = if *descending { Order::Desc } else { Order::Asc };
        let top = TopDocs::with_limit(query.limit).and_offset(query.offset).order_by_u64_field(key, order);
        let found = self.searcher.search(&*parsed, &top)?;
        Ok(Answer { ids: self.ids(found.into_iter().map(|(_, address)| address))?, ..Answer::default() })
    }
}
