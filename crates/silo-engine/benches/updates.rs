//! Changes records of a silo while a thread queries it: acknowledged changes a second, and what queries take meanwhile,
//! against what they take when the same records are at rest, everything folded. (What they took before is no measure: the
//! changes spread high numbers over records that had low ones, and such orders are harder to answer.) `cargo bench -p silo-engine --bench updates -- DIR [SECONDS] [RECORDS A BATCH] [RECORDS A SECOND]`; the
//! silo is changed, so let DIR be a copy. Its schema says what changes: numbers get other values, sets gain and lose
//! some. Without a rate, changes come as fast as they are taken.
#![expect(clippy::unwrap_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a benchmark prints")]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use silo_engine::{
    Direction, Durability, Engine, Field, FieldType, Filter, Id, Merge, Query, UpdateBatch, Value,
};

/// Values that a field may get, and had.
struct Known {
    field: Field,
    values: Vec<Value>,
}

/// Fields with an index whose values are numbers, with values that records have.
fn known(engine: &Engine, ids: &[Id]) -> Vec<Known> {
    let schema = engine.schema();
    let is_number = |field: &&Field| {
        matches!(field.kind, FieldType::Unsigned(_) | FieldType::Signed(_)) && field.compute.is_none()
    };
    let mut known = Vec::new();
    for field in schema.fields.iter().filter(|field| !field.index.is_none()).filter(is_number) {
        let at = schema.position(&field.name).unwrap();
        let mut values = Vec::new();
        for id in ids.iter().take(2_000) {
            let document = engine.get(id.clone()).unwrap().unwrap();
            values.extend(document.values[at].items().iter().cloned());
        }
        if !values.is_empty() {
            known.push(Known { field: field.clone(), values });
        }
    }
    known
}

/// A change of one record: some 5 to 50 index entries go or come.
fn change(known: &[Known], id: Id, rng: &mut SmallRng) -> (Merge, usize) {
    let (mut merge, mut entries) = (Merge::new(id), 0);
    for Known { field, values } in known {
        let mut value = || values[rng.random_range(0..values.len())].clone();
        if field.multi {
            let name = field.name.clone();
            let (added, removed) = (value(), value());
            let mut more: Vec<Value> = (0..6).map(|_| value()).collect();
            more.push(added);
            entries += more.len() + 1;
            merge = merge.remove(name.clone(), Value::List(vec![removed])).add(name, Value::List(more));
        } else if !field.index.high {
            let value = value();
            entries += 2;
            merge = merge.set(field.name.clone(), value);
        }
    }
    (merge, entries)
}

/// Queries that read every index that changes.
fn queries(engine: &Engine, known: &[Known], rng: &mut SmallRng) -> Vec<Query> {
    let sorts: Vec<&str> = engine
        .schema()
        .fields
        .iter()
        .filter(|field| field.index.sort)
        .map(|field| field.name.as_str())
        .collect();
    let filters: Vec<&Known> = known.iter().filter(|known| known.field.index.filter).collect();
    (0..200)
        .map(|turn| {
            let mut filter = Filter::all();
            for known in filters.iter().take(1 + turn % 2) {
                let value = known.values[rng.random_range(0..known.values.len())].clone();
                filter = filter.and(Filter::eq(known.field.name.clone(), value));
            }
            let query = Query::new(filter).without_total();
            if sorts.is_empty() {
                query
            } else {
                query.sort(sorts[turn % sorts.len()], Direction::Descending)
            }
        })
        .collect()
}

/// Asks queries until told to stop; the times that they took, ascending.
fn ask(engine: &Engine, queries: &[Query], stop: &dyn Fn(usize) -> bool) -> Vec<Duration> {
    let mut times = Vec::new();
    for query in queries.iter().cycle() {
        if stop(times.len()) {
            break;
        }
        times.push(engine.query(query).unwrap().elapsed);
    }
    times.sort_unstable();
    times
}

fn print(what: &str, times: &[Duration]) {
    let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    println!(
        "{what}: {} queries, median {:.1} µs, p90 {:.1}, p99 {:.1}",
        times.len(),
        at(50),
        at(90),
        at(99)
    );
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let Some(dir) = args.next() else {
        println!(
            "no silo named: cargo bench -p silo-engine --bench updates -- DIR [SECONDS] [RECORDS A BATCH] [RECORDS A SECOND]"
        );
        return;
    };
    let seconds: f64 = args.next().map_or(5.0, |text| text.parse().unwrap());
    let per_batch: usize = args.next().map_or(64, |text| text.parse().unwrap());
    let most_a_second: f64 = args.next().map_or(f64::INFINITY, |text| text.parse().unwrap());
    let started = Instant::now();
    let engine = Engine::open(&dir).unwrap();
    println!("opened in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
    let rng = &mut SmallRng::seed_from_u64(1);
    let count = usize::try_from(engine.len().unwrap()).unwrap();
    let mut ids: HashSet<Id> = HashSet::new();
    while ids.len() < 20_000.min(count / 2) {
        let page = Query::new(Filter::all()).offset(rng.random_range(0..count)).limit(200).without_total();
        ids.extend(engine.query(&page).unwrap().ids);
    }
    let ids: Vec<Id> = ids.into_iter().collect();
    let known = known(&engine, &ids);
    let queries = queries(&engine, &known, rng);
    ask(&engine, &queries, &|asked| asked == queries.len());
    let rounds = 5 * queries.len();
    print("before", &ask(&engine, &queries, &|asked| asked == rounds));
    let stop = AtomicBool::new(false);
    let (times, changes, entries, took) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&engine, &queries, &|_| stop.load(Ordering::Relaxed)));
        let (mut changes, mut entries) = (0, 0);
        let started = Instant::now();
        while started.elapsed().as_secs_f64() < seconds {
            let mut batch = UpdateBatch::new();
            for _ in 0..per_batch {
                let (merge, count) = change(&known, ids[rng.random_range(0..ids.len())].clone(), rng);
                entries += count;
                batch.merge(merge);
            }
            engine.apply(&batch, Durability::Process).unwrap();
            changes += per_batch;
            #[expect(clippy::cast_precision_loss, reason = "a rate")]
            let due = Duration::from_secs_f64(changes as f64 / most_a_second);
            std::thread::sleep(due.saturating_sub(started.elapsed()));
        }
        let took = started.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        (asking.join().unwrap(), changes, entries, took)
    });
    #[expect(clippy::cast_precision_loss, reason = "a rate")]
    let (rate, each) = (changes as f64 / took, entries as f64 / changes as f64);
    println!("{rate:.0} changes/s in batches of {per_batch}, about {each:.0} index entries each");
    print("meanwhile", &times);
    print("after, unfolded", &ask(&engine, &queries, &|asked| asked == rounds));
    engine.compact().unwrap();
    ask(&engine, &queries, &|asked| asked == queries.len());
    let at_rest = ask(&engine, &queries, &|asked| asked == rounds);
    print("after, folded", &at_rest);
    let ratio = times[times.len() / 2].as_secs_f64() / at_rest[rounds / 2].as_secs_f64();
    println!("meanwhile to folded: {ratio:.2}");
    engine.close().unwrap();
}
