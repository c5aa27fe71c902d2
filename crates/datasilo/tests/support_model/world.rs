//! A silo's contents as a plain map, and the comparison with what a snapshot shows.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use datasilo::{Keyspace, KeyspaceOptions, MergeOperator, Pending, Silo, Snapshot};

use super::operators::{Affine, Append};

/// The keyspaces of the model tests: name, alignment, merge operator.
pub(crate) const KINDS: [(&str, usize, &str); 5] = [
    ("plain", 1, ""),
    ("aligned", 64, ""),
    ("append", 1, "append"),
    ("lazy", 16, "append-lazy"),
    ("affine", 1, "affine"),
];

pub(crate) fn settings(kind: usize) -> KeyspaceOptions {
    let (_, align, operator) = KINDS[kind];
    let options = KeyspaceOptions::new().align(align);
    if operator.is_empty() { options } else { options.merge_operator(operator) }
}

pub(crate) fn has_operator(kind: usize) -> bool {
    !KINDS[kind].2.is_empty()
}

/// Folds one operand at a time, the plainest way there is.
pub(crate) fn apply(kind: usize, base: Option<&[u8]>, operand: &[u8]) -> Vec<u8> {
    match KINDS[kind].2 {
        "affine" => Affine.fold(b"", base, &[operand]).unwrap(),
        "" => panic!("the keyspace has no operator"),
        _ => [base.unwrap_or_default(), operand].concat(),
    }
}

fn operator(kind: usize) -> Box<dyn MergeOperator> {
    match KINDS[kind].2 {
        "affine" => Box::new(Affine),
        _ => Box::new(Append::new("append")),
    }
}

/// What happens to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Put(Vec<u8>),
    Delete,
    Merge(Vec<u8>),
}

/// Entries of one keyspace.
pub(crate) type Entries = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// A silo's contents. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// By position in [`KINDS`]; absent keyspaces do not exist.
    pub(crate) keyspaces: BTreeMap<usize, Arc<Entries>>,
}

impl World {
    pub(crate) fn change(&mut self, kind: usize, key: &[u8], change: &Change) {
        let entries = Arc::make_mut(self.keyspaces.get_mut(&kind).unwrap());
        match change {
            Change::Put(value) => drop(entries.insert(key.to_vec(), value.as_slice().into())),
            Change::Delete => drop(entries.remove(key)),
            Change::Merge(operand) => {
                let value = apply(kind, entries.get(key).map(AsRef::as_ref), operand);
                entries.insert(key.to_vec(), value.into());
            }
        }
    }

    /// Compares everything that a snapshot can be asked with this world. `keys` are asked for
    /// besides those that exist.
    pub(crate) fn verify(&self, snapshot: &Snapshot, keys: &BTreeSet<Vec<u8>>) {
        let names: Vec<String> = snapshot.keyspaces().iter().map(|k| k.name().to_owned()).collect();
        let expected: BTreeSet<&str> = self.keyspaces.keys().map(|&kind| KINDS[kind].0).collect();
        assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
        for (&kind, entries) in &self.keyspaces {
            let keyspace = snapshot.keyspace(KINDS[kind].0).unwrap();
            verify_look_ups(kind, entries, snapshot, &keyspace, keys);
            verify_scans(entries, snapshot, &keyspace);
        }
    }

    /// Compares the counts of a silo's statistics.
    pub(crate) fn verify_stats(&self, silo: &Silo) {
        let stats = silo.stats().unwrap();
        assert_eq!(stats.keyspaces.len(), self.keyspaces.len());
        for (&kind, entries) in &self.keyspaces {
            let name = KINDS[kind].0;
            let of_keyspace = stats.keyspaces.iter().find(|k| k.name == name).unwrap();
            assert_eq!(of_keyspace.entries, entries.len() as u64, "entries of {name:?}");
        }
    }
}

/// Shows bytes without filling the screen.
fn brief(bytes: Option<&[u8]>) -> String {
    match bytes {
        None => "nothing".to_owned(),
        Some(bytes) => format!("{} bytes {:?}", bytes.len(), &bytes[..bytes.len().min(24)]),
    }
}

fn assert_same(what: &str, name: &str, key: &[u8], got: Option<&[u8]>, expected: Option<&[u8]>) {
    assert!(
        got == expected,
        "{what} of key {} in {name:?}: got {}, expected {}",
        brief(Some(key)),
        brief(got),
        brief(expected)
    );
}

fn verify_look_ups(
    kind: usize,
    entries: &Entries,
    snapshot: &Snapshot,
    keyspace: &Keyspace,
    keys: &BTreeSet<Vec<u8>>,
) {
    let (name, align, _) = KINDS[kind];
    let asked: Vec<&[u8]> =
        entries.keys().chain(keys).map(Vec::as_slice).collect::<BTreeSet<_>>().into_iter().collect();
    let many = snapshot.multi_get(keyspace, &asked).unwrap();
    for (key, from_many) in asked.into_iter().zip(many) {
        let expected = entries.get(key).map(AsRef::as_ref);
        let got = snapshot.get(keyspace, key).unwrap();
        assert_same("get", name, key, got.as_deref(), expected);
        if let Some(Cow::Borrowed(value)) = got {
            assert_eq!(value.as_ptr().align_offset(align), 0, "alignment");
        }
        assert_same("multi_get", name, key, from_many.as_deref(), expected);
        assert_eq!(snapshot.contains(keyspace, key).unwrap(), expected.is_some());
        let parts = snapshot.get_parts(keyspace, key).unwrap();
        let folded = parts.map(|parts| {
            let base = parts.base.map(|base| base.bytes().unwrap());
            let operands: Vec<Vec<u8>> = parts
                .pending
                .iter()
                .map(|pending| match pending {
                    Pending::Operand(value) => value.bytes().unwrap().to_vec(),
                    Pending::Delta(delta) => delta.encode(),
                })
                .collect();
            if operands.is_empty() {
                return base.unwrap().to_vec();
            }
            let operands: Vec<&[u8]> = operands.iter().map(Vec::as_slice).collect();
            operator(kind).fold(key, base, &operands).unwrap()
        });
        assert_same("get_parts", name, key, folded.as_deref(), expected);
    }
}

fn verify_scans(entries: &Entries, snapshot: &Snapshot, keyspace: &Keyspace) {
    let mut iterated = Entries::new();
    for entry in snapshot.iter(keyspace).unwrap() {
        let (key, value) = entry.unwrap();
        assert!(iterated.insert(key.to_vec(), value.as_ref().into()).is_none(), "iter gives a key twice");
    }
    assert_same_entries("iter", keyspace.name(), &iterated, entries);
    let mut visited = Entries::new();
    let visit = |key: &[u8], value: Cow<'_, [u8]>| {
        assert!(visited.insert(key.to_vec(), value.as_ref().into()).is_none(), "for_each gives a key twice");
        Ok::<(), datasilo::Error>(())
    };
    snapshot.for_each(keyspace, visit).unwrap();
    assert_same_entries("for_each", keyspace.name(), &visited, entries);
    let visited = Mutex::new(Entries::new());
    let visit = |key: &[u8], value: Cow<'_, [u8]>| {
        let before = visited.lock().unwrap().insert(key.to_vec(), value.as_ref().into());
        assert!(before.is_none(), "par_for_each gives a key twice");
        Ok::<(), datasilo::Error>(())
    };
    snapshot.par_for_each(keyspace, visit).unwrap();
    assert_same_entries("par_for_each", keyspace.name(), &visited.into_inner().unwrap(), entries);
}

fn assert_same_entries(what: &str, name: &str, got: &Entries, expected: &Entries) {
    for key in got.keys().chain(expected.keys()) {
        assert_same(what, name, key, got.get(key).map(AsRef::as_ref), expected.get(key).map(AsRef::as_ref));
    }
}
