//! A bar on standard error while a load runs, on terminals only.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let building = AtomicBool::new(false);
    let (done, told) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The channel's end, moved here.
            let told = told;
            while told.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
                follow(&bar, progress, building.load(Ordering::Relaxed));
            }
            bar.finish_and_clear();
        });
        let result = work(&|| building.store(true, Ordering::Relaxed));
        drop(done);
        result
    })
}

/// Shows how far the load is.
fn follow(bar: &ProgressBar, progress: &Progress, building: bool) {
    let total = progress.total_bytes();
    if building {
        bar.set_style(style("{spinner} {msg}, building indexes  {elapsed}"));
    } else if total > 0 {
        bar.set_style(style("{bar:32} {percent:>3} %  {binary_bytes_per_sec}  {eta} left  {msg}"));
        bar.set_length(total);
    } else {
        // How long standard input is cannot be known.
        bar.set_style(style("{spinner} {binary_bytes} read  {msg}"));
    }
    bar.set_position(progress.bytes());
    let rejected = match progress.rejected() {
        0 => String::new(),
        rejected => format!(", {} rejected", human::count(rejected)),
    };
    bar.set_message(format!("{}{rejected}", human::counted(progress.rows(), "row")));
    bar.tick();
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
