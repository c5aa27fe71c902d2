//! Files cut into blocks of whole records.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use memchr::{memchr, memchr_iter};

use super::Content;
use crate::chain::Chain;
use crate::reject::Reason;
use crate::text::cut::{Cut, Follow, Records};

/// Kept of the text of a record that is too long.
const SAMPLE_BYTES: usize = 4 << 10;

/// Blocks of a text file, for several threads to take.
pub(crate) struct Blocks {
    records: Records,
    block_bytes: usize,
    most_bytes: usize,
    source: Source,
}

enum Source {
    Mapped {
        mapping: super::Mapping,
        start: usize,
        next: AtomicU64,
        /// Where the block's first record begins.
        begin: Chain<usize>,
    },
    Stream(Mutex<Stream>),
}

struct Stream {
    reader: Box<dyn Read + Send>,
    /// Read, but not handed out.
    carry: Vec<u8>,
    ordinal: u64,
    ended: bool,
}

/// A block of whole records.
pub(crate) struct Block {
    /// Counts from 0.
    pub ordinal: u64,
    /// Where the records lie, in the mapping or in the buffer.
    range: Range<usize>,
    /// A record behind them that cannot be taken.
    pub tail: Option<Tail>,
    /// Bytes of the file that had not been counted before.
    pub new_bytes: u64,
}

/// A record that is too long or not closed.
pub(crate) struct Tail {
    /// Lines that it takes.
    pub lines: u64,
    /// What is wrong.
    pub reason: Reason,
    /// Its first bytes.
    pub sample: Vec<u8>,
}

impl Tail {
    fn new(sample: &[u8], bytes: u64, lines: u64, open: bool) -> Tail {
        let reason =
            if open { Reason::Unclosed { lines: lines.max(1) } } else { Reason::Overlong { bytes } };
        Tail { lines, reason, sample: sample.get(..SAMPLE_BYTES).unwrap_or(sample).to_vec() }
    }
}

impl Blocks {
    /// The records of a file behind its first `start` bytes; of a stream, `carry` has been read.
    pub(crate) fn new(
        records: Records,
        block_bytes: usize,
        most_bytes: usize,
        content: Content,
        start: usize,
        carry: Vec<u8>,
    ) -> Blocks {
        let source = match content {
            Content::Mapped(mapping) => {
                Source::Mapped { mapping, start, next: AtomicU64::new(0), begin: Chain::new(start) }
            }
            Content::Stream(reader) => {
                Source::Stream(Mutex::new(Stream { reader, carry, ordinal: 0, ended: false }))
            }
        };
        Blocks { records, block_bytes: block_bytes.max(1), most_bytes, source }
    }

    /// Takes the next block; `buffer` is for streams, and must be given to [`Self::data`] again.
    pub(crate) fn take(&self, buffer: &mut Vec<u8>) -> io::Result<Option<Block>> {
        match &self.source {
            Source::Mapped { mapping, start, next, begin } => {
                let ordinal = next.fetch_add(1, Ordering::Relaxed);
                Ok(self.take_mapped(mapping.as_ref(), *start, ordinal, begin))
            }
            Source::Stream(stream) => {
                let mut stream = stream.lock().unwrap_or_else(PoisonError::into_inner);
                self.take_streamed(&mut stream, buffer)
            }
        }
    }

    /// The records of a block.
    pub(crate) fn data<'d>(&'d self, block: &Block, buffer: &'d [u8]) -> &'d [u8] {
        let all = match &self.source {
            Source::Mapped { mapping, .. } => mapping.as_ref(),
            Source::Stream(_) => buffer,
        };
        all.get(block.range.clone()).unwrap_or_default()
    }

    /// Whether the file is mapped.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.source, Source::Mapped { .. })
    }

    /// No more blocks will be asked for: whoever waits for one goes on.
    pub(crate) fn stop(&self) {
        match &self.source {
            Source::Mapped { begin, .. } => begin.stop(),
            Source::Stream(stream) => {
                stream.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
            }
        }
    }

    fn take_mapped(&self, data: &[u8], start: usize, ordinal: u64, begin: &Chain<usize>) -> Option<Block> {
        let nominal = usize::try_from(ordinal).ok()?.checked_mul(self.block_bytes)?.checked_add(start)?;
        if nominal >= data.len() {
            return None;
        }
        let target = nominal.saturating_add(self.block_bytes).min(data.len());
        // A guess: that the block does not begin in a quoted field.
        let guess = if ordinal == 0 {
            nominal
        } else {
            let line = data.get(nominal - 1..target).unwrap_or_default();
            memchr(b'\n', line).map_or(target, |at| nominal + at)
        };
        let guessed = self.records.cut(data, guess, target);
        let from = begin.wait(ordinal)?;
        let cut = if from == guess { guessed } else { self.records.cut(data, from, target) };
        begin.publish(cut.end);
        let tail = self.tail(data, cut);
        let range = from..if tail.is_some() { cut.last } else { cut.end };
        Some(Block { ordinal, range, tail, new_bytes: (target - nominal) as u64 })
    }

    /// The last record of a cut, if it cannot be taken.
    fn tail(&self, data: &[u8], cut: Cut) -> Option<Tail> {
        let record = data.get(cut.last..cut.end).unwrap_or_default();
        let content = record.strip_suffix(b"\n").unwrap_or(record);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        (cut.open || content.len() > self.most_bytes).then(|| {
            let lines = memchr_iter(b'\n', content).count() as u64 + 1;
            Tail::new(content, content.len() as u64, lines, cut.open)
        })
    }

    fn take_streamed(&self, stream: &mut Stream, buffer: &mut Vec<u8>) -> io::Result<Option<Block>> {
        buffer.clear();
        buffer.append(&mut stream.carry);
        let mut goal = self.block_bytes;
        loop {
            while buffer.len() < goal && !stream.ended {
                let wanted = (goal - buffer.len()) as u64;
                let read = stream.reader.by_ref().take(wanted).read_to_end(buffer);
                let read = read.inspect_err(|_| stream.ended = true)?;
                stream.ended = (read as u64) < wanted;
            }
            if buffer.is_empty() {
                return Ok(None);
            }
            let mut cut = self.records.cut(buffer, 0, buffer.len());
            if stream.ended || cut.complete {
                cut.end = buffer.len();
                let tail = self.tail(buffer, cut);
                let end = if tail.is_some() { cut.last } else { cut.end };
                return Ok(Some(stream.block(0..end, tail)));
            }
            if cut.last > 0 {
                stream.carry.extend_from_slice(buffer.get(cut.last..).unwrap_or_default());
                return Ok(Some(stream.block(0..cut.last, None)));
            }
            if buffer.len() > self.most_bytes.saturating_add(2) {
                let tail = self.skip(stream, buffer)?;
                return Ok(Some(stream.block(0..0, Some(tail))));
            }
            goal = goal.max(buffer.len()).saturating_mul(2);
        }
    }

    /// Reads on to the end of a record of which `buffer` has the beginning.
    fn skip(&self, stream: &mut Stream, buffer: &mut Vec<u8>) -> io::Result<Tail> {
        let sample = buffer.get(..SAMPLE_BYTES).unwrap_or(buffer).to_vec();
        let mut follow = Follow::new(self.records);
        let (mut bytes, mut lines) = (0, 0);
        // The last two bytes, to leave the line break out of the count as elsewhere.
        let mut last = [0; 2];
        loop {
            let end = follow.end(buffer);
            let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            bytes += part.len() as u64;
            lines += memchr_iter(b'\n', part).count() as u64;
            for &byte in part.get(part.len().saturating_sub(2)..).unwrap_or_default() {
                last = [last[1], byte];
            }
            let line_break = match last {
                [b'\r', b'\n'] => 2,
                [_, b'\n' | b'\r'] => 1,
                _ => 0,
            };
            if let Some(end) = end {
                stream.carry.extend_from_slice(buffer.get(end..).unwrap_or_default());
                return Ok(Tail::new(&sample, bytes - line_break, lines, false));
            }
            buffer.clear();
            let wanted = self.block_bytes.max(1 << 10) as u64;
            if stream.reader.by_ref().take(wanted).read_to_end(buffer)? == 0 {
                stream.ended = true;
                let unended = u64::from(last[1] != b'\n');
                return Ok(Tail::new(&sample, bytes - line_break, lines + unended, follow.is_open()));
            }
        }
    }
}

impl Stream {
    fn block(&mut self, range: Range<usize>, tail: Option<Tail>) -> Block {
        let ordinal = self.ordinal;
        self.ordinal += 1;
        Block { ordinal, range, tail, new_bytes: 0 }
    }
}
