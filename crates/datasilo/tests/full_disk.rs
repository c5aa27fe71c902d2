//! A device that is really full: a small file system in memory, filled to the page.
//!
//! Every operation is tried with no room at all, then with a page more, and so on until it
//! succeeds, on the same open silo. The oracle: the call that needs space says that there is none;
//! reads go on; nothing is lost; with room, the same call succeeds without reopening.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test that cannot go on fails by panicking, and its numbers are small"
)]

mod support;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use datasilo::{Durability, Error, KeyspaceOptions, Options, Silo, SiloReader};
use support::history::{
    DOCS, EXTRA, Event, LOG, Op, contents_after, difference, dump, open_and_dump, options, perform,
};
use support::{assert_no_leftovers, scratch};

const PAGE: u64 = 4096;

/// A file system of its own, unmounted at the end.
struct SmallDisk {
    mount: PathBuf,
    _parent: tempfile::TempDir,
}

impl SmallDisk {
    /// `None`, with a printed reason, where mounting is not allowed.
    fn mount(kib: u64) -> Option<Self> {
        let parent = scratch();
        let mount = parent.path().join("disk");
        std::fs::create_dir(&mount).unwrap();
        let size = format!("size={kib}k");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&mount).output();
        let why = match mounted {
            Ok(output) if output.status.success() => {
                return Some(Self { mount, _parent: parent });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        println!("SKIPPED: no small file system can be mounted ({why})");
        None
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Fills the disk up to a rest.
    fn leave(&self, room: u64) {
        self.free();
        let mut file = File::create(self.ballast()).unwrap();
        let page = [1; PAGE as usize];
        let mut len = 0;
        while file.write_all(&page).is_ok() {
            len += PAGE;
        }
        file.set_len(len.saturating_sub(room)).unwrap();
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).ok();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.mount).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

fn put(keyspace: &'static str, key: &str, len: usize) -> Op {
    Op::Put(keyspace, key.as_bytes().to_vec(), vec![key.len() as u8 + 1; len])
}

fn merge(key: &str, operand: &str) -> Op {
    Op::Merge(LOG, key.as_bytes().to_vec(), operand.as_bytes().to_vec())
}

fn history() -> Vec<Event> {
    use Durability::{Power, Process};
    let mut events = vec![Event::Open, Event::Create(DOCS), Event::Create(LOG)];
    for round in 0..3 {
        let name = |what: &str| format!("{what}-{round}");
        events.extend([
            Event::Batch(vec![put(DOCS, &name("a"), 100), merge("m", "1")], Process),
            Event::Batch(vec![put(DOCS, &name("b"), 9000), merge("m", "2")], Power),
            Event::Batch(vec![put(DOCS, "c", 12000), merge("n", "3")], Process),
            Event::Checkpoint,
            Event::Create(EXTRA),
            Event::Batch(vec![put(EXTRA, "x", 5000), merge("m", "4")], Process),
            Event::Bulk((0..30).map(|i| put(DOCS, &format!("bulk-{i}"), i * 100)).collect()),
            Event::Batch(vec![Op::Delete(DOCS, name("a").into_bytes()), merge("m", "5")], Process),
            Event::Compact,
            Event::Drop(EXTRA),
            Event::Batch(vec![put(DOCS, "d", 20000)], Power),
            Event::Sync,
            Event::Close,
            Event::Open,
        ]);
    }
    events.push(Event::Close);
    events
}

/// Tries an event with more and more room. Returns how often there was too little.
fn squeeze(
    disk: &SmallDisk,
    silo: &mut Option<Silo>,
    dir: &Path,
    options: &Options,
    events: &[Event],
    at: usize,
) -> u64 {
    let event = &events[at];
    let before = contents_after(events, at, at);
    for pages in 0.. {
        assert!(pages < 400, "event {at} {event:?} never succeeds");
        disk.leave(pages * PAGE);
        let was_open = silo.is_some();
        match perform(silo, dir, options, at, event) {
            Ok(()) => return pages,
            Err(Error::DiskFull { .. }) => {}
            Err(error) => panic!("event {at} with {pages} pages: {error}"),
        }
        if let Some(silo) = silo {
            let found = dump(&silo.snapshot()).unwrap();
            assert!(found == before, "event {at}, {pages} pages: {}", difference(&found, &before));
            // Nothing of the failed call takes up room that the next one may need.
            std::fs::remove_file(dir.join("MANIFEST.tmp")).ok();
            assert_no_leftovers(silo, dir);
        } else if was_open {
            return pages + 1; // closing took the silo; the next open has more to do
        }
        if dir.join("MANIFEST").exists() && at > 2 {
            let reader = SiloReader::open(dir, options.clone()).unwrap();
            let found = dump(&reader.snapshot()).unwrap();
            assert!(found == before, "reader, {pages} pages: {}", difference(&found, &before));
        }
    }
    unreachable!("the loop returns")
}

#[test]
fn every_operation_meets_a_full_disk_and_goes_on() {
    let Some(disk) = SmallDisk::mount(1024) else {
        return;
    };
    let dir = disk.mount.join("silo");
    let own = options(32 << 10);
    let events = history();
    let mut silo = None;
    let mut refusals = 0;
    for at in 0..events.len() {
        refusals += squeeze(&disk, &mut silo, &dir, &own, &events, at);
    }
    println!("{refusals} refusals in {} events", events.len());
    assert!(refusals > 20, "the disk was full often enough");
    disk.free();
    let (silo, found) = open_and_dump(&dir, &own).unwrap();
    let expected = contents_after(&events, events.len(), events.len());
    assert!(found == expected, "{}", difference(&found, &expected));
    assert_no_leftovers(&silo, &dir);
}

#[test]
fn a_backup_to_a_full_disk_leaves_nothing_there() {
    let Some(disk) = SmallDisk::mount(512) else {
        return;
    };
    let root = scratch();
    let dir = root.path().join("silo");
    let own = options(32 << 10);
    let mut silo = None;
    let events: Vec<Event> = history().into_iter().take(10).collect();
    for (at, event) in events.iter().enumerate() {
        perform(&mut silo, &dir, &own, at, event).unwrap();
    }
    let silo = silo.unwrap();
    let target = disk.mount.join("copy");
    for pages in 0.. {
        assert!(pages < 128, "the backup never succeeds");
        disk.leave(pages * PAGE);
        match silo.backup(&target) {
            Ok(report) => {
                assert!(report.copied_files > 0 && report.linked_files == 0);
                break;
            }
            Err(Error::DiskFull { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        let left = std::fs::read_dir(&target).map_or(0, Iterator::count);
        assert_eq!(left, 0, "files of the failed backup stay");
    }
    disk.free();
    let (_, found) = open_and_dump(&target, &own).unwrap();
    assert_eq!(found, contents_after(&events, events.len(), events.len()));
}

#[test]
fn a_commit_that_fits_is_not_refused_for_want_of_a_larger_reserve() {
    let Some(disk) = SmallDisk::mount(1024) else {
        return;
    };
    let own = options(1 << 20).allocate_bytes(256 << 10);
    let silo = Silo::open(disk.mount.join("silo"), own).unwrap();
    let docs = silo.create_keyspace(DOCS, &KeyspaceOptions::default()).unwrap();
    disk.leave(20 * PAGE);
    let mut accepted = 0;
    let refused = loop {
        match silo.put(&docs, b"key", vec![7; 3000], Durability::Process) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::DiskFull { .. }), "{refused}");
    assert!(accepted >= 16, "only {accepted} commits of a page each fit into 20 pages");
}
