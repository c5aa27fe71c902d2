//! What can be typed: verbs, flags, and the small languages inside flags.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use silo_ingest::JoinText;

/// Filter, sort and page over tens of millions of records, from memory-mapped files.
#[derive(Debug, Parser)]
#[command(name = "silo", version, propagate_version = true, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const OVERVIEW: &str = "\
A first look:
  silo demo                                        real data, loaded and queried
  silo load flights.silo flights.csv.gz            a silo from a file; the schema is guessed
  silo query flights.silo 'dest = \"SFO\" AND dep_delay > 60' --sort arr_delay:desc --limit 10

Exit codes: 0 done; 1 the work failed, or `check` found damage; 2 wrong usage, such as a filter that
does not parse or a field that does not exist. Messages go to standard error, answers to standard output.";

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Load real flights, query, update, reopen: what this program does, in seconds
    Demo(DemoArgs),
    /// Print a schema (TOML) guessed from data, with its reasons
    #[command(after_help = INFER_EXAMPLES)]
    Infer(InferArgs),
    /// Load files into a silo, all or nothing
    #[command(after_help = LOAD_EXAMPLES)]
    Load(LoadArgs),
    /// Filter, sort and page; count, facet, summarise, explain
    #[command(after_help = QUERY_EXAMPLES)]
    Query(QueryArgs),
    /// Print records by id
    #[command(after_help = "Example:\n  silo get shop.silo 17 42")]
    Get(GetArgs),
    /// Put records, given as JSON objects
    #[command(after_help = PUT_EXAMPLES)]
    Put(PutArgs),
    /// Delete records by id or by filter
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(DeleteArgs),
    /// Time queries inside one process, without caches of results
    #[command(after_help = BENCH_EXAMPLES)]
    Bench(BenchArgs),
    /// Show what a silo holds: records, fields, bytes
    #[command(after_help = "Example:\n  silo stats shop.silo --format json")]
    Stats(StatsArgs),
    /// Print a silo's schema (TOML), or change it
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema(SchemaArgs),
    /// Compare every checksum and every index entry with the records
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Fold pending operations and give the room of old versions back
    #[command(after_help = "Example:\n  silo compact shop.silo")]
    Compact(CompactArgs),
    /// Copy a silo while it is in use; the copy shares files where the file system can
    #[command(after_help = "Example:\n  silo backup shop.silo /mnt/backup/shop-monday.silo")]
    Backup(BackupArgs),
    /// Write all records out
    #[command(after_help = EXPORT_EXAMPLES)]
    Export(ExportArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  silo completions bash > ~/.local/share/bash-completion/completions/silo"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

const INFER_EXAMPLES: &str = "\
Examples:
  silo infer flights.csv.gz > flights.toml      then edit, and: silo load DIR FILE --schema flights.toml
  silo infer part-*.parquet";

const LOAD_EXAMPLES: &str = "\
Files are CSV, TSV, NDJSON or Parquet, each plain, gzip or zstd; `-` is standard input.
An empty field is null, an empty quoted field is an empty string. Without --schema the schema is guessed, and
NA, NULL and \\N are recognised as null; with one, name such spellings by --null. Without --id records
are numbered from 1 in input order, unless a column has the name that the schema gives the id.
Times are read as UTC where they name no zone. A load is all or nothing: if it fails, or is killed, the silo is as before.

Examples:
  silo load shop.silo orders.csv
  silo load images.silo images.csv --schema images.toml --id imageId --threads 2
  silo load images.silo tags.csv --mode merge --id imageId --add tagId:tagIds
  silo load flights.silo flights.csv --join planes.csv:tailnum=tailnum:manufacturer,seats
  zstdcat log.ndjson.zst | silo load log.silo - --rejects rejected.txt";

const QUERY_EXAMPLES: &str = "\
Filters:
  =  !=  <  <=  >  >=   IN [..]   NOT IN [..]   BETWEEN .. AND ..   STARTS WITH \"..\"
  IS NULL   IS NOT NULL   IS EMPTY   AND   OR   NOT   ( )
  Strings are quoted, dates are ISO 8601. A comparison with a field of several values holds if any
  value satisfies it. As in SQL, a comparison with null holds never, also under NOT.

Examples:
  silo query shop.silo 'level IN [1, 2] AND tags = 4 AND NOT tags = 77' --sort score:desc --limit 50
  silo query shop.silo 'created >= 2024-01-01 AND name STARTS WITH \"SD\"' --fields id,name --format csv
  silo query shop.silo --count
  silo query shop.silo 'level = 1' --facet tags:10 --facet kind --stats score --limit 0
  silo query shop.silo 'tags = 4' --sort score:desc --limit 50 --cursor 'AbC…'      the next page
  silo query shop.silo 'tags = 4 AND level = 1' --explain";

const PUT_EXAMPLES: &str = "\
One JSON object a line (or an array of objects), with the id under the name that the schema gives it. A record
that exists is replaced; with --merge only the named fields change.

Examples:
  echo '{\"id\": 17, \"name\": \"tent\", \"tags\": [4, 9]}' | silo put shop.silo -
  silo put shop.silo changes.ndjson --merge";

const DELETE_EXAMPLES: &str = "\
Examples:
  silo delete shop.silo 17 42
  silo delete shop.silo --filter 'created < 2020-01-01'";

const BENCH_EXAMPLES: &str = "\
A line of the file is one query:
  {\"name\": \"two tags\", \"filter\": \"tags = 4 AND tags = 9\", \"sort\": \"score:desc\", \"limit\": 50,
   \"offset\": 0, \"cursor\": null, \"facets\": [\"kind:10\"], \"count\": false}
Each is run once to warm up, which also counts its matches, then --repeat times; times are microseconds. Matches are
counted again in each run only where \"count\" is true, which asks for the count alone. Queries whose names have
the same beginning up to a slash (\"two tags/1\", \"two tags/2\") are summed up as a group.

Example:
  silo bench shop.silo --queries queries.ndjson --repeat 100 --threads 2 --format json";

const SCHEMA_EXAMPLES: &str = "\
Examples:
  silo schema shop.silo > shop.toml
  silo schema shop.silo --set shop.toml      after adding fields to it";

const CHECK_EXAMPLES: &str = "\
Examples:
  silo check shop.silo
  silo check shop.silo --repair      rebuilds the indexes that differ; records are the truth";

const EXPORT_EXAMPLES: &str = "\
Examples:
  silo export shop.silo --format csv > shop.csv
  silo schema shop.silo > shop.toml
  silo load copy.silo shop.csv --schema shop.toml --id id --split 'tags:;'
  silo export shop.silo --format parquet --output shop.parquet";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where to make the silo, which is kept; else a temporary folder
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Threads for the load; all cores if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct InferArgs {
    /// Files with the same columns; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The column with the record's id
    #[arg(long, value_name = "COL")]
    pub(crate) id: Option<String>,
    /// A spelling of null, beside the empty field; may be repeated
    #[arg(long = "null", value_name = "TEXT")]
    pub(crate) nulls: Vec<String>,
    /// A text column with several values in it, and what lies between them; may be repeated
    #[arg(long = "split", value_name = "FIELD:SEP")]
    pub(crate) splits: Vec<Split>,
}

/// What a load does with a silo and with records that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Make a new silo; refuse a directory that holds one
    Create,
    /// Add records to a silo; a record that exists is replaced
    Append,
    /// Set the file's columns on records that exist, and create the others
    Merge,
}

#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// CSV, TSV, NDJSON or Parquet files; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The schema (TOML); guessed from the files if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) schema: Option<PathBuf>,
    /// The column with the record's id; records are numbered from 1 if left out
    #[arg(long, value_name = "COL")]
    pub(crate) id: Option<String>,
    /// What to do with a silo and records that exist
    #[arg(long, value_enum, default_value_t = Mode::Create)]
    pub(crate) mode: Mode,
    /// Add the values of a column to a field of several values; may be repeated
    #[arg(long = "add", value_name = "COL:FIELD")]
    pub(crate) adds: Vec<ColumnToField>,
    /// Cut a text column into several values; may be repeated
    #[arg(long = "split", value_name = "FIELD:SEP")]
    pub(crate) splits: Vec<Split>,
    /// Look up columns of another file by a key; may be repeated. FIELD may be NAME=FIELD to give it another name
    #[arg(long = "join", value_name = "FILE:KEY=COL[:FIELD,…]")]
    pub(crate) joins: Vec<JoinText>,
    /// A spelling of null, beside the empty field; may be repeated
    #[arg(long = "null", value_name = "TEXT")]
    pub(crate) nulls: Vec<String>,
    /// Threads; all cores if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: Option<u16>,
    /// Heap for parsing and joined files, such as 2GiB or 500MB; what is larger goes through temporary files
    #[arg(long, value_name = "BYTES", default_value = "2GiB")]
    pub(crate) memory: ByteCount,
    /// Where to write the rejected rows, with line and reason
    #[arg(long, value_name = "FILE")]
    pub(crate) rejects: Option<PathBuf>,
    /// How to print what was done
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// How records are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum QueryFormat {
    /// For people
    Table,
    /// One object with total, ids, cursor, documents, facets, stats
    Json,
    /// One record a line
    Ndjson,
    /// A header and one record a line
    Csv,
}

#[derive(Debug, Args)]
pub(crate) struct QueryArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Which records; all if left out
    pub(crate) filter: Option<String>,
    /// The order; by id, descending, if left out. Ties are broken by id in the same direction
    #[arg(long, value_name = "FIELD:asc|desc")]
    pub(crate) sort: Option<String>,
    /// Records on a page
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) limit: usize,
    /// Go on after the page that gave this cursor
    #[arg(long, value_name = "C", conflicts_with = "offset")]
    pub(crate) cursor: Option<String>,
    /// Leave out the first records
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) offset: usize,
    /// Fields to print, separated by commas; `*` for all
    #[arg(long, value_name = "a,b|*")]
    pub(crate) fields: Option<String>,
    /// Count the matches by the values of a field, the N most frequent (10); may be repeated
    #[arg(long = "facet", value_name = "FIELD[:N]")]
    pub(crate) facets: Vec<String>,
    /// Lowest, highest, sum and mean of a field over the matches; may be repeated
    #[arg(long = "stats", value_name = "FIELD")]
    pub(crate) stats: Vec<String>,
    /// Print only how many records match
    #[arg(long)]
    pub(crate) count: bool,
    /// Print how the query is evaluated, with estimated and true counts
    #[arg(long)]
    pub(crate) explain: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub(crate) format: QueryFormat,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Ids of records
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<String>,
    /// Fields to print, separated by commas; `*` for all
    #[arg(long, value_name = "a,b|*")]
    pub(crate) fields: Option<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = QueryFormat::Ndjson)]
    pub(crate) format: QueryFormat,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// JSON objects, one a line, or an array; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Change only the named fields of records that exist
    #[arg(long)]
    pub(crate) merge: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["ids", "filter"]))]
pub(crate) struct DeleteArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Ids of records
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Delete all records that match
    #[arg(long, value_name = "F", conflicts_with = "ids")]
    pub(crate) filter: Option<String>,
}

/// A table for people, or JSON for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Queries, one JSON object a line
    #[arg(long, value_name = "FILE.ndjson")]
    pub(crate) queries: PathBuf,
    /// Threads that run queries at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) threads: u16,
    /// Runs of each query, after one to warm up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) repeat: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Take this schema: fields and indexes can be added, and indexes removed
    #[arg(long, value_name = "FILE")]
    pub(crate) set: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// Rebuild what differs from the records
    #[arg(long)]
    pub(crate) repair: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// A directory that does not exist yet
    pub(crate) dest: PathBuf,
}

/// Formats of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// A header and one record a line; lists joined by the separator
    Csv,
    /// One JSON object a line
    Ndjson,
    /// Apache Parquet
    Parquet,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The silo's directory
    pub(crate) dir: PathBuf,
    /// The file's format
    #[arg(long, value_enum, default_value_t = ExportFormat::Ndjson)]
    pub(crate) format: ExportFormat,
    /// What stands between the values of a list in CSV
    #[arg(long, value_name = "SEP", default_value = ";", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) separator: String,
    /// Where to write; standard output if left out
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// `COL:FIELD`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnToField {
    pub(crate) column: String,
    pub(crate) field: String,
}

impl FromStr for ColumnToField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.rsplit_once(':') {
            Some((column, field)) if !column.is_empty() && !field.is_empty() => {
                Ok(Self { column: column.to_owned(), field: field.to_owned() })
            }
            _ => Err("give a column and a field, as in tagId:tagIds".into()),
        }
    }
}

/// `FIELD:SEP`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    pub(crate) field: String,
    pub(crate) separator: String,
}

impl FromStr for Split {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((field, separator)) if !field.is_empty() && !separator.is_empty() => {
                Ok(Self { field: field.to_owned(), separator: separator.to_owned() })
            }
            _ => Err("give a field and a separator, as in 'tags:;'".into()),
        }
    }
}

/// A number of bytes: plain, or with kB, MB, GB (powers of 1,000), KiB, MiB, GiB (powers of 1,024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ByteCount(pub(crate) u64);

impl FromStr for ByteCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || format!("{text:?} is no number of bytes; write 2GiB, 500MB or 1048576");
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match text.get(digits.len()..).unwrap_or_default().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(shape()),
        };
        let count: u64 = digits.trim().parse().map_err(|_| shape())?;
        count.checked_mul(factor).map(Self).ok_or_else(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn byte_counts_are_read() {
        for (text, bytes) in [("1", 1), ("2GiB", 2 << 30), ("500MB", 500_000_000), ("64k", 65_536)] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)));
        }
        for wrong in ["", "GiB", "1.5GiB", "3 parsecs", "99999999999GiB"] {
            assert!(wrong.parse::<ByteCount>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_are_read() {
        let add: ColumnToField = "tagId:tagIds".parse().unwrap();
        assert_eq!((add.column.as_str(), add.field.as_str()), ("tagId", "tagIds"));
        let split: Split = "tags:::".parse().unwrap();
        assert_eq!((split.field.as_str(), split.separator.as_str()), ("tags", "::"));
        assert!("tags".parse::<ColumnToField>().is_err() && ":x".parse::<Split>().is_err());
    }
}
