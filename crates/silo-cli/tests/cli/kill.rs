//! A load that is killed has not been.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::Place;

/// Starts a load whose input never ends: it is in the middle of its work until it is killed.
fn start(place: &Place, args: &[&str], rows: &str) -> Child {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("silo"))
        .current_dir(place.path(""))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // More than a pipe holds: when this returns the load has read most of it.
    let input = child.stdin.as_mut().unwrap();
    input.write_all(b"id,name,level\n").unwrap();
    for _ in 0..20 {
        input.write_all(rows.as_bytes()).unwrap();
    }
    child
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn rows() -> String {
    (1..=20_000).map(|id| format!("{id},name {id},{}\n", id % 7)).collect()
}

#[test]
fn a_killed_create_leaves_no_silo_and_the_next_one_works() {
    let place = Place::shop();
    let args = ["load", "new", "-", "--schema", "shop.toml", "--id", "id"];
    let child = start(&place, &args, &rows());
    let began = Instant::now();
    while !place.path(".new.loading/MANIFEST").exists() && began.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Another load of the same silo is refused meanwhile.
    let err = place.fails(1, &["load", "new", "shop.csv", "--schema", "shop.toml"]);
    assert!(err.contains("another process is loading"), "{err}");
    kill(child);
    assert!(!place.path("new").exists());
    place.ok(&[
        "load",
        "new",
        "shop.csv",
        "--schema",
        "shop.toml",
        "--split",
        "tags:|",
        "--split",
        "words:|",
    ]);
    assert_eq!(place.ok(&["export", "new"]), place.ok(&["export", "shop"]));
    assert_eq!(place.names(), ["new", "shop", "shop.csv", "shop.toml"]);
}

#[test]
fn a_killed_append_or_merge_leaves_the_silo_as_it_was() {
    let place = Place::shop();
    let before = place.ok(&["export", "shop"]);
    for mode in ["append", "merge"] {
        kill(start(&place, &["load", "shop", "-", "--mode", mode, "--id", "id"], &rows()));
        assert_eq!(place.ok(&["export", "shop"]), before, "{mode}");
        assert_eq!(place.run(&["check", "shop"]).code, 0, "{mode}");
    }
    place.file("more.csv", "id,name\n6,x\n");
    place.ok(&["load", "shop", "more.csv", "--mode", "append"]);
    assert_eq!(place.ids("shop", ""), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn a_load_that_fails_half_way_leaves_the_silo_as_it_was() {
    let place = Place::shop();
    let before = place.ok(&["export", "shop"]);
    let packed =
        zstd::encode_all(format!("id,name\n{}", rows().replace(",1\n", "\n")).as_bytes(), 1).unwrap();
    place.file("cut.csv.zst", &packed[..packed.len() / 2]);
    for mode in ["append", "merge"] {
        place.fails(1, &["load", "shop", "cut.csv.zst", "--mode", mode, "--id", "id"]);
        assert_eq!(place.ok(&["export", "shop"]), before, "{mode}");
    }
    place.fails(1, &["load", "new", "cut.csv.zst", "--schema", "shop.toml"]);
    assert!(!place.path("new").exists() && !place.path(".new.loading").exists());
}
