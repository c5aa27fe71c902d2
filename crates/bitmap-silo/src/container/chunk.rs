//! A chunk made by an operation, in whichever form it came out.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

use super::ARRAY_MAX;
use super::scratch::Scratch;
use super::view::{ArrayRef, ContainerRef, RunsRef, as_le16};
use crate::kernels::LIST_SLACK;

/// Values a list buffer holds: two full arrays and the slack of list kernels.
pub(crate) const LIST_CAPACITY: usize = 2 * ARRAY_MAX as usize + LIST_SLACK;
/// Runs a list buffer holds.
pub(crate) const RUNS_CAPACITY: usize = LIST_CAPACITY / 2;

/// Room for a list of values, or for half as many runs.
pub(crate) type List = [u16; LIST_CAPACITY];

/// Which of the buffers holds the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// No value.
    #[default]
    Empty,
    /// The first values of one of the lists.
    List { side: Side, len: usize },
    /// The words, with this many ones.
    Words { cardinality: u32 },
    /// The first pairs of one of the lists.
    Runs { side: Side, len: usize, cardinality: u32 },
}

/// One of the two lists of a buffer; successive operations read one and write the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Buffers for one chunk: a bitset and two lists.
#[derive(Debug)]
pub(crate) struct ChunkBuf {
    pub(crate) words: Scratch,
    pub(crate) left: List,
    pub(crate) right: List,
    /// Further bitsets, made when first needed.
    pub(crate) extra: Vec<Scratch>,
    pub(crate) form: Form,
}

impl ChunkBuf {
    #[expect(clippy::large_stack_arrays, reason = "made once per pooled buffer")]
    fn new() -> Self {
        Self {
            words: Scratch::new(),
            left: [0; LIST_CAPACITY],
            right: [0; LIST_CAPACITY],
            extra: Vec::new(),
            form: Form::Empty,
        }
    }

    /// The result as a container.
    pub(crate) fn container(&self) -> ContainerRef<'_> {
        match self.form {
            Form::Empty => ContainerRef::EMPTY,
            Form::List { side, len } => {
                ArrayRef::from_values(self.list(side).get(..len).unwrap_or(&[])).into()
            }
            Form::Words { cardinality } => self.words.as_bitset(cardinality).into(),
            Form::Runs { side, len, cardinality } => {
                RunsRef::new(pairs(self.list(side), len), cardinality).into()
            }
        }
    }

    fn list(&self, side: Side) -> &List {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// The list of one side to read, the other to write, and the words.
    pub(crate) fn split(&mut self, read: Side) -> (&List, &mut List, &mut Scratch) {
        match read {
            Side::Left => (&self.left, &mut self.right, &mut self.words),
            Side::Right => (&self.right, &mut self.left, &mut self.words),
        }
    }
}

/// The first `len` pairs of a list that holds runs as (first, length − 1).
pub(crate) fn pairs(list: &List, len: usize) -> &[[u8; 4]] {
    as_le16(list).as_flattened().as_chunks().0.get(..len).unwrap_or(&[])
}

/// Most idle buffers that a thread keeps.
const POOL_MAX: usize = 32;

thread_local! {
    static POOL: RefCell<Vec<Box<ChunkBuf>>> = const { RefCell::new(Vec::new()) };
}

/// A chunk buffer on loan from the thread's pool, so that short evaluations do not pay for
/// clearing 40 KiB.
#[derive(Debug)]
pub(crate) struct PooledChunk(Option<Box<ChunkBuf>>);

impl PooledChunk {
    /// A buffer with whatever contents, in the empty form.
    pub(crate) fn take() -> Self {
        let idle = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
        let mut buf = idle.unwrap_or_else(|| Box::new(ChunkBuf::new()));
        buf.form = Form::Empty;
        Self(Some(buf))
    }
}

impl Drop for PooledChunk {
    fn drop(&mut self) {
        if let Some(buf) = self.0.take() {
            // While the thread ends its pool may be gone; the buffer is then just freed.
            let _ = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < POOL_MAX {
                    pool.push(buf);
                }
            });
        }
    }
}

impl Deref for PooledChunk {
    type Target = ChunkBuf;

    fn deref(&self) -> &ChunkBuf {
        match &self.0 {
            Some(buf) => buf,
            None => unreachable!("a buffer leaves its guard only when that is dropped"),
        }
    }
}

impl DerefMut for PooledChunk {
    fn deref_mut(&mut self) -> &mut ChunkBuf {
        match &mut self.0 {
            Some(buf) => buf,
            None => unreachable!("a buffer leaves its guard only when that is dropped"),
        }
    }
}
