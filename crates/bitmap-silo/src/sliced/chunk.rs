//! The layers of one chunk at a time.

use super::view::SlicedView;
use crate::container::{ContainerRef, Scratch};
use crate::kernels::Bits;
use crate::source::Source;

/// The layers as words, where they are none in the chunk.
static NONE: Bits = [[0; 8]; 1024];

/// A position of all layers in one chunk.
#[derive(Debug)]
pub(super) struct Layers<'a> {
    sources: Vec<Source<'a>>,
    /// The chunk loaded last; sources move up only.
    at: Option<u16>,
    /// Whether each has slots in the chunk.
    active: Vec<bool>,
    /// Layers that are not bitsets, drawn as such when words are asked for.
    drawn: Vec<Option<Box<Scratch>>>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(view: &SlicedView<'a>) -> Self {
        let sources: Vec<Source<'a>> = view.layers.iter().map(Source::new).collect();
        let width = sources.len();
        Self { sources, at: None, active: vec![false; width], drawn: vec![None; width] }
    }

    /// Loads the containers of a chunk.
    pub(super) fn load(&mut self, chunk: u16) {
        let back = self.at.is_some_and(|at| at >= chunk);
        self.at = Some(chunk);
        for (source, active) in self.sources.iter_mut().zip(&mut self.active) {
            if back {
                source.rewind();
            }
            *active = source.seek(chunk) == Some(chunk) && source.load(chunk) > 0;
        }
    }

    /// The containers, lowest bit first.
    pub(super) fn containers(&self) -> impl DoubleEndedIterator<Item = ContainerRef<'_>> + ExactSizeIterator {
        self.sources
            .iter()
            .zip(&self.active)
            .map(|(source, active)| if *active { source.container() } else { ContainerRef::EMPTY })
    }

    /// The words of each layer, lowest bit first.
    pub(super) fn words(&mut self) -> Vec<&Bits> {
        let Self { sources, active, drawn, .. } = self;
        for ((source, active), drawn) in sources.iter().zip(&*active).zip(&mut *drawn) {
            if *active && !matches!(source.container(), ContainerRef::Bitset(_)) {
                drawn.get_or_insert_default().load(source.container());
            }
        }
        let layers = sources.iter().zip(&*active).zip(&*drawn);
        layers
            .map(|((source, active), drawn)| match (active, source.container(), drawn) {
                (false, ..) => &NONE,
                (true, ContainerRef::Bitset(bits), _) => bits.bits(),
                (true, _, Some(drawn)) => drawn.bits(),
                (true, _, None) => unreachable!("what is no bitset was drawn"),
            })
            .collect()
    }

    /// The highest or lowest number of the candidates, of which there must be one; leaves those
    /// that have it.
    pub(super) fn extreme(&self, candidates: &mut Scratch, highest: bool) -> u64 {
        let mut number = 0;
        for (bit, layer) in self.containers().enumerate().rev() {
            let with = candidates.count_and(layer);
            let all = candidates.cardinality();
            let one = if highest { with > 0 } else { with == all };
            number |= u64::from(one) << bit;
            if with != 0 && with != all {
                if highest {
                    candidates.and(layer);
                } else {
                    candidates.and_not(layer);
                }
            }
        }
        number
    }
}
