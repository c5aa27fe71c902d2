//! Files as bytes: mapped where they lie, or streamed through a decompressor.

pub(crate) mod blocks;
mod map;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::progress::Progress;
pub(crate) use map::Mapping;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields between commas.
    Csv,
    /// Fields between tabs.
    Tsv,
    /// A JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Plain,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// The bytes of a file, decompressed.
pub(crate) enum Content {
    Mapped(Mapping),
    Stream(Box<dyn Read + Send>),
}

/// An opened file.
pub(crate) struct Input {
    pub format: Format,
    pub compression: Compression,
    pub content: Content,
}

/// Enough of a file to tell its format.
const HEAD_BYTES: u64 = 64 << 10;

/// Whether a path means standard input.
fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The bytes on disk of a file, as far as they are known.
pub(crate) fn file_bytes(path: &Path) -> u64 {
    if is_stdin(path) {
        return 0;
    }
    path.metadata().map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 })
}

/// Opens a file; `format` overrides what its name and content say.
pub(crate) fn open(path: &Path, format: Option<Format>, progress: &Arc<Progress>) -> Result<Input> {
    let io = |source| Error::io(path)(source);
    let (mut raw, file): (Box<dyn Read + Send>, Option<File>) = if is_stdin(path) {
        (Box::new(io::stdin()), None)
    } else {
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        if metadata.is_dir() {
            return Err(Error::input(path, "is a directory; name the files in it"));
        }
        let mappable = metadata.is_file() && metadata.len() > 0;
        (Box::new(file.try_clone().map_err(io)?), mappable.then_some(file))
    };
    let magic = head(&mut raw, 4).map_err(io)?;
    let compression = match *magic {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] => Compression::Zstd,
        _ => Compression::Plain,
    };
    if let (Compression::Plain, Some(file)) = (compression, file) {
        let mapping = Mapping::new(&file).map_err(io)?;
        let format = format.unwrap_or_else(|| guess(path, mapping.as_ref()));
        return Ok(Input { format, compression, content: Content::Mapped(mapping) });
    }
    let raw = Counted { inner: Cursor::new(magic).chain(raw), progress: Arc::clone(progress) };
    let mut stream: Box<dyn Read + Send> = match compression {
        Compression::Plain => Box::new(raw),
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, raw))),
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::new(raw).map_err(io)?),
    };
    let first = head(&mut stream, HEAD_BYTES).map_err(io)?;
    let format = format.unwrap_or_else(|| guess(path, &first));
    let stream = Cursor::new(first).chain(stream);
    let content = if format == Format::Parquet {
        Content::Mapped(spool(stream).map_err(io)?)
    } else {
        Content::Stream(Box::new(stream))
    };
    Ok(Input { format, compression, content })
}

/// The first bytes of a stream, at most so many.
fn head(reader: &mut impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    reader.take(most).read_to_end(&mut head)?;
    Ok(head)
}

/// Copies a stream into a nameless file and maps that.
fn spool(mut stream: impl Read) -> io::Result<Mapping> {
    let mut file = tempfile::tempfile()?;
    if io::copy(&mut stream, &mut file)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
    }
    Mapping::new(&file)
}

/// The format by name, else by content.
fn guess(path: &Path, head: &[u8]) -> Format {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let name = [".gz", ".zst"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "csv" => return Format::Csv,
        "tsv" | "tab" => return Format::Tsv,
        "ndjson" | "jsonl" | "json" => return Format::Ndjson,
        "parquet" | "pq" => return Format::Parquet,
        _ => {}
    }
    let text = head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(head);
    let line = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    if head.starts_with(b"PAR1") {
        Format::Parquet
    } else if text.trim_ascii_start().starts_with(b"{") {
        Format::Ndjson
    } else if line.contains(&b'\t') && !line.contains(&b',') {
        Format::Tsv
    } else {
        Format::Csv
    }
}

/// UTF-8's byte order mark.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Tells how much has been read.
struct Counted<R> {
    inner: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.progress.add_bytes(read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats_and_content_tells_those_without() {
        for (name, content, expected) in [
            ("a.csv", "{", Format::Csv),
            ("a.csv.gz", "", Format::Csv),
            ("a.TSV.zst", "", Format::Tsv),
            ("a.jsonl", "", Format::Ndjson),
            ("a.parquet", "", Format::Parquet),
            ("-", "PAR1....", Format::Parquet),
            ("-", "\u{feff} {\"a\":1}", Format::Ndjson),
            ("data", "a\tb\n1\t2,3", Format::Tsv),
            ("data.txt", "a\tb,c\n", Format::Csv),
            ("data", "", Format::Csv),
        ] {
            assert_eq!(guess(Path::new(name), content.as_bytes()), expected, "{name} {content}");
        }
    }
}
