use datasilo::*;
#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let p = dir.path().join("s");
    let opts = || Options::new().segment_bytes(1 << 16).allocate_bytes(4096);
    for round in 0..5u64 {
        let silo = Silo::open(&p, opts()).unwrap();
        let ks = silo.create_keyspace("docs", &KeyspaceOptions::new()).unwrap();
        let mut b = silo.batch();
        for i in 0..2000u64 {
            b.put(&ks, IntKey::from(i), format!("v{round}-{i}")).unwrap();
            if i % 100 == 99 { silo.commit(&mut b, Durability::Process).unwrap(); }
        }
        silo.delete(&ks, IntKey::from(round), Durability::Power).unwrap();
        let s = silo.snapshot();
        for i in 0..2000u64 {
            let got = s.get(&ks, IntKey::from(i)).unwrap();
            if i == round { assert!(got.is_none()) } else { assert_eq!(got.unwrap().as_ref(), format!("v{round}-{i}").as_bytes()); }
        }
        println!("{:?}", silo.checkpoint().unwrap());
        let s = silo.snapshot();
        for i in 0..2000u64 {
            let got = s.get(&ks, IntKey::from(i)).unwrap();
            if i == round { assert!(got.is_none()) } else { assert_eq!(got.unwrap().as_ref(), format!("v{round}-{i}").as_bytes()); }
        }
        if round == 2 { std::mem::forget(silo); break; }
    }
}
