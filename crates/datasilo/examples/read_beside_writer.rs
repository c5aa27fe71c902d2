//! A reader in another process, which follows the writer and takes over when that is gone.
//!
//! `cargo run -p datasilo --example read_beside_writer` starts itself once more as the reader.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use datasilo::{Durability, Error, Keyspace, KeyspaceOptions, Options, Result, Silo, SiloReader};

const LAST: u32 = 200;

fn main() -> Result<()> {
    match std::env::args().nth(1) {
        Some(dir) => read(Path::new(&dir)),
        None => write(),
    }
}

fn write() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory for temporary files");
    let path = dir.path().join("news");
    let silo = Silo::open(&path, Options::new())?;
    let ticker = silo.create_keyspace("ticker", &KeyspaceOptions::new())?;
    silo.put(&ticker, "latest", 0u32.to_le_bytes(), Durability::Process)?;
    let program = std::env::current_exe().expect("the path of this program");
    let reader = Command::new(program).arg(&path).stdout(Stdio::piped()).spawn().expect("a second process");
    let written = tick(&silo, &ticker).and_then(|()| silo.close());
    let output = reader.wait_with_output().expect("the reader's end");
    written?;
    print!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "the reader failed");
    let silo = Silo::open(&path, Options::new())?;
    assert_eq!(silo.snapshot().get(&ticker, "latest")?.as_deref(), Some(&b"taken over"[..]));
    Ok(())
}

fn tick(silo: &Silo, ticker: &Keyspace) -> Result<()> {
    for n in 1..=LAST {
        silo.put(ticker, "latest", n.to_le_bytes(), Durability::Process)?;
        if n % 50 == 0 {
            silo.checkpoint()?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("writer (process {}): wrote {LAST} numbers, and closes", std::process::id());
    Ok(())
}

fn read(path: &Path) -> Result<()> {
    let reader = SiloReader::open(path, Options::new())?;
    let (mut seen, mut refreshes, mut last) = (0, 0, 0);
    let deadline = Instant::now() + Duration::from_secs(30);
    while last < LAST && Instant::now() < deadline {
        reader.refresh()?; // costs what is new, and never waits for the writer
        refreshes += 1;
        let snapshot = reader.snapshot();
        let ticker = snapshot.keyspace("ticker")?;
        let value = snapshot.get(&ticker, "latest")?.unwrap_or_default();
        let now = u32::from_le_bytes(value.as_ref().try_into().expect("4 bytes"));
        assert!(now >= last, "time does not go back");
        seen += u32::from(now > last);
        last = now;
    }
    println!(
        "reader (process {}): {refreshes} refreshes showed {seen} numbers, up to {last}",
        std::process::id()
    );
    let silo = loop {
        match reader.promote() {
            Err(Error::Locked { .. }) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => break result?,
        }
    };
    silo.put(&silo.keyspace("ticker")?, "latest", "taken over", Durability::Power)?;
    println!("reader: the writer is gone, and this process writes now");
    silo.close()
}
