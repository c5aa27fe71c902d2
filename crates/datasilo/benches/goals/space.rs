//! Loading, scanning, compacting, reopening; bytes on disk and on the heap.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use datasilo::{Durability, IntKey, Keyspace, KeyspaceOptions, Options, Silo, SiloReader, Snapshot};

use crate::limit::{append, consume, random_keys, value};
use crate::measure::{Table, alternate, cpu, median, wall};
use crate::reads::load;
use crate::{Config, dir_bytes, heap};

fn open(dir: &Path) -> (Silo, Keyspace) {
    let silo = Silo::open(dir, Options::new()).unwrap();
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
    (silo, keyspace)
}

fn scan(snapshot: &Snapshot, keyspace: &Keyspace) -> u64 {
    let mut sum = 0u64;
    snapshot
        .for_each(keyspace, |_, value| {
            sum = sum.wrapping_add(consume(&value));
            Ok::<_, datasilo::Error>(())
        })
        .unwrap();
    sum
}

fn update(silo: &Silo, keyspace: &Keyspace, keys: &[u64], len: usize) {
    let mut batch = silo.batch();
    let mut record = Vec::new();
    for &key in keys {
        value(key ^ 1, len, &mut record);
        batch.put(keyspace, IntKey::from(key), &record).unwrap();
        if batch.len() == 1000 {
            silo.commit(&mut batch, Durability::Process).unwrap();
        }
    }
    silo.commit(&mut batch, Durability::Process).unwrap();
}

pub(crate) fn run(config: &Config, table: &mut Table) {
    if config.wants("load") {
        loading(config, table);
    }
    if config.wants("scan") {
        scanning(config, table, 300);
        scanning(config, table, 24);
    }
    if config.wants("compact") {
        compacting(config, table);
    }
    if config.wants("reopen") {
        reopening(config, table);
    }
}

fn loading(config: &Config, table: &mut Table) {
    let mut limits = Vec::new();
    let mut ours = Vec::new();
    let mut heap_bytes = 0;
    for len in [300usize, 24] {
        for _ in 0..config.rounds.min(3) {
            let dir = config.scratch();
            if len == 300 {
                limits.push(wall(|| {
                    append(&dir.path().join("limit"), config.records, len).0.sync_all().unwrap();
                }));
            }
            let path = dir.path().join("silo");
            let (silo, keyspace) = open(&path);
            let (time, peak) = heap::peak_growth(|| wall(|| load(&silo, &keyspace, config.records, len, 2)));
            heap_bytes = heap_bytes.max(peak);
            if len == 300 {
                ours.push(time);
            }
            let stored = dir_bytes(&path) as f64 / config.records as f64;
            silo.close().unwrap();
            if ours.len() == 1 || len == 24 {
                let (must, stretch) = if len == 300 { (1.10, 1.07) } else { (64.0 / 32.0, 54.0 / 32.0) };
                table.ratio(
                    &format!("bytes on disk after load, {len} B"),
                    "B",
                    stored,
                    len as f64 + 8.0,
                    must,
                    Some(stretch),
                );
                if len == 24 {
                    break;
                }
            }
        }
    }
    let ms = |times: Vec<std::time::Duration>| median(times.iter().map(|t| t.as_secs_f64() * 1e3).collect());
    table.ratio("bulk load on 2 threads, synced, 300 B", "ms", ms(ours), ms(limits), 1.25, Some(1.1));
    let allowed = config.records as f64 * 16.0 + 64e6;
    table.ratio("heap of the bulk load", "B", heap_bytes as f64, allowed, 1.0, None);
}

fn scanning(config: &Config, table: &mut Table, len: usize) {
    let dir = config.scratch();
    let (file, _) = append(&dir.path().join("limit"), config.records, len);
    let path = dir.path().join("silo");
    let (silo, keyspace) = open(&path);
    load(&silo, &keyspace, config.records, len, 2);
    let fresh = silo.snapshot();
    let unverified = fresh.unverified();
    #[expect(unsafe_code, reason = "mapping a file that nobody changes")]
    // SAFETY: the file was written above and stays as it is.
    let map = unsafe { memmap2::Mmap::map(&file).unwrap() };
    let times = alternate(
        config.rounds,
        config.records,
        &mut [
            &mut || cpu(|| map.chunks_exact(len).map(consume).fold(0, u64::wrapping_add)),
            &mut || cpu(|| scan(&fresh, &keyspace)),
            &mut || cpu(|| scan(&unverified, &keyspace)),
        ],
    );
    if len == 300 {
        table.ratio("full scan, just loaded, 300 B", "ns", times[1], times[0], 1.5, Some(1.2));
    } else {
        table.figure("full scan, just loaded, 24 B", times[1], "ns", 25.0, None, false);
        table.figure("full scan, unverified, 24 B", times[2], "ns", 25.0, Some(18.0), false);
        update(&silo, &keyspace, &random_keys(config.records, (config.records / 5) as usize, 3), len);
        silo.checkpoint().unwrap();
        let updated = silo.snapshot();
        let times =
            alternate(config.rounds, config.records, &mut [&mut || cpu(|| scan(&updated, &keyspace))]);
        table.figure("full scan after 20 % updates, 24 B", times[0], "ns", 70.0, None, false);
    }
}

fn compacting(config: &Config, table: &mut Table) {
    let mut figures: Vec<[f64; 4]> = Vec::new();
    let mut heap_bytes = 0;
    let mut stored = 0.0;
    for _ in 0..config.rounds.min(3) {
        let dir = config.scratch();
        let path = dir.path().join("silo");
        let (silo, keyspace) = open(&path);
        load(&silo, &keyspace, config.records, 300, 2);
        update(&silo, &keyspace, &random_keys(config.records, (config.records / 10) as usize, 3), 300);
        silo.checkpoint().unwrap();
        silo.sync().unwrap();
        let live = silo.stats().unwrap().keyspaces[0].live_bytes;
        let target = dir.path().join("copy");
        warm_memory(&target, live);
        let mut copy_cpu = 0.0;
        let copy_wall = wall(|| copy_cpu = cpu(|| copy(&path, live, &target)).as_secs_f64()).as_secs_f64();
        std::fs::remove_file(&target).unwrap();
        let mut our_cpu = 0.0;
        let (our_wall, peak) = heap::peak_growth(|| {
            wall(|| our_cpu = cpu(|| silo.compact().unwrap()).as_secs_f64()).as_secs_f64()
        });
        heap_bytes = heap_bytes.max(peak);
        figures.push([copy_wall, our_wall, copy_cpu, our_cpu]);
        silo.check(datasilo::Strictness::Strict).unwrap();
        silo.close().unwrap();
        stored = dir_bytes(&path) as f64 / config.records as f64;
    }
    let middle = |at: usize| median(figures.iter().map(|f| f[at] * 1e3).collect());
    table.ratio("compaction after 10 % updates, wall", "ms", middle(1), middle(0), 1.5, Some(1.1));
    table.ratio("compaction after 10 % updates, CPU", "ms", middle(3), middle(2), 1.5, Some(1.1));
    table.ratio("bytes on disk after compaction, 300 B", "B", stored, 308.0, 1.10, Some(1.07));
    let allowed = config.records as f64 * 10.5 + 64e6;
    table.ratio("heap of the compaction, to index + 64 MB", "B", heap_bytes as f64, allowed, 1.0, None);
}

/// Fills more of the page cache than the timed work will, and empties it again.
///
/// Hypervisors that take back what a guest leaves free charge many times the cost of a write for the
/// first touch of such memory. Only files laid out for huge pages get it, so that the comparison would
/// measure that.
fn warm_memory(path: &Path, live: u64) {
    let mut file = File::create(path).unwrap();
    let piece = vec![7; 2 << 20];
    for _ in 0..(live + (1 << 30)) / piece.len() as u64 {
        file.write_all(&piece).unwrap();
    }
    std::fs::remove_file(path).unwrap();
}

/// Copies as many bytes as are live from the segments to a synced file, through a buffer.
fn copy(from: &Path, live: u64, to: &Path) {
    let mut target = File::create(to).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut left = live;
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_string_lossy().starts_with("seg-") {
            continue;
        }
        let mut source = File::open(path).unwrap();
        loop {
            let read = source.read(&mut buffer).unwrap().min(usize::try_from(left).unwrap());
            if read == 0 {
                break;
            }
            target.write_all(&buffer[..read]).unwrap();
            left -= read as u64;
        }
    }
    target.sync_all().unwrap();
}

/// The child of [`reopening`]: writes a log, syncs it and is killed.
pub(crate) fn write_and_die(dir: &Path) -> ! {
    let records = std::env::var("SILO_BENCH_RECORDS").unwrap().parse().unwrap();
    let options = Options::new().checkpoint_ops(1 << 25).checkpoint_bytes(1 << 40).background(false);
    let silo = Silo::open(dir, options).unwrap();
    let keyspace = silo.create_keyspace("records", &KeyspaceOptions::new()).unwrap();
    update(&silo, &keyspace, &(0..records).collect::<Vec<u64>>(), 300);
    silo.sync().unwrap();
    std::process::abort();
}

fn reopening(config: &Config, table: &mut Table) {
    let records = config.records / 5;
    let mut rates = Vec::new();
    for _ in 0..config.rounds.min(3) {
        let dir = config.scratch();
        let path = dir.path().join("silo");
        let status = Command::new(std::env::current_exe().unwrap())
            .env("SILO_BENCH_CHILD", &path)
            .env("SILO_BENCH_RECORDS", records.to_string())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "the child is killed");
        let bytes = dir_bytes(&path) as f64;
        let mut silo = None;
        let time = wall(|| silo = Some(Silo::open(&path, Options::new().background(false)).unwrap()));
        let silo = silo.unwrap();
        assert_eq!(silo.recovery().ops, records);
        rates.push(bytes / 1e6 / time.as_secs_f64());
        silo.close().unwrap();
        let time = wall(|| drop(SiloReader::open(&path, Options::new()).unwrap()));
        table.figure("open after a clean close", time.as_secs_f64() * 1e3, "ms", 10.0, None, false);
        let before = heap::in_use();
        let reader = SiloReader::open(&path, Options::new()).unwrap();
        table.figure("heap of an open silo", (heap::in_use() - before) as f64 / 1e6, "MB", 1.0, None, false);
        drop(reader);
    }
    table.figure("reopen after kill, synced log", median(rates), "MB/s", 600.0, Some(2000.0), true);
}
