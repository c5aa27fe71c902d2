//! A bar on standard error while a load runs, on terminals only.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use silo_ingest::Progress;

use crate::output::human;

/// Runs a load with a bar. `work` is given what it calls when the files are read and indexes are being built.
pub(crate) fn shown<T>(progress: &Arc<Progress>, work: impl FnOnce(&(dyn Fn() + Sync)) -> T) -> T {
    if !std::io::stderr().is_terminal() {
        return work(&|| {});
    }
    let bar = ProgressBar::new(0);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    let (done, told) = channel::<()>();
    std::thread::scope(|scope| {
        let reading = bar.clone();
        scope.spawn(move || {
            while told.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                follow(&reading, progress);
            }
        });
        let building = bar.clone();
        let result = work(&move || {
            building.set_style(style("{spinner} building indexes  {msg}  {elapsed}"));
            building.set_length(0);
        });
        drop(done);
        bar.finish_and_clear();
        result
    })
}

/// Shows how far the reading is.
fn follow(bar: &ProgressBar, progress: &Progress) {
    let total = progress.total_bytes();
    // A length of 0 is that of standard input, or of a load whose files are read.
    if total > 0 && bar.position() < total {
        bar.set_style(style("{bar:32} {percent:>3} %  {binary_bytes_per_sec}  {eta} left  {msg}"));
        bar.set_length(total);
        bar.set_position(progress.bytes());
    } else if total == 0 {
        bar.set_style(style("{spinner} {binary_bytes} read  {msg}"));
        bar.set_position(progress.bytes());
    } else {
        bar.tick();
    }
    let rejected = match progress.rejected() {
        0 => String::new(),
        rejected => format!(", {} rejected", human::count(rejected)),
    };
    bar.set_message(format!("{}{rejected}", human::counted(progress.rows(), "row")));
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
