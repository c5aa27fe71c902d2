//! One libFuzzer program for all entry points; `SILO_FUZZ_TARGET` names the one to run.
#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fn target() -> fn(&[u8]) {
    use datasilo::fuzzing::{chain, frame, group, index_run, manifest, segment, silo_files};
    match std::env::var("SILO_FUZZ_TARGET").as_deref() {
        Ok("manifest") => manifest,
        Ok("frame") => frame,
        Ok("group") => group,
        Ok("chain") => chain,
        Ok("segment") => segment,
        Ok("index_run") => index_run,
        Ok("silo_files") => silo_files,
        other => panic!("SILO_FUZZ_TARGET is {other:?}; it names a function of datasilo::fuzzing"),
    }
}

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(data);
});
