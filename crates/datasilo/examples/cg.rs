use datasilo::*;
fn main() {
    let dir = tempfile::tempdir().unwrap();
    let n: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(100_000);
    let silo = Silo::open(dir.path().join("s"), Options::new().background(false)).unwrap();
    let ks = silo.create_keyspace("a", &KeyspaceOptions::new()).unwrap();
    { let s = silo.bulk(&[&ks]).unwrap(); let mut w = s.writer(); for k in 0..n { w.put(&ks, IntKey::from(k), [1u8; 300]).unwrap(); } w.close().unwrap(); s.finish().unwrap(); }
    let s = silo.snapshot().unverified();
    let mut sum = 0u64;
    for r in 0..10 { for k in 0..n { sum += u64::from(gett(&s, &ks, (k * 7919 + r) % n)); } }
    println!("{sum}");
    if std::env::args().nth(2).is_some() { for l in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() { if l.contains("idx-") || l.contains("seg-") || l.starts_with("FilePmd") && !l.contains(" 0 kB") { println!("{l}"); } } }
}
#[inline(never)]
fn gett(s: &Snapshot, ks: &Keyspace, k: u64) -> u8 { s.get(ks, IntKey::from(k)).unwrap().unwrap()[0] }
