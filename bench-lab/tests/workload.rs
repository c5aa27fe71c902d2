//! The workload is what its page says, whoever makes it.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "tests")]

use std::collections::{HashMap, HashSet};

use bench_lab::workload::{
    BLOCK_ROWS, CLASSES, Columns, Format, QUERY_VARIANTS, Row, TAG_COUNT, TagForm, Workload,
    generate_queries, write_workload,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;

fn rows(workload: &Workload) -> Vec<(Row, Vec<u16>)> {
    (0..workload.block_count())
        .flat_map(|block| {
            workload.block(block).iter().map(|(row, tags)| (*row, tags.to_vec())).collect::<Vec<_>>()
        })
        .collect()
}

fn share(rows: &[(Row, Vec<u16>)], holds: impl Fn(&Row) -> bool) -> f64 {
    rows.iter().filter(|(row, _)| holds(row)).count() as f64 / rows.len() as f64
}

#[test]
fn rows_have_the_shapes_that_the_page_states() {
    let rows = rows(&Workload::new(400_000, 10, 1));
    assert_eq!(rows.len(), 400_000);
    let ids: HashSet<u32> = rows.iter().map(|(row, _)| row.id).collect();
    assert_eq!(ids.len(), rows.len(), "ids differ");
    let gaps = 1.0 - rows.len() as f64 / f64::from(*ids.iter().max().unwrap());
    assert!((0.13..0.15).contains(&gaps), "gaps {gaps}");
    let back = rows.windows(2).filter(|pair| pair[1].0.id < pair[0].0.id).count() as f64 / rows.len() as f64;
    assert!((0.11..0.14).contains(&back), "steps back {back}");
    let posts: HashSet<u32> = rows.iter().map(|(row, _)| row.post).collect();
    let run = rows.len() as f64 / posts.len() as f64;
    assert!((4.6..5.0).contains(&run), "rows of a post {run}");
    let mut users: HashMap<u32, u32> = HashMap::new();
    let mut of_post: HashMap<u32, u32> = HashMap::new();
    for (row, _) in &rows {
        *users.entry(row.user).or_default() += 1;
        assert_eq!(*of_post.entry(row.post).or_insert(row.user), row.user, "a post has one user");
        assert!(row.remix_of == 0 || ids.contains(&row.remix_of), "the original exists");
    }
    let mean = rows.len() as f64 / users.len() as f64;
    assert!((150.0..300.0).contains(&mean), "rows of a user {mean}");
    assert!(*users.values().max().unwrap() > 2_000, "some users have very many");
    let level_one = share(&rows, |row| row.level == 1);
    assert!((0.35..0.6).contains(&level_one), "level 1: {level_one}");
    assert!((0.10..0.14).contains(&share(&rows, |row| row.base_model == 255)));
    assert!((0.3..0.6).contains(&share(&rows, |row| row.reactions == 0)));
    assert!((0.05..0.07).contains(&share(&rows, |row| row.remix_of != 0)));
    assert!((0.05..0.10).contains(&share(&rows, |row| row.sort_at - row.created_at > 600)));
    assert!(rows.iter().any(|(row, _)| row.reactions > 1_000), "the tail is long");
}

#[test]
fn tags_are_skewed_and_follow_their_users() {
    let rows = rows(&Workload::new(400_000, 10, 1));
    let mut counts = vec![0_u32; TAG_COUNT as usize + 1];
    for (_, tags) in &rows {
        let distinct: HashSet<&u16> = tags.iter().collect();
        assert_eq!(distinct.len(), tags.len(), "no tag twice in a row");
        for tag in tags {
            counts[usize::from(*tag)] += 1;
        }
    }
    let pairs: u32 = counts.iter().sum();
    let mean = f64::from(pairs) / rows.len() as f64;
    assert!((9.5..10.8).contains(&mean), "tags of a row {mean}");
    assert_eq!(counts[0], 0, "tags are numbered from 1");
    let most = f64::from(*counts.iter().max().unwrap()) / rows.len() as f64;
    assert!((0.2..0.5).contains(&most), "the most frequent tag {most}");
    let rare = counts.iter().skip(1).filter(|count| **count < 10).count();
    assert!(rare > 5_000, "{rare} tags have fewer than ten rows");
    // Two rows of one post share many more tags than two rows far apart.
    let common =
        |a: &(Row, Vec<u16>), b: &(Row, Vec<u16>)| a.1.iter().filter(|tag| b.1.contains(tag)).count();
    let mut by_post: HashMap<u32, Vec<usize>> = HashMap::new();
    for (at, (row, _)) in rows.iter().enumerate() {
        by_post.entry(row.post).or_default().push(at);
    }
    let pairs: Vec<(usize, usize)> =
        by_post.values().filter(|list| list.len() > 1).map(|list| (list[0], list[1])).collect();
    let near: usize = pairs.iter().map(|(a, b)| common(&rows[*a], &rows[*b])).sum();
    let far: usize = pairs.iter().map(|(a, _)| common(&rows[*a], &rows[(*a + 200_000) % rows.len()])).sum();
    assert!(near > 2 * far, "near {near}, far {far}");
}

#[test]
fn a_shorter_workload_has_the_same_posts_and_tags() {
    let short = rows(&Workload::new(u64::from(BLOCK_ROWS), 10, 5));
    let long = rows(&Workload::new(u64::from(BLOCK_ROWS) * 2, 10, 5));
    assert!(short.iter().zip(&long).all(|(a, b)| a.0.post == b.0.post && a.1 == b.1));
    let other = rows(&Workload::new(u64::from(BLOCK_ROWS), 10, 6));
    assert!(short.iter().zip(&other).any(|(a, b)| a.1 != b.1), "the seed matters");
}

#[test]
fn threads_do_not_change_a_file() {
    let workload = Workload::new(300_001, 4, 3);
    let bytes: Vec<Vec<Vec<u8>>> = [1, 3]
        .map(|threads| {
            let dir = tempfile::tempdir().unwrap();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let written = pool
                .install(|| {
                    write_workload(&workload, dir.path(), Format::Csv, Columns::Full, TagForm::Pairs, |_| {})
                })
                .unwrap();
            assert_eq!(written.files[0].1, 300_001);
            written.files.iter().map(|(path, ..)| std::fs::read(path).unwrap()).collect()
        })
        .into();
    assert!(bytes[0] == bytes[1]);
}

#[test]
fn all_formats_hold_the_same_rows() {
    let workload = Workload::new(70_000, 6, 3);
    let dir = tempfile::tempdir().unwrap();
    for format in [Format::Csv, Format::Ndjson, Format::Parquet] {
        write_workload(&workload, dir.path(), format, Columns::Full, TagForm::Inline, |_| {}).unwrap();
        write_workload(&workload, dir.path(), format, Columns::Light, TagForm::Pairs, |_| {}).unwrap();
        write_workload(&workload, dir.path(), format, Columns::Full, TagForm::Inline, |_| {}).unwrap();
    }
    let csv = std::fs::read_to_string(dir.path().join("images.csv")).unwrap();
    let json = std::fs::read_to_string(dir.path().join("images.ndjson")).unwrap();
    let parquet = SerializedFileReader::try_from(dir.path().join("images.parquet").as_path()).unwrap();
    let names: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    assert_eq!(names.len(), 27);
    let mut count = 0;
    let rows = csv.lines().skip(1).zip(json.lines()).zip(parquet.get_row_iter(None).unwrap());
    for ((csv, json), stored) in rows {
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        let stored = stored.unwrap();
        for (at, (name, cell)) in names.iter().zip(csv.split(',')).enumerate() {
            let other = match &json[name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(list) => {
                    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("|")
                }
                other => other.to_string(),
            };
            assert_eq!(cell, other, "{name}");
            if let Ok(number) = stored.get_int(at) {
                assert_eq!(cell, number.to_string(), "{name}");
            } else if let Ok(text) = stored.get_string(at) {
                assert_eq!(cell, text, "{name}");
            } else if let Ok(set) = stored.get_bool(at) {
                assert_eq!(cell, set.to_string(), "{name}");
            } else if let Ok(list) = stored.get_list(at) {
                use parquet::record::ListAccessor;
                let items: Vec<String> =
                    (0..list.len()).map(|i| list.get_int(i).unwrap().to_string()).collect();
                assert_eq!(cell, items.join("|"), "{name}");
            } else {
                assert_eq!(cell, "", "{name}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 70_000);
    let pairs = std::fs::read_to_string(dir.path().join("tags.csv")).unwrap();
    let stored = SerializedFileReader::try_from(dir.path().join("tags.parquet").as_path()).unwrap();
    let same = pairs.lines().skip(1).zip(stored.get_row_iter(None).unwrap()).all(|(line, stored)| {
        let stored = stored.unwrap();
        line == format!("{},{}", stored.get_int(0).unwrap(), stored.get_int(1).unwrap())
    });
    assert!(same && pairs.lines().count() > 300_000);
}

#[test]
fn queries_are_26_of_each_class_and_stay_the_same() {
    let workload = Workload::new(200_000, 10, 1);
    let queries = generate_queries(&workload, 9);
    assert_eq!(queries, generate_queries(&workload, 9));
    assert_ne!(queries, generate_queries(&workload, 10));
    for class in CLASSES {
        let of_class: Vec<_> = queries.iter().filter(|query| query.class() == class).collect();
        assert_eq!(of_class.len(), QUERY_VARIANTS as usize, "{class}");
        let distinct: HashSet<_> = of_class.iter().map(|query| (&query.filter, &query.sort)).collect();
        assert!(distinct.len() >= 15, "{class} has variety: {}", distinct.len());
    }
}
