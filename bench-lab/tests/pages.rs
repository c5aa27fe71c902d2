//! Pages are as new as the results that they show.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use bench_lab::experiments::EXPERIMENTS;
use bench_lab::peers::PEERS;
use bench_lab::report::{digest_of_page, shown, write};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

#[test]
fn every_page_shows_the_newest_results() {
    for experiment in EXPERIMENTS.iter().chain(PEERS) {
        let path = root().join("docs/results").join(format!("{}.md", experiment.name));
        let Some(shown) = shown(experiment, &root().join("results")).unwrap() else {
            assert!(!path.exists(), "{} shows results that are not there", path.display());
            continue;
        };
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            digest_of_page(&page),
            Some(shown.digest.as_str()),
            "{} is older than results/: cargo run --release -p bench-lab -- report",
            path.display()
        );
    }
}

#[test]
fn a_new_result_makes_a_page_old() {
    let experiment = &EXPERIMENTS[0];
    let (results, pages) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let result = |date: &str, seconds: f64| {
        let text = format!(
            r#"{{"experiment":"{}","date":"{date}","command":"c","scale":"medium","threads":2,"seed":1,"baseline":"{}",
            "machine":{{"processor":"p","processors":2,"memory_bytes":1,"kernel":"k","file_system":"f","rustc":"r","commit":"c","instruction_set":"i","crates":[]}},
            "shapes":[{{"shape":"large-8","items":1,"unit":"u","digest":"d","strategies":[{{"strategy":"{}","wall":[{seconds}],"cpu":[{seconds}]}}]}}]}}"#,
            experiment.name, experiment.baseline, experiment.baseline
        );
        std::fs::write(results.path().join(format!("{date}.json")), text).unwrap();
    };
    let digest = || shown(experiment, results.path()).unwrap().unwrap().digest;
    result("2026-01-01T00:00:00Z", 1.0);
    let all: Vec<_> = EXPERIMENTS.iter().collect();
    assert_eq!(write(&all, results.path(), pages.path()).unwrap(), [experiment.name]);
    let page = || std::fs::read_to_string(pages.path().join(format!("{}.md", experiment.name))).unwrap();
    assert_eq!(digest_of_page(&page()), Some(digest().as_str()));
    result("2026-01-02T00:00:00Z", 2.0);
    assert_ne!(digest_of_page(&page()), Some(digest().as_str()), "the page is old now");
    write(&all, results.path(), pages.path()).unwrap();
    assert_eq!(digest_of_page(&page()), Some(digest().as_str()));
    assert!(page().contains("2.00 s") && !page().contains("1.00 s"), "the newest result of a shape is shown");
}
