//! The manifest: names every other file of a silo.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::address::{FileNumber, MAX_SEGMENT_LEN, MAX_SEQ, SeqNo, WORD};
use super::checksum;
use super::field::{FieldReader, FieldWriter};
use super::file_header::{FILE_HEADER_LEN, FORMAT_VERSION, HeaderFlaw, KNOWN_FEATURES, SegmentRole, SiloId};

const MANIFEST_MAGIC: [u8; 8] = *b"SILOMAN1";
const CLOSED_CLEANLY: u8 = 1;

/// No silo comes to more files; leaves room for those of one opening.
const LAST_FILE: FileNumber = u32::MAX - (1 << 20);

/// Length of a manifest's header in bytes.
pub(crate) const MANIFEST_HEADER_LEN: usize = size_of::<ManifestHeader>();
const _: () = assert!(MANIFEST_HEADER_LEN == 32);

/// See the format page, "Manifest header".
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct ManifestHeader {
    pub(crate) magic: [u8; 8],
    pub(crate) version: U16,
    pub(crate) reserved: U16,
    pub(crate) features: U32,
    pub(crate) body_len: U64,
    pub(crate) body_crc: U32,
    pub(crate) crc: U32,
}

/// The structure of a silo at one generation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Manifest {
    pub(crate) silo_id: SiloId,
    pub(crate) generation: u64,
    pub(crate) hash_seed: u64,
    pub(crate) next_file: FileNumber,
    pub(crate) next_keyspace: u32,
    pub(crate) next_seq: SeqNo,
    pub(crate) closed_cleanly: bool,
    pub(crate) user_bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) keyspaces: Vec<KeyspaceRecord>,
    pub(crate) segments: Vec<SegmentRecord>,
}

/// A keyspace and its index runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyspaceRecord {
    pub(crate) id: u32,
    pub(crate) name: String,
    /// Empty: no merge operator.
    pub(crate) operator: String,
    pub(crate) align_shift: u8,
    /// Keys with a value, as of the last checkpoint.
    pub(crate) live_entries: u64,
    pub(crate) runs: Vec<RunRecord>,
}

/// An index run's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRecord {
    pub(crate) file: FileNumber,
    pub(crate) origin: SiloId,
    pub(crate) file_len: u64,
    pub(crate) entries: u64,
}

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub(crate) file: FileNumber,
    pub(crate) origin: SiloId,
    pub(crate) role: SegmentRole,
    pub(crate) sealed: bool,
    pub(crate) file_len: u64,
    pub(crate) replay_from: u64,
    pub(crate) seq_base: SeqNo,
    pub(crate) min_seq: SeqNo,
    pub(crate) max_seq: SeqNo,
    pub(crate) usage: Vec<UsageRecord>,
}

/// Frames of one keyspace in one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct UsageRecord {
    pub(crate) keyspace: u32,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) dead_frames: u64,
    pub(crate) dead_bytes: u64,
    /// Bytes of deletes, dead or not.
    pub(crate) delete_bytes: u64,
}

impl UsageRecord {
    /// Adds the counts of another record of the keyspace.
    pub(crate) fn add(&mut self, other: &Self) {
        // Saturating: counts come from files, and nothing but figures depends on them.
        self.frames = self.frames.saturating_add(other.frames);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.dead_frames = self.dead_frames.saturating_add(other.dead_frames);
        self.dead_bytes = self.dead_bytes.saturating_add(other.dead_bytes);
        self.delete_bytes = self.delete_bytes.saturating_add(other.delete_bytes);
    }

    /// Counts every frame as dead.
    pub(crate) fn kill(&mut self) {
        self.dead_frames = self.frames;
        self.dead_bytes = self.bytes;
    }
}

impl SegmentRecord {
    /// Bytes of frames that nothing leads to.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.usage.iter().fold(0, |sum, u| sum.saturating_add(u.dead_bytes.min(u.bytes)))
    }

    /// Bytes of deletes.
    pub(crate) fn delete_bytes(&self) -> u64 {
        self.usage.iter().fold(0, |sum, u| sum.saturating_add(u.delete_bytes))
    }

    /// True if the index leads to everything in it that counts.
    pub(crate) fn is_settled(&self) -> bool {
        self.sealed && self.replay_from == self.file_len
    }
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = FieldWriter::default();
        body.bytes(&self.silo_id);
        body.u64(self.generation);
        body.u64(self.hash_seed);
        body.u32(self.next_file);
        body.u32(self.next_keyspace);
        body.u64(self.next_seq);
        body.u8(if self.closed_cleanly { CLOSED_CLEANLY } else { 0 });
        body.u64(self.user_bytes);
        body.u64(self.written_bytes);
        body.list(&self.keyspaces, KeyspaceRecord::encode);
        body.list(&self.segments, SegmentRecord::encode);
        let body = body.into_bytes();
        let mut header = ManifestHeader {
            magic: MANIFEST_MAGIC,
            version: FORMAT_VERSION.into(),
            reserved: 0.into(),
            features: KNOWN_FEATURES.into(),
            body_len: (body.len() as u64).into(),
            body_crc: checksum::crc(&body).into(),
            crc: 0.into(),
        };
        header.crc = header.expected_crc().into();
        [header.as_bytes(), &body].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, HeaderFlaw> {
        let (header, body) = ManifestHeader::ref_from_prefix(bytes)
            .map_err(|_| HeaderFlaw::Damaged("the manifest is shorter than its header"))?;
        if header.magic != MANIFEST_MAGIC {
            return Err(HeaderFlaw::Damaged("the manifest's magic number is wrong"));
        }
        // As for file headers, every version computes this checksum in the same way.
        if header.crc.get() != header.expected_crc() || header.version.get() == 0 {
            return Err(HeaderFlaw::Damaged("the manifest header's checksum does not match"));
        }
        if header.version.get() > FORMAT_VERSION {
            return Err(HeaderFlaw::Version(header.version.get()));
        }
        let unknown = header.features.get() & !KNOWN_FEATURES;
        if unknown != 0 {
            return Err(HeaderFlaw::Features(unknown));
        }
        if body.len() as u64 != header.body_len.get() {
            return Err(HeaderFlaw::Damaged("the manifest's length is not what its header says"));
        }
        if checksum::crc(body) != header.body_crc.get() {
            return Err(HeaderFlaw::Damaged("the manifest's checksum does not match"));
        }
        let mut fields = FieldReader::new(body);
        let manifest = Self::decode_body(&mut fields)
            .filter(|_| fields.remaining() == 0)
            .ok_or(HeaderFlaw::Damaged("the manifest's fields do not parse"))?;
        manifest.validate().map_err(HeaderFlaw::Damaged)?;
        Ok(manifest)
    }

    fn decode_body(fields: &mut FieldReader<'_>) -> Option<Self> {
        Some(Self {
            silo_id: fields.array()?,
            generation: fields.u64()?,
            hash_seed: fields.u64()?,
            next_file: fields.u32()?,
            next_keyspace: fields.u32()?,
            next_seq: fields.u64()?,
            closed_cleanly: fields.u8()? & CLOSED_CLEANLY != 0,
            user_bytes: fields.u64()?,
            written_bytes: fields.u64()?,
            keyspaces: fields.list(KeyspaceRecord::decode)?,
            segments: fields.list(SegmentRecord::decode)?,
        })
    }

    /// What every manifest that was ever written fulfils.
    fn validate(&self) -> Result<(), &'static str> {
        let mut ids: Vec<u32> = self.keyspaces.iter().map(|k| k.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() != self.keyspaces.len() || ids.iter().any(|&id| id == 0 || id >= self.next_keyspace) {
            return Err("the manifest's keyspace ids are not distinct and below the next id");
        }
        if self.keyspaces.iter().any(|k| k.align_shift > 6) {
            return Err("the manifest names an alignment above 64");
        }
        let runs = self.keyspaces.iter().flat_map(|k| k.runs.iter().map(|r| r.file));
        let mut files: Vec<u32> = runs.chain(self.segments.iter().map(|s| s.file)).collect();
        let count = files.len();
        files.sort_unstable();
        files.dedup();
        if files.len() != count || files.iter().any(|&n| n == 0 || n >= self.next_file) {
            return Err("the manifest's file numbers are not distinct and below the next number");
        }
        let mut names: Vec<&str> = self.keyspaces.iter().map(|k| k.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err("the manifest gives two keyspaces one name");
        }
        if self.next_file > LAST_FILE || self.generation > MAX_SEQ || !(1..=MAX_SEQ).contains(&self.next_seq)
        {
            return Err("the manifest's numbers are used up");
        }
        self.segments.iter().try_for_each(SegmentRecord::validate)
    }
}

impl SegmentRecord {
    fn validate(&self) -> Result<(), &'static str> {
        let first = FILE_HEADER_LEN as u64;
        let ends = [self.replay_from, self.file_len];
        if ends.iter().any(|end| !end.is_multiple_of(WORD) || !(first..=MAX_SEGMENT_LEN).contains(end)) {
            return Err("the manifest gives a segment an impossible length");
        }
        if self.replay_from > self.file_len {
            return Err("the manifest would replay from behind a segment's end");
        }
        if self.role != SegmentRole::Log && (!self.sealed || self.replay_from != self.file_len) {
            return Err("the manifest would replay a segment that is not of the log");
        }
        if [self.seq_base, self.min_seq, self.max_seq].iter().any(|&seq| seq > MAX_SEQ) {
            return Err("the manifest's numbers are used up");
        }
        Ok(())
    }
}

impl ManifestHeader {
    fn expected_crc(&self) -> u32 {
        let covered = self.as_bytes().split_last_chunk::<4>().map_or(&[][..], |(head, _)| head);
        checksum::crc(covered)
    }
}

impl KeyspaceRecord {
    fn encode(out: &mut FieldWriter, record: &Self) {
        record.encode_definition(out);
        out.u64(record.live_entries);
        out.list(&record.runs, |out, run| {
            out.u32(run.file);
            out.bytes(&run.origin);
            out.u64(run.file_len);
            out.u64(run.entries);
        });
    }

    /// What a catalog group says of a keyspace.
    fn encode_definition(&self, out: &mut FieldWriter) {
        out.u32(self.id);
        out.str(&self.name);
        out.str(&self.operator);
        out.u8(self.align_shift);
    }

    fn decode_definition(fields: &mut FieldReader<'_>) -> Option<Self> {
        Some(Self {
            id: fields.u32()?,
            name: fields.str()?,
            operator: fields.str()?,
            align_shift: fields.u8()?,
            live_entries: 0,
            runs: Vec::new(),
        })
    }

    fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        let definition = Self::decode_definition(fields)?;
        Some(Self {
            live_entries: fields.u64()?,
            runs: fields.list(|fields| {
                Some(RunRecord {
                    file: fields.u32()?,
                    origin: fields.array()?,
                    file_len: fields.u64()?,
                    entries: fields.u64()?,
                })
            })?,
            ..definition
        })
    }
}

impl SegmentRecord {
    fn encode(out: &mut FieldWriter, record: &Self) {
        out.u32(record.file);
        out.bytes(&record.origin);
        out.u32(record.role.to_code());
        out.u8(u8::from(record.sealed));
        out.u64(record.file_len);
        out.u64(record.replay_from);
        out.u64(record.seq_base);
        out.u64(record.min_seq);
        out.u64(record.max_seq);
        out.list(&record.usage, |out, usage| {
            out.u32(usage.keyspace);
            out.u64(usage.frames);
            out.u64(usage.bytes);
            out.u64(usage.dead_frames);
            out.u64(usage.dead_bytes);
            out.u64(usage.delete_bytes);
        });
    }

    fn decode(fields: &mut FieldReader<'_>) -> Option<Self> {
        Some(Self {
            file: fields.u32()?,
            origin: fields.array()?,
            role: SegmentRole::from_code(fields.u32()?)?,
            sealed: fields.u8()? != 0,
            file_len: fields.u64()?,
            replay_from: fields.u64()?,
            seq_base: fields.u64()?,
            min_seq: fields.u64()?,
            max_seq: fields.u64()?,
            usage: fields.list(|fields| {
                Some(UsageRecord {
                    keyspace: fields.u32()?,
                    frames: fields.u64()?,
                    bytes: fields.u64()?,
                    dead_frames: fields.u64()?,
                    dead_bytes: fields.u64()?,
                    delete_bytes: fields.u64()?,
                })
            })?,
        })
    }
}

/// Encodes the payload of a catalog group: the keyspaces' definitions, padded to whole words.
pub(crate) fn encode_catalog(next_keyspace: u32, hash_seed: u64, keyspaces: &[KeyspaceRecord]) -> Vec<u8> {
    let mut body = FieldWriter::default();
    body.u32(next_keyspace);
    body.u64(hash_seed);
    body.list(keyspaces, |out, k| k.encode_definition(out));
    let body = body.into_bytes();
    let mut payload = FieldWriter::default();
    payload.u32(u32::try_from(body.len()).expect("catalogs are small"));
    payload.u32(checksum::crc(&body));
    payload.bytes(&body);
    let mut payload = payload.into_bytes();
    payload.resize(payload.len().next_multiple_of(8), 0);
    payload
}

/// What a catalog group holds: next keyspace id, hash seed, and the keyspaces without their runs.
pub(crate) fn decode_catalog(payload: &[u8]) -> Option<(u32, u64, Vec<KeyspaceRecord>)> {
    let mut fields = FieldReader::new(payload);
    let len = fields.u32()?;
    let crc = fields.u32()?;
    let body = fields.bytes(len as usize)?;
    if checksum::crc(body) != crc {
        return None;
    }
    let mut fields = FieldReader::new(body);
    Some((fields.u32()?, fields.u64()?, fields.list(KeyspaceRecord::decode_definition)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let usage = UsageRecord {
            keyspace: 1,
            frames: 5,
            bytes: 400,
            dead_frames: 1,
            dead_bytes: 80,
            delete_bytes: 0,
        };
        Manifest {
            silo_id: [4; 16],
            generation: 12,
            hash_seed: 99,
            next_file: 9,
            next_keyspace: 3,
            next_seq: 1000,
            closed_cleanly: true,
            user_bytes: 1,
            written_bytes: 2,
            keyspaces: vec![KeyspaceRecord {
                id: 1,
                name: "docs".into(),
                operator: "append".into(),
                align_shift: 3,
                live_entries: 4,
                runs: vec![RunRecord { file: 5, origin: [4; 16], file_len: 8192, entries: 4 }],
            }],
            segments: vec![SegmentRecord {
                file: 8,
                origin: [6; 16],
                role: SegmentRole::Bulk,
                sealed: true,
                file_len: 4096,
                replay_from: 4096,
                seq_base: 3,
                min_seq: 3,
                max_seq: 8,
                usage: vec![usage],
            }],
        }
    }

    #[test]
    fn a_manifest_reads_back() {
        assert_eq!(Manifest::decode(&sample().encode()), Ok(sample()));
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let bytes = sample().encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Manifest::decode(&damaged), Err(HeaderFlaw::Damaged(_))), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "length {len}");
        }
        assert!(Manifest::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn impossible_manifests_with_good_checksums_are_refused() {
        let changes: [fn(&mut Manifest); 12] = [
            |m| m.next_seq = 0,
            |m| m.next_seq = u64::MAX,
            |m| m.generation = u64::MAX,
            |m| m.next_file = u32::MAX,
            |m| m.segments[0].file_len = 4097,
            |m| m.segments[0].replay_from = 0,
            |m| m.segments[0].sealed = false,
            |m| m.segments[0].seq_base = u64::MAX,
            |m| m.next_file = 8,
            |m| m.next_keyspace = 1,
            |m| m.segments[0].file = 5,
            |m| m.segments[0].replay_from = 4104,
        ];
        for change in changes {
            let mut manifest = sample();
            change(&mut manifest);
            assert!(Manifest::decode(&manifest.encode()).is_err());
        }
    }

    #[test]
    fn a_catalog_keeps_the_definitions() {
        let keyspaces = sample().keyspaces;
        let payload = encode_catalog(3, 99, &keyspaces);
        assert_eq!(payload.len() % 8, 0);
        let (next, seed, back) = decode_catalog(&payload).unwrap();
        assert_eq!((next, seed, back[0].name.as_str(), back[0].runs.len()), (3, 99, "docs", 0));
        let mut damaged = payload;
        damaged[12] ^= 1;
        assert!(decode_catalog(&damaged).is_none());
    }
}
