//! Child processes: the test binary itself, told by its environment which role to play.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

const ROLE: &str = "SILO_CHILD_ROLE";
const DIR: &str = "SILO_CHILD_DIR";
/// Begins each line that a child has to say; the test harness prints others.
const PREFIX: &str = "silo: ";

/// A running child. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Role {
    child: Child,
    /// Closing it asks the child to end.
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
}

impl Role {
    /// Starts the test `entry` of this binary in a role.
    pub(crate) fn start(entry: &str, role: &str, dir: &Path) -> Self {
        Self::from_command(Command::new(std::env::current_exe().unwrap()), entry, role, dir)
    }

    pub(crate) fn from_command(mut command: Command, entry: &str, role: &str, dir: &Path) -> Self {
        let mut child = command
            .args(["--exact", entry, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout) }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next thing that the child says; `None` if it has ended.
    pub(crate) fn next(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            if self.lines.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // The harness may have begun the line with the test's name.
            if let Some((_, said)) = line.split_once(PREFIX)
                && said.ends_with('\n')
            {
                return Some(said.trim_end().to_owned());
            }
        }
    }

    /// Kills the child with a signal that it cannot catch, and returns what it had said.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Asks the child to end, and waits for it. Returns the last thing that it said.
    pub(crate) fn end(mut self) -> (ExitStatus, Option<String>) {
        drop(self.stdin.take());
        let last = std::iter::from_fn(|| self.next()).last();
        (self.child.wait().unwrap(), last)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: its role and directory.
pub(crate) fn role() -> Option<(String, std::path::PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(DIR)?.into()))
}

/// In a child: tells the parent something.
pub(crate) fn say(what: impl std::fmt::Display) {
    let line = format!("{PREFIX}{what}\n");
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(line.as_bytes()).unwrap();
    stdout.flush().unwrap();
}

/// In a child: true once the parent has closed the pipe. Starts a thread that waits for it.
pub(crate) fn asked_to_end() -> impl Fn() -> bool {
    let thread = std::thread::spawn(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    move || thread.is_finished()
}
