use datasilo::*;
use std::sync::Arc;
#[derive(Debug)]
struct Append;
impl MergeOperator for Append {
    fn name(&self) -> &str {
        "append"
    }
    fn fold(&self, _k: &[u8], base: Option<&[u8]>, ops: &[&[u8]]) -> MergeResult<Vec<u8>> {
        let mut v = base.unwrap_or_default().to_vec();
        for o in ops {
            v.extend_from_slice(o);
        }
        Ok(v)
    }
    fn combine(&self, ops: &[&[u8]]) -> MergeResult<Vec<u8>> {
        Ok(ops.concat())
    }
}
fn opts() -> Options {
    Options::new()
        .segment_bytes(1 << 16)
        .allocate_bytes(4096)
        .region_bytes(4096)
        .merge_operator(Arc::new(Append))
        .background(false)
}
#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let p = dir.path().join("s");
    for round in 0..5u64 {
        let silo = Silo::open(&p, opts()).unwrap();
        println!("{:?}", silo.recovery());
        let ks = silo.create_keyspace("docs", &KeyspaceOptions::new()).unwrap();
        let al = silo.create_keyspace("aligned", &KeyspaceOptions::new().align(64)).unwrap();
        let mg = silo.create_keyspace("log", &KeyspaceOptions::new().merge_operator("append")).unwrap();
        let mut b = silo.batch();
        for i in 0..2000u64 {
            b.put(&ks, IntKey::from(i), format!("v{round}-{i}")).unwrap();
            b.put(&al, IntKey::from(i), vec![round as u8; (i as usize * 37) % 9000]).unwrap();
            b.merge(&mg, IntKey::from(i % 50), format!("{round}.")).unwrap();
            if i % 100 == 99 {
                silo.commit(&mut b, Durability::Process).unwrap();
            }
        }
        silo.delete(&ks, IntKey::from(round), Durability::Power).unwrap();
        let verify = |s: &Snapshot| {
            for i in 0..2000u64 {
                let got = s.get(&ks, IntKey::from(i)).unwrap();
                if i == round {
                    assert!(got.is_none())
                } else {
                    assert_eq!(got.unwrap().as_ref(), format!("v{round}-{i}").as_bytes());
                }
                let got = s.get(&al, IntKey::from(i)).unwrap().unwrap();
                assert_eq!(got.as_ref(), vec![round as u8; (i as usize * 37) % 9000]);
                assert_eq!(got.as_ptr() as usize % 64, 0);
            }
            for i in 0..50u64 {
                let want: String = (0..=round).map(|r| format!("{r}.").repeat(40)).collect();
                assert_eq!(s.get(&mg, IntKey::from(i)).unwrap().unwrap().as_ref(), want.as_bytes());
            }
            assert_eq!(s.iter(&ks).unwrap().map(|e| e.unwrap()).count(), 1999);
            assert_eq!(s.iter(&al).unwrap().map(|e| e.unwrap()).count(), 2000);
            assert_eq!(s.iter(&mg).unwrap().map(|e| e.unwrap()).count(), 50);
        };
        let s0 = silo.snapshot();
        verify(&s0);
        println!("{:?}", silo.check(Strictness::Strict).unwrap());
        println!("{:?}", silo.checkpoint().unwrap());
        println!("{:?}", silo.check(Strictness::Strict).unwrap());
        verify(&silo.snapshot());
        println!("{:?}", silo.compact().unwrap());
        println!("{:?}", silo.check(Strictness::Strict).unwrap());
        verify(&silo.snapshot());
        verify(&s0);
        let reader = SiloReader::open(&p, opts()).unwrap();
        verify(&reader.snapshot());
        let bk = dir.path().join(format!("backup{round}"));
        println!("{:?}", silo.backup(&bk).unwrap());
        {
            let b = Silo::open(&bk, opts()).unwrap();
            verify(&b.snapshot());
            b.check(Strictness::Strict).unwrap();
            b.put(&ks, b"x", b"y", Durability::Process).unwrap();
            assert_eq!(b.snapshot().get(&ks, b"x").unwrap().unwrap().as_ref(), b"y");
        }
        repair(&bk, &opts()).unwrap();
        {
            let b = Silo::open(&bk, opts()).unwrap();
            b.check(Strictness::Strict).unwrap();
            assert_eq!(b.snapshot().get(&ks, b"x").unwrap().unwrap().as_ref(), b"y");
            b.delete(&ks, b"x", Durability::Process).unwrap();
            verify(&b.snapshot());
        }
        let session = silo.bulk(&[&al]).unwrap();
        let mut w = session.writer();
        for i in 0..2000u64 {
            w.put(&al, IntKey::from(i), vec![round as u8; (i as usize * 37) % 9000]).unwrap();
        }
        w.close().unwrap();
        println!("{:?}", session.finish().unwrap());
        verify(&silo.snapshot());
        silo.check(Strictness::Strict).unwrap();
        silo.put(&ks, IntKey::from(5000u64), b"x", Durability::Process).unwrap();
        reader.refresh().unwrap();
        assert!(reader.snapshot().contains(&ks, IntKey::from(5000u64)).unwrap());
        silo.delete(&ks, IntKey::from(5000u64), Durability::Process).unwrap();
        let st = silo.stats().unwrap();
        println!("{:?} {}", st.keyspaces, st.write_amplification());
        assert_eq!(st.keyspaces[0].entries, 1999);
        if round == 2 {
            let _ = Arc::into_raw(Arc::new(silo));
            break;
        }
    }
}
