//! Values with bitmaps are known to indexes by 32-bit codes.
//!
//! Numbers of at most 32 bits are their own code, and so are others from 0 to 2³¹ − 1; whatever else has a
//! bitmap (text, wide numbers) is a *term* and gets a code in a durable list that only grows. See
//! `docs/format/silo-engine-v1.md`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use datasilo::{Batch, Keyspace, Snapshot};

use crate::entries::Term;
use crate::error::{Error, Result};
use crate::schema::FieldType;
use crate::value::{Value, integer_key, value_of_key};

/// The lowest code of a term of a number field; below it codes are numbers.
const FIRST_TERM: u32 = 1 << 31;
/// The longest text with a bitmap, in bytes.
pub(crate) const MAX_TERM_LEN: usize = 32 << 10;

/// How a value gets its code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Coded {
    /// It is the value.
    Direct(u32),
    /// It stands in the list under these bytes, which are ordered as the values are.
    Listed(Vec<u8>),
}

/// How a number gets its code.
pub(crate) fn code_of_key(kind: FieldType, key: u64) -> Coded {
    #[expect(clippy::cast_possible_truncation, reason = "numbers of these types have 32 bits")]
    match kind {
        FieldType::Bool | FieldType::Unsigned(8 | 16 | 32) => Coded::Direct(key as u32),
        FieldType::Signed(8 | 16 | 32) => Coded::Direct(key as u32 ^ 1 << 31),
        _ => match value_of_key(kind, key) {
            Value::Int(x) if (0..i128::from(FIRST_TERM)).contains(&x) => {
                Coded::Direct(u32::try_from(x).unwrap_or(u32::MAX))
            }
            _ => Coded::Listed(key.to_be_bytes().to_vec()),
        },
    }
}

/// How a value gets its code.
pub(crate) fn code_of_term(kind: FieldType, term: &Term<'_>) -> Coded {
    match term {
        Term::Key(key) => code_of_key(kind, *key),
        Term::Text(text) => Coded::Listed(text.as_bytes().to_vec()),
    }
}

/// The sort key of a code that is its value; none for terms.
pub(crate) fn key_of_code(kind: FieldType, code: u32) -> Option<u64> {
    match kind {
        FieldType::Bool | FieldType::Unsigned(8 | 16 | 32) => Some(u64::from(code)),
        FieldType::Signed(8 | 16 | 32) => Some(integer_key(kind, i128::from((code ^ 1 << 31).cast_signed()))),
        FieldType::String | FieldType::Float(_) => None,
        _ => (code < FIRST_TERM).then(|| integer_key(kind, i128::from(code))),
    }
}

/// The codes that are their values and whose sort keys are in a range, as a range that may be empty.
pub(crate) fn direct_codes(kind: FieldType, low: u64, high: u64) -> Option<(u32, u32)> {
    let first = match kind {
        FieldType::String | FieldType::Float(_) => return None,
        FieldType::Bool => (0, 1),
        FieldType::Unsigned(8 | 16 | 32) => (0, u64::from(u32::MAX)),
        FieldType::Signed(8 | 16 | 32) => {
            let bound = |x: i32| integer_key(kind, i128::from(x));
            (bound(i32::MIN), bound(i32::MAX))
        }
        _ => (integer_key(kind, 0), integer_key(kind, i128::from(FIRST_TERM - 1))),
    };
    let (low, high) = (low.max(first.0), high.min(first.1));
    if low > high {
        return None;
    }
    match (code_of_key(kind, low), code_of_key(kind, high)) {
        (Coded::Direct(low), Coded::Direct(high)) => Some((low, high)),
        _ => None,
    }
}

/// The first code that the list of a field gives.
fn first_code(kind: FieldType) -> u32 {
    if kind == FieldType::String { 0 } else { FIRST_TERM }
}

/// A field's terms, ascending by their bytes, with their codes.
#[derive(Debug, Default)]
pub(crate) struct SortedTerms {
    terms: Vec<(Box<[u8]>, u32)>,
}

impl SortedTerms {
    /// Codes of the terms for which `from` is true to the last for which `to` is; both ascend from false
    /// to true and from true to false.
    pub(crate) fn codes(
        &self,
        before: impl Fn(&[u8]) -> bool,
        within: impl Fn(&[u8]) -> bool,
    ) -> impl Iterator<Item = u32> + '_ {
        let start = self.terms.partition_point(|(term, _)| before(term));
        let rest = self.terms.get(start..).unwrap_or_default();
        let len = rest.partition_point(|(term, _)| within(term));
        rest.get(..len).unwrap_or_default().iter().map(|(_, code)| *code)
    }
}

/// The lists of all fields.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) keyspace: Keyspace,
    /// Lists that were read whole. They only grow, so a longer one serves older snapshots as well:
    /// terms of the future have empty bitmaps there.
    sorted: Mutex<HashMap<u16, Arc<SortedTerms>>>,
}

fn code_key(number: u16, term: &[u8]) -> Vec<u8> {
    let mut key = vec![0];
    key.extend_from_slice(&number.to_le_bytes());
    key.extend_from_slice(term);
    key
}

fn term_key(number: u16, index: u32) -> [u8; 7] {
    let mut key = [1; 7];
    let (field, of_term) = key[1..].split_at_mut(2);
    field.copy_from_slice(&number.to_le_bytes());
    of_term.copy_from_slice(&index.to_le_bytes());
    key
}

fn count_key(number: u16) -> [u8; 3] {
    let [a, b] = number.to_le_bytes();
    [2, a, b]
}

fn read_u32(bytes: &[u8], what: &str) -> Result<u32> {
    let bytes = bytes.try_into().map_err(|_| Error::damaged(what, "it has not four bytes"))?;
    Ok(u32::from_le_bytes(bytes))
}

impl Terms {
    pub(crate) fn new(keyspace: Keyspace) -> Self {
        Self { keyspace, sorted: Mutex::default() }
    }

    /// The code of a term, by the number of its field.
    pub(crate) fn code(&self, snapshot: &Snapshot, number: u16, term: &[u8]) -> Result<Option<u32>> {
        if term.len() > MAX_TERM_LEN {
            return Ok(None);
        }
        let code = snapshot.get(&self.keyspace, code_key(number, term))?;
        code.map(|code| read_u32(&code, "code of a term")).transpose()
    }

    /// The code of a value; none if it has none yet, so that no record has the value.
    pub(crate) fn find(&self, snapshot: &Snapshot, number: u16, coded: &Coded) -> Result<Option<u32>> {
        match coded {
            Coded::Direct(code) => Ok(Some(*code)),
            Coded::Listed(term) => self.code(snapshot, number, term),
        }
    }

    /// How many terms a field has.
    pub(crate) fn count(&self, snapshot: &Snapshot, number: u16) -> Result<u32> {
        let count = snapshot.get(&self.keyspace, count_key(number))?;
        count.map_or(Ok(0), |count| read_u32(&count, "number of terms"))
    }

    /// The value of a code.
    pub(crate) fn value(
        &self,
        snapshot: &Snapshot,
        number: u16,
        kind: FieldType,
        code: u32,
    ) -> Result<Value> {
        if let Some(key) = key_of_code(kind, code) {
            return Ok(value_of_key(kind, key));
        }
        let missing = || Error::damaged("terms", format!("field {number} has no term of code {code}"));
        let index = code.checked_sub(first_code(kind)).ok_or_else(missing)?;
        let term = snapshot.get(&self.keyspace, term_key(number, index))?.ok_or_else(missing)?;
        if kind == FieldType::String {
            let text = std::str::from_utf8(&term).map_err(|why| Error::damaged("term", why))?;
            return Ok(Value::from(text));
        }
        let key = term.as_ref().try_into().map_err(|_| Error::damaged("term", "it has not eight bytes"))?;
        Ok(value_of_key(kind, u64::from_be_bytes(key)))
    }

    /// All terms of a field, in order.
    pub(crate) fn sorted(
        &self,
        snapshot: &Snapshot,
        number: u16,
        kind: FieldType,
    ) -> Result<Arc<SortedTerms>> {
        let count = self.count(snapshot, number)?;
        let lock = || self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&number).filter(|known| known.terms.len() >= count as usize) {
            return Ok(Arc::clone(known));
        }
        let mut terms = Vec::with_capacity(count as usize);
        for index in 0..count {
            let term = snapshot.get(&self.keyspace, term_key(number, index))?.ok_or_else(|| {
                Error::damaged("terms", format!("term {index} of field {number} is missing"))
            })?;
            terms.push((term.into_owned().into_boxed_slice(), first_code(kind) + index));
        }
        terms.sort_unstable();
        let sorted = Arc::new(SortedTerms { terms });
        lock().insert(number, Arc::clone(&sorted));
        Ok(sorted)
    }
}

/// Gives codes to values.
pub(crate) trait AssignCodes {
    /// The code of a value, by number and kind of its field; it gets one if it has none.
    fn assign(
        &mut self,
        terms: &Terms,
        snapshot: &Snapshot,
        of: (u16, FieldType),
        coded: Coded,
    ) -> Result<u32>;
}

/// Codes that threads find and bring into being together.
#[derive(Debug)]
pub(crate) struct SharedTerms<'a> {
    all: &'a Mutex<NewTerms>,
    /// What this thread has asked for.
    known: HashMap<u16, HashMap<Vec<u8>, u32>>,
}

impl<'a> SharedTerms<'a> {
    pub(crate) fn new(all: &'a Mutex<NewTerms>) -> Self {
        Self { all, known: HashMap::new() }
    }
}

impl AssignCodes for SharedTerms<'_> {
    fn assign(
        &mut self,
        terms: &Terms,
        snapshot: &Snapshot,
        of: (u16, FieldType),
        coded: Coded,
    ) -> Result<u32> {
        let term = match coded {
            Coded::Direct(code) => return Ok(code),
            Coded::Listed(term) => term,
        };
        let known = self.known.entry(of.0).or_default();
        if let Some(code) = known.get(&term) {
            return Ok(*code);
        }
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let code = all.assign(terms, snapshot, of, Coded::Listed(term.clone()))?;
        known.insert(term, code);
        Ok(code)
    }
}

/// Codes that a change brings into being, or found already there.
#[derive(Debug, Default)]
pub(crate) struct NewTerms {
    known: HashMap<u16, HashMap<Vec<u8>, u32>>,
    /// Terms of each field by now, and those that are new.
    counts: HashMap<u16, (u32, NewCodes)>,
}

/// Terms and the codes that they got.
type NewCodes = Vec<(Vec<u8>, u32)>;

impl AssignCodes for NewTerms {
    fn assign(
        &mut self,
        terms: &Terms,
        snapshot: &Snapshot,
        (number, kind): (u16, FieldType),
        coded: Coded,
    ) -> Result<u32> {
        let term = match coded {
            Coded::Direct(code) => return Ok(code),
            Coded::Listed(term) => term,
        };
        if let Some(code) = self.known.get(&number).and_then(|known| known.get(&term)) {
            return Ok(*code);
        }
        let code = match terms.code(snapshot, number, &term)? {
            Some(code) => code,
            None => self.add(terms, snapshot, (number, kind), &term)?,
        };
        self.known.entry(number).or_default().insert(term, code);
        Ok(code)
    }
}

impl NewTerms {
    fn add(
        &mut self,
        terms: &Terms,
        snapshot: &Snapshot,
        (number, kind): (u16, FieldType),
        term: &[u8],
    ) -> Result<u32> {
        if term.len() > MAX_TERM_LEN {
            return Err(Error::Document(format!(
                "a text of {} bytes is too long for an index of kind \"filter\", which takes {MAX_TERM_LEN}",
                term.len()
            )));
        }
        let (count, new) = match self.counts.entry(number) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert((terms.count(snapshot, number)?, Vec::new()))
            }
        };
        let first = first_code(kind);
        if *count >= u32::MAX - first {
            return Err(Error::Document(
                "a field of kind \"filter\" has no code left: use \"high\"".to_owned(),
            ));
        }
        new.push((term.to_vec(), first + *count));
        *count += 1;
        Ok(first + *count - 1)
    }

    /// Every mutation that makes the new codes durable: key and value.
    pub(crate) fn mutations(&self, mut put: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        for (number, (count, new)) in &self.counts {
            let Some(first) = count.checked_sub(u32::try_from(new.len()).unwrap_or(0)) else { continue };
            for (index, (term, code)) in (first..).zip(new) {
                put(&code_key(*number, term), &code.to_le_bytes())?;
                put(&term_key(*number, index), term)?;
            }
            put(&count_key(*number), &count.to_le_bytes())?;
        }
        Ok(())
    }

    /// Puts the new codes into a batch.
    pub(crate) fn append(&self, terms: &Terms, batch: &mut Batch) -> Result<()> {
        self.mutations(|key, value| Ok(batch.put(&terms.keyspace, key, value)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_numbers_lead_back_and_keep_their_order() {
        for (kind, values) in [
            (FieldType::Bool, vec![0, 1]),
            (FieldType::Unsigned(32), vec![0, 1, i128::from(u32::MAX)]),
            (FieldType::Signed(32), vec![i128::from(i32::MIN), -1, 0, i128::from(i32::MAX)]),
            (FieldType::Signed(64), vec![0, 5, (1 << 31) - 1]),
            (FieldType::Unsigned(64), vec![0, 5, (1 << 31) - 1]),
        ] {
            let keys: Vec<u64> = values
                .iter()
                .map(|x| if kind == FieldType::Bool { u64::from(*x == 1) } else { integer_key(kind, *x) })
                .collect();
            let codes: Vec<u32> = keys
                .iter()
                .map(|key| match code_of_key(kind, *key) {
                    Coded::Direct(code) => code,
                    Coded::Listed(_) => panic!("{kind:?}"),
                })
                .collect();
            assert!(codes.is_sorted(), "{kind:?}: {codes:?}");
            for (code, key) in codes.iter().zip(&keys) {
                assert_eq!(key_of_code(kind, *code), Some(*key), "{kind:?}");
            }
            let all = direct_codes(kind, keys[0], *keys.last().unwrap());
            assert_eq!(all, Some((codes[0], *codes.last().unwrap())), "{kind:?}");
        }
        for (kind, x) in [(FieldType::Signed(64), -1), (FieldType::Unsigned(64), 1 << 31)] {
            let key = integer_key(kind, x);
            assert_eq!(code_of_key(kind, key), Coded::Listed(key.to_be_bytes().to_vec()));
            assert_eq!(key_of_code(kind, 1 << 31), None);
        }
        let negative = integer_key(FieldType::Signed(64), -9);
        assert_eq!(direct_codes(FieldType::Signed(64), 0, negative), None);
    }
}
