//! Running the command in a folder of its own.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A folder in which commands run.
pub(crate) struct Place {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A schema with a field of each kind.
pub(crate) const SHOP: &str = r#"
version = 1
id = { name = "id", type = "i64" }
[[fields]]
name = "name"
type = "string"
index = ["filter"]
[[fields]]
name = "level"
type = "u8"
index = ["filter", "sort"]
[[fields]]
name = "tags"
type = "u32"
multi = true
index = ["filter"]
[[fields]]
name = "score"
type = "f64"
index = ["sort"]
[[fields]]
name = "made"
type = "time(s)"
index = ["sort"]
[[fields]]
name = "open"
type = "bool"
index = ["filter"]
[[fields]]
name = "words"
type = "string"
multi = true
index = ["filter"]
"#;

pub(crate) const SHOP_ROWS: &str = "\
id,name,level,tags,score,made,open,words
1,tent,1,4|9,1.5,2024-01-01T00:00:00Z,true,red|blue
2,\"rope, long\",2,4,-2,2024-02-01T12:30:00Z,false,
3,,3,,,,,\"\"
4,\"\",1,\"\",0,1969-12-31T23:59:59Z,true,green
5,\"say \"\"hi\"\"
there\",2,9|77,8.5,2024-03-01T00:00:00Z,false,red
";

impl Place {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// With the silo `shop` of [`SHOP_ROWS`].
    pub(crate) fn shop() -> Self {
        let place = Self::new();
        place.file("shop.toml", SHOP).file("shop.csv", SHOP_ROWS);
        place.ok(&[
            "load",
            "shop",
            "shop.csv",
            "--schema",
            "shop.toml",
            "--split",
            "tags:|",
            "--split",
            "words:|",
        ]);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        std::fs::write(self.path(name), content).unwrap();
        self
    }

    /// Names in the folder.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs a command with text at its standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        let mut command = assert_cmd::cargo::cargo_bin_cmd!("silo");
        let output = command.current_dir(self.folder.path()).args(args).write_stdin(input).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        assert!(!ran.err.contains("panicked"), "{args:?}: {ran:?}");
        ran
    }

    /// What a command that succeeds prints.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
        ran.out
    }

    /// What a command that must fail with a code says.
    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(
            ran.err.lines().any(|line| line.starts_with("silo: ") || line.starts_with("error: ")),
            "{args:?}: {ran:?}"
        );
        ran.err
    }

    /// What a command prints as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Json {
        let out = self.ok(args);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    }

    /// The answer to a query with all fields.
    pub(crate) fn query(&self, silo: &str, filter: &str, more: &[&str]) -> Json {
        self.json(&[&["query", silo, filter, "--format", "json"], more].concat())
    }

    /// The ids of the records that pass a filter, ascending.
    pub(crate) fn ids(&self, silo: &str, filter: &str) -> Vec<i64> {
        let id = self.json(&["stats", silo, "--format", "json"])["id"]["name"].as_str().unwrap().to_owned();
        let answer = self.query(silo, filter, &["--sort", &format!("{id}:asc"), "--limit", "1000"]);
        answer["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect()
    }

    /// A record by its id.
    pub(crate) fn get(&self, silo: &str, id: &str) -> Json {
        self.json(&["get", silo, id])
    }
}

/// A file of the data set that ships with the project.
pub(crate) fn dataset(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/nycflights13").join(name);
    path.canonicalize().unwrap().to_str().unwrap().to_owned()
}
