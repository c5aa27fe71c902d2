//! The repository keeps its own rules.
#![expect(
    clippy::unwrap_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "tests of text files"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The most lines of a source file, tests left out.
const MOST_LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_path_buf()
}

/// Files below a folder with an extension, relative to the root.
fn files(folder: &str, extension: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|e| e == extension) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no .{extension} files below {folder}");
    found
}

/// Source files of the crates and the lab, without tests, benches, examples.
fn sources() -> Vec<(String, String)> {
    let mut all = files("crates", "rs");
    all.extend(files("bench-lab", "rs"));
    all.into_iter().filter(|(name, _)| name.contains("/src/")).collect()
}

/// The part of a source file before its unit tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap()
}

#[test]
fn source_files_stay_short() {
    for (name, text) in sources() {
        let lines = without_tests(&text).lines().count();
        assert!(lines <= MOST_LINES, "{name} has {lines} lines: give each duty a file of its own");
    }
}

#[test]
fn crates_import_only_lower_floors() {
    // From the bottom up; a crate may use those before it.
    let floors =
        ["datasilo", "bitmap-silo", "silo-engine", "silo-ingest", "silo-cli", "silo-server", "bench-lab"];
    let mut checked = 0;
    for (floor, name) in floors.iter().enumerate() {
        let folder = if *name == "bench-lab" { root().join(name) } else { root().join("crates").join(name) };
        let Ok(manifest) = std::fs::read_to_string(folder.join("Cargo.toml")) else { continue };
        checked += 1;
        let dependencies = manifest.split("[dependencies]").nth(1).unwrap_or_default();
        let dependencies = dependencies.split("\n[").next().unwrap();
        for upper in &floors[floor..] {
            let named = dependencies.lines().any(|line| line.split(['.', ' ', '=']).next() == Some(upper));
            assert!(!named, "{name} must not use {upper}");
        }
    }
    assert!(checked >= 2, "the crates were not found");
}

#[test]
fn layers_of_datasilo_import_only_those_under_them() {
    let layers = ["bytes", "storage", "files", "state", "api"];
    // Named exceptions: (file, import) with the reason beside it.
    let allowed = [
        // Commits, bulk publication and checkpoints work on batches and sessions as programs fill them.
        ("state/commit.rs", "api::batch"),
        ("state/bulk.rs", "api::bulk"),
        ("state/checkpoint.rs", "api::batch"),
    ];
    for (name, text) in sources() {
        let Some(inner) = name.strip_prefix("crates/datasilo/src/") else { continue };
        let Some(layer) = layers.iter().position(|layer| inner.starts_with(&format!("{layer}/"))) else {
            continue;
        };
        for upper in &layers[layer + 1..] {
            for line in
                without_tests(&text).lines().filter(|line| line.contains(&format!("crate::{upper}::")))
            {
                let excepted = allowed.iter().any(|(file, import)| inner == *file && line.contains(import));
                assert!(excepted || line.trim_start().starts_with("//"), "{name} reaches up: {line}");
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_the_ledger() {
    let ledger = std::fs::read_to_string(root().join("docs/UNSAFE.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in
        ledger.lines().filter(|line| line.starts_with("| `crates/") || line.starts_with("| `bench-lab/"))
    {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        rows.insert(cells[0].trim_matches('`').to_owned(), cells[1].parse::<usize>().unwrap());
    }
    let mut code = BTreeMap::new();
    for (name, text) in sources() {
        let body = without_tests(&text);
        let count = body
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| line.matches("unsafe {").count() + line.matches("unsafe impl").count())
            .sum::<usize>();
        if count > 0 {
            code.insert(name, count);
        }
    }
    assert_eq!(rows, code, "docs/UNSAFE.md and the code differ (module: unsafe blocks)");
}

#[test]
fn nothing_is_left_unfinished_or_silenced() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
    ];
    for (name, text) in files("crates", "rs").into_iter().chain(files("bench-lab", "rs")) {
        for mark in marks {
            assert!(!text.contains(mark), "{name} contains {mark}");
        }
    }
}

#[test]
fn features_that_code_asks_for_exist() {
    for (name, text) in files("crates", "rs").into_iter().chain(files("bench-lab", "rs")) {
        let depth = if name.starts_with("bench-lab") { 1 } else { 2 };
        let manifest = root().join(name.split('/').take(depth).collect::<PathBuf>()).join("Cargo.toml");
        for asked in text.split("feature = \"").skip(1) {
            let feature = asked.split('"').next().unwrap();
            if text.contains(&format!("target_feature(enable = \"{feature}")) {
                continue;
            }
            let manifest = std::fs::read_to_string(&manifest).unwrap();
            assert!(manifest.contains(&format!("{feature} = [")), "{name} asks for feature {feature}");
        }
    }
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = files("docs", "md");
    for page in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench-lab/README.md"] {
        pages.push((page.to_owned(), std::fs::read_to_string(root().join(page)).unwrap()));
    }
    for (name, text) in pages {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("http") || link.starts_with('#') {
                continue;
            }
            let target = root().join(&name).parent().unwrap().join(link.split('#').next().unwrap());
            assert!(target.exists(), "{name} links to {link}, which is not there");
        }
    }
}

#[test]
fn pages_name_scripts_and_files_that_exist() {
    for (name, text) in files("docs", "md") {
        for word in text.split(|c: char| c == '`' || c.is_whitespace()) {
            if word.starts_with("scripts/")
                || (word.starts_with("crates/") && word.ends_with(".rs") && !word.contains('*'))
            {
                assert!(root().join(word).exists(), "{name} names {word}, which is not there");
            }
        }
    }
}
