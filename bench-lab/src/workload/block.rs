//! Rows and how they are drawn.

use super::tables::{BASE_MODELS, LEVELS, SIZES, TAG_COUNT, TECHNIQUE_COUNT, TOOL_COUNT};
use crate::random::{Random, Weighted, mix};

/// Rows of a block.
pub const BLOCK_ROWS: u32 = 1 << 16;
/// Ids are dealt in groups: of `GROUP_IDS` consecutive ids, `GROUP_ROWS` exist, the first always.
const GROUP_ROWS: u64 = 64;
const GROUP_IDS: u64 = 74;
/// Post ids that a block has at its disposal: some 13,650 are used.
const BLOCK_POSTS: u32 = 1 << 14;
const ROWS_PER_USER: u64 = 190;
const FAVOURITE_TAGS: u32 = 48;
/// The last row's time is about 2026-01-01, the first's three and a half years before.
const FIRST_SECOND: u32 = 1_656_633_600;
const SECONDS: u64 = 110_592_000;

/// Bits of [`Row::flags`].
pub mod flag {
    /// The picture says how it was made.
    pub const HAS_META: u8 = 1;
    /// It was made on the site.
    pub const ON_SITE: u8 = 2;
    /// It shows a real person.
    pub const POI: u8 = 4;
    /// It shows a minor.
    pub const MINOR: u8 = 8;
    /// It can be seen.
    pub const IS_PUBLISHED: u8 = 16;
}

/// One row of the main table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// imageId.
    pub id: u32,
    /// userId.
    pub user: u32,
    /// postId.
    pub post: u32,
    /// nsfwLevel.
    pub level: u8,
    /// Index into `TYPES`.
    pub kind: u8,
    /// Index into `BASE_MODELS`, or 255.
    pub base_model: u8,
    /// Index into `AVAILABILITY`.
    pub availability: u8,
    /// Index into `BLOCKED_FOR`, or 255.
    pub blocked: u8,
    /// See [`flag`].
    pub flags: u8,
    /// Tool ids, 0 where there are fewer.
    pub tools: [u8; 3],
    /// Technique ids, 0 where there are fewer.
    pub techniques: [u8; 2],
    /// The id this is a remix of, or 0.
    pub remix_of: u32,
    /// When it became visible, in seconds since 1970.
    pub sort_at: u32,
    /// When it was made.
    pub created_at: u32,
    /// reactionCount.
    pub reactions: u32,
    /// commentCount.
    pub comments: u32,
    /// collectedCount.
    pub collected: u32,
    /// What url and hash are spelled from.
    pub name: u64,
    /// Pixels.
    pub width: u16,
    /// Pixels.
    pub height: u16,
}

/// Consecutive rows with their tags.
#[derive(Debug, Default)]
pub struct Block {
    /// Rows in the order of their ids.
    rows: Vec<Row>,
    /// Where each row's tags end.
    tag_ends: Vec<u32>,
    tags: Vec<u16>,
    /// The rows in the order of the file.
    order: Vec<u16>,
}

impl Block {
    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Number of pairs of row and tag.
    #[must_use]
    pub fn pair_count(&self) -> usize {
        self.tags.len()
    }

    /// Rows and their tags in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Row, &[u16])> {
        self.order.iter().map(|&index| {
            let index = usize::from(index);
            let start = index.checked_sub(1).map_or(0, |before| self.tag_ends[before]);
            (&self.rows[index], &self.tags[start as usize..self.tag_ends[index] as usize])
        })
    }
}

/// A workload of so many rows.
#[derive(Debug, Clone)]
pub struct Workload {
    rows: u64,
    tags_per_record: u32,
    seed: u64,
    levels: Weighted,
    models: Weighted,
    tags: Weighted,
    tools: Weighted,
    sizes: Weighted,
}

/// What the rows of a post have in common.
struct Post {
    user: u32,
    id: u32,
    level: u8,
    model: u8,
    popularity: f64,
    on_site: bool,
    has_meta: bool,
    lag: u32,
    size: (u16, u16),
    theme: Vec<u16>,
}

impl Workload {
    /// A workload of `rows` rows, up to 3.5 billion, with `tags_per_record` tags each on average, up to 100.
    #[must_use]
    pub fn new(rows: u64, tags_per_record: u32, seed: u64) -> Self {
        assert!(rows <= 3_500_000_000, "ids are 32-bit numbers: at most 3.5 billion rows");
        assert!(tags_per_record <= 100, "at most 100 tags a record");
        let zipf = |count: usize, exponent: f64| {
            Weighted::new((1..=count).map(move |rank| (rank as f64).powf(-exponent)))
        };
        // Flat at the head, so that no tag is in every row; steep after the 3,000th, so that thousands of tags
        // have fewer than ten rows at 14.6 M.
        let tag = |rank: u32| {
            let rank = f64::from(rank);
            if rank <= 3_000.0 { 1.0 / (rank + 3.0) } else { (3_000.0 / rank).powi(3) / 3_003.0 }
        };
        Self {
            rows,
            tags_per_record,
            seed,
            levels: Weighted::new(LEVELS.map(|(_, weight)| weight)),
            models: zipf(BASE_MODELS.len(), 1.1),
            tags: Weighted::new((1..=TAG_COUNT).map(tag)),
            tools: zipf(TOOL_COUNT as usize, 1.0),
            sizes: zipf(SIZES.len(), 0.8),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn row_count(&self) -> u64 {
        self.rows
    }

    /// Number of blocks.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.rows.div_ceil(u64::from(BLOCK_ROWS)) as u32
    }

    /// One block.
    #[must_use]
    pub fn block(&self, index: u32) -> Block {
        let first_row = u64::from(index) * u64::from(BLOCK_ROWS);
        let count = (self.rows - first_row).min(u64::from(BLOCK_ROWS)) as u32;
        let mut random = Random::new(self.seed, u64::from(index));
        let mut block = Block {
            rows: Vec::with_capacity(count as usize),
            tag_ends: Vec::with_capacity(count as usize),
            tags: Vec::with_capacity((count * (self.tags_per_record + 1)) as usize),
            order: Vec::new(),
        };
        let mut post_index = 0;
        let mut ids = GroupIds::default();
        while (block.rows.len() as u32) < count {
            let post = self.post(index, first_row, post_index, &mut random);
            post_index = (post_index + 1).min(BLOCK_POSTS - 1);
            // Short runs are common, long ones carry the mean: 1 + 19·u⁴ has mean 4.8.
            let u = random.unit();
            let run = 1 + (19.0 * (u * u) * (u * u) + 0.5) as u32;
            for _ in 0..run.min(count - block.rows.len() as u32) {
                let at = first_row + block.rows.len() as u64;
                let id = ids.of(at, &mut random);
                block.rows.push(self.row(&post, at, id, &mut random));
                self.tag_row(&post, &mut block.tags, &mut random);
                block.tag_ends.push(block.tags.len() as u32);
            }
        }
        block.order = file_order(count, &mut random);
        block
    }

    fn post(&self, block: u32, first_row: u64, post_index: u32, random: &mut Random) -> Post {
        let users = (first_row + u64::from(BLOCK_ROWS)) / ROWS_PER_USER;
        // The inverse of the continuous distribution function of Zipf with exponent 3/4.
        let top = (users as f64).powf(0.25) - 1.0;
        let rank = (1.0 + top * random.unit()).powi(4) as u64;
        let user = user_id(rank.min(users));
        let taste = |stream: u64| mix(mix(self.seed ^ u64::from(user)) ^ stream);
        let level = if random.chance(0.65) { self.levels.at(taste(1)) } else { self.levels.draw(random) };
        let model = if random.chance(0.12) {
            255
        } else if random.chance(0.6) {
            self.models.at(taste(2)) as u8
        } else {
            self.models.draw(random) as u8
        };
        let lag = if random.chance(0.07) {
            (-(1.0 - random.unit()).ln() * 12.0 * 86_400.0).min(120.0 * 86_400.0) as u32
        } else {
            random.below(90)
        };
        let theme_len = 4 + self.tags_per_record * 3 / 2;
        let theme = (0..theme_len)
            .map(|_| {
                let tag = if random.chance(0.7) {
                    // Twice the minimum: a user's first favourites come most often.
                    let favourite = random.below(FAVOURITE_TAGS).min(random.below(FAVOURITE_TAGS));
                    self.tags.at(taste(100 + u64::from(favourite)))
                } else {
                    self.tags.draw(random)
                };
                tag as u16 + 1
            })
            .collect();
        Post {
            user,
            id: block * BLOCK_POSTS + post_index + 1,
            level: LEVELS[level as usize].0,
            model,
            popularity: random.normal() + 0.6 * ((taste(3) >> 11) as f64 / (1_u64 << 53) as f64 - 0.5),
            on_site: random.chance(if taste(4).is_multiple_of(4) { 0.7 } else { 0.1 }),
            has_meta: random.chance(if taste(5).is_multiple_of(2) { 0.85 } else { 0.15 }),
            lag,
            size: SIZES[self.sizes.draw(random) as usize],
            theme,
        }
    }

    fn row(&self, post: &Post, at: u64, id: u32, random: &mut Random) -> Row {
        let second =
            FIRST_SECOND + (u128::from(at) * u128::from(SECONDS) / u128::from(self.rows.max(1))) as u32;
        let created_at = second + random.below(240) - 120;
        let heat = 0.75 * post.popularity + 0.65 * random.normal();
        let counter = |zero: f64, scale: f64, spread: f64, random: &mut Random| {
            let level = heat + 0.5 * random.normal();
            if level < zero { 0 } else { (scale * (spread * (level - zero)).exp()) as u32 }
        };
        let reactions = counter(-0.1, 1.0, 1.55, random);
        let comments = counter(1.7, 1.0, 0.9, random);
        let collected = counter(0.8, 1.0, 1.2, random);
        let level = if random.chance(0.9) { post.level } else { LEVELS[self.levels.draw(random) as usize].0 };
        let kind = match random.below(1000) {
            0 => 2,
            1..=34 => 1,
            _ => 0,
        };
        let mut flags = 0;
        for (bit, set) in [
            (flag::HAS_META, post.has_meta),
            (flag::ON_SITE, post.on_site),
            (flag::POI, random.chance(0.012)),
            (flag::MINOR, random.chance(0.006)),
            (flag::IS_PUBLISHED, random.chance(0.94)),
        ] {
            flags |= if set { bit } else { 0 };
        }
        let mut tools = [0; 3];
        if random.chance(0.15) {
            let count = 1 + random.below(3) as usize;
            for slot in 0..count {
                let tool = self.tools.draw(random) as u8 + 1;
                tools[slot] = if tools[..slot].contains(&tool) { 0 } else { tool };
            }
        }
        let techniques = match random.below(10) {
            0 => [random.below(TECHNIQUE_COUNT) as u8 + 1, 0],
            _ => [0, 0],
        };
        // The original is the first row of a group, which every workload has.
        let groups = (at / GROUP_ROWS) as u32;
        let remix_of = if groups > 0 && random.chance(0.06) {
            let back = random.below(groups).min(random.below(groups));
            id_of_group(u64::from(groups - 1 - back))
        } else {
            0
        };
        let (width, height) = post.size;
        Row {
            id,
            user: post.user,
            post: post.id,
            level,
            kind,
            base_model: post.model,
            availability: match random.below(100) {
                0 => 1,
                1 => 2,
                2..=4 => 3,
                _ => 0,
            },
            blocked: if random.below(128) == 0 { random.below(4) as u8 } else { 255 },
            flags,
            tools,
            techniques,
            remix_of,
            sort_at: created_at + post.lag,
            created_at,
            reactions,
            comments,
            collected,
            name: random.word(),
            width,
            height,
        }
    }

    /// Draws the tags of a row, all different.
    fn tag_row(&self, post: &Post, tags: &mut Vec<u16>, random: &mut Random) {
        let mean = f64::from(self.tags_per_record);
        let count = (mean * (0.45 * random.normal()).exp() * 0.92 + 0.5) as usize;
        let count = count.min(4 * self.tags_per_record as usize);
        let start = tags.len();
        let mut attempts = 4 * count;
        while tags.len() - start < count && attempts > 0 {
            attempts -= 1;
            let word = random.word();
            let tag = if word & 1023 < 700 {
                post.theme[(((word >> 32) * post.theme.len() as u64) >> 32) as usize]
            } else {
                self.tags.draw(random) as u16 + 1
            };
            if !tags[start..].contains(&tag) {
                tags.push(tag);
            }
        }
    }
}

/// A user's id from its rank: spread over a million and more, no two alike.
fn user_id(rank: u64) -> u32 {
    // An odd factor permutes the residues of a power of two; the bounds leave every rank its own.
    1 + ((rank.wrapping_mul(2_654_435_761)) & 0xf_ffff) as u32 + ((rank >> 20) << 20) as u32
}

fn id_of_group(group: u64) -> u32 {
    (group * GROUP_IDS + 1) as u32
}

/// Which ids of a group exist.
#[derive(Default)]
struct GroupIds {
    offsets: Vec<u8>,
}

impl GroupIds {
    /// The id of row `at`; rows are asked for one after the other.
    fn of(&mut self, at: u64, random: &mut Random) -> u32 {
        let within = (at % GROUP_ROWS) as usize;
        if within == 0 {
            self.offsets = (0..GROUP_IDS as u8).collect();
            for _ in 0..GROUP_IDS - GROUP_ROWS {
                let gap = 1 + random.below(self.offsets.len() as u32 - 1) as usize;
                self.offsets.remove(gap);
            }
        }
        id_of_group(at / GROUP_ROWS) + u32::from(self.offsets[within])
    }
}

/// The order of a file: ids ascend but for swaps nearby, each of which makes two steps back.
fn file_order(count: u32, random: &mut Random) -> Vec<u16> {
    let mut order: Vec<u16> = (0..count).map(|index| index as u16).collect();
    let mut at = 0;
    while at + 22 < count {
        if random.chance(0.19) {
            let other = at + 2 + random.below(20);
            order.swap(at as usize, other as usize);
            at += other - at;
        }
        at += 1;
    }
    order
}
