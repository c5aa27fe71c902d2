//! One way to do the work.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use cpu_time::ProcessTime;

use crate::random::mix;

/// What one execution gave.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Wall time.
    pub wall: Duration,
    /// CPU time of the process.
    pub cpu: Duration,
    /// Digest of what was made, if it was asked for and the strategy makes something.
    pub digest: Option<u64>,
}

type Execution<'a> = Box<dyn FnMut(bool) -> Result<Sample> + 'a>;
type Figures<'a> = Box<dyn Fn() -> Result<Vec<(String, f64)>> + 'a>;

/// A named way to do the work.
pub struct Strategy<'a> {
    /// Its name in the experiment's list.
    pub name: &'static str,
    pub(super) execute: Execution<'a>,
    pub(super) figures: Option<Figures<'a>>,
}

impl std::fmt::Debug for Strategy<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Strategy").field(&self.name).finish()
    }
}

impl<'a> Strategy<'a> {
    /// `work` is timed, `digest` of its result is not, nor is dropping it.
    pub fn new<O>(
        name: &'static str,
        mut work: impl FnMut() -> Result<O> + 'a,
        digest: impl Fn(&O) -> Result<u64> + 'a,
    ) -> Self {
        Self::with_input(name, || Ok(()), move |()| work(), digest)
    }

    /// As [`new`](Self::new), for work that consumes an input, which is made outside of its time.
    pub fn with_input<I, O>(
        name: &'static str,
        mut input: impl FnMut() -> Result<I> + 'a,
        mut work: impl FnMut(I) -> Result<O> + 'a,
        digest: impl Fn(&O) -> Result<u64> + 'a,
    ) -> Self {
        let execute = move |wanted: bool| {
            let input = input()?;
            let (start, cpu_start) = (Instant::now(), ProcessTime::now());
            let made = black_box(work(black_box(input)));
            let (wall, cpu) = (start.elapsed(), cpu_start.elapsed());
            let made = made?;
            let digest = if wanted { Some(digest(&made)?) } else { None };
            Ok(Sample { wall, cpu, digest })
        };
        Self { name, execute: Box::new(execute), figures: None }
    }

    /// Adds figures by name, such as bytes stored, taken once after the strategy was checked.
    #[must_use]
    pub fn with_figures(mut self, figures: impl Fn() -> Result<Vec<(String, f64)>> + 'a) -> Self {
        self.figures = Some(Box::new(figures));
        self
    }

    /// A physical limit: the least that the work takes. It makes nothing to compare.
    pub fn limit<O>(name: &'static str, mut work: impl FnMut() -> Result<O> + 'a) -> Self {
        Self::limit_with(name, || Ok(()), move |()| work())
    }

    /// As [`limit`](Self::limit), for work that consumes an input.
    pub fn limit_with<I, O>(
        name: &'static str,
        input: impl FnMut() -> Result<I> + 'a,
        work: impl FnMut(I) -> Result<O> + 'a,
    ) -> Self {
        let mut timed = Self::with_input(name, input, work, |_| Ok(0));
        let execute = move |_| Ok(Sample { digest: None, ..(timed.execute)(false)? });
        Self { name, execute: Box::new(execute), figures: None }
    }
}

/// A digest of a set or a sequence: equal for equal contents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// Adds an element whose place does not matter.
    pub fn add(&mut self, element: u64) {
        self.0 = self.0.wrapping_add(mix(element));
    }

    /// Adds an element that comes after those before.
    pub fn push(&mut self, element: u64) {
        self.0 = mix(self.0 ^ element.rotate_left(32));
    }

    /// Adds bytes that come after those before.
    pub fn push_bytes(&mut self, bytes: &[u8]) {
        self.push(xxhash_rust::xxh3::xxh3_64(bytes));
    }

    /// The digest of a sequence.
    pub fn of(elements: impl IntoIterator<Item = u64>) -> u64 {
        let mut digest = Self::default();
        elements.into_iter().for_each(|element| digest.push(element));
        digest.value()
    }

    /// The digest.
    #[must_use]
    pub fn value(self) -> u64 {
        self.0
    }
}
