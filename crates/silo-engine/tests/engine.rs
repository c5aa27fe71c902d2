//! The engine answers as a loop over all records does, whatever happened to it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use silo_engine::{Durability, Engine, Options};
use support::naive::{Asked, Naive, batch, changes};

fn options(rng: &mut StdRng) -> Options {
    let checkpoint_ops = [50, 1_000, 1_000_000][rng.random_range(0..3)];
    Options::new().checkpoint_ops(checkpoint_ops).segment_bytes(256 << 10).background(false)
}

#[test]
fn answers_are_those_of_a_loop_over_all_records() {
    for seed in 0..40 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let schema = support::schema(rng);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("silo");
        let mut engine = Some(Engine::create_with(&path, schema.clone(), options(rng)).unwrap());
        let mut naive = Naive::new(schema.clone());
        let most_ids = [20, 200][rng.random_range(0..2)];
        for _ in 0..12 {
            let open = engine.take().unwrap();
            let count = rng.random_range(1..60);
            let changes = changes(&schema, rng, count, most_ids);
            for change in &changes {
                naive.apply(change);
            }
            let size = rng.random_range(1..20);
            for chunk in changes.chunks(size) {
                open.apply(&batch(chunk), Durability::Process).unwrap();
            }
            let open = match rng.random_range(0..5) {
                0 => {
                    open.close().unwrap();
                    Engine::open_with(&path, options(rng)).unwrap()
                }
                1 => {
                    open.checkpoint().unwrap();
                    open
                }
                2 => {
                    open.compact().unwrap();
                    open
                }
                _ => open,
            };
            assert_eq!(open.len().unwrap(), naive.records.len() as u64, "seed {seed}");
            for _ in 0..12 {
                naive.compare(&open, &Asked::random(&schema, rng), rng);
            }
            engine = Some(open);
        }
    }
}
