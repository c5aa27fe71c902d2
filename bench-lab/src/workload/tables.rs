//! The values of the small fields, most frequent first.

/// Number of tags; their ids are 1 to this, most frequent first.
pub const TAG_COUNT: u32 = 31_000;
/// Number of tools; their ids are 1 to this.
pub(super) const TOOL_COUNT: u32 = 219;
/// Number of techniques; their ids are 1 to this.
pub(super) const TECHNIQUE_COUNT: u32 = 8;

/// Levels and their weights.
pub const LEVELS: [(u8, f64); 7] =
    [(1, 46.0), (2, 18.0), (4, 13.0), (8, 12.0), (16, 10.0), (32, 0.7), (0, 0.3)];

/// Media types.
pub const TYPES: [&str; 3] = ["image", "video", "audio"];

/// Who may see a row.
pub const AVAILABILITY: [&str; 4] = ["Public", "Private", "EarlyAccess", "Unsearchable"];

/// Why a row is blocked; most are not.
pub const BLOCKED_FOR: [&str; 4] = ["moderated", "tos", "CSAM", "AiNotVerified"];

/// The models that images are made with.
pub const BASE_MODELS: [&str; 60] = [
    "SD 1.5",
    "SDXL 1.0",
    "Pony",
    "Illustrious",
    "Flux.1 D",
    "NoobAI",
    "Other",
    "SD 2.1",
    "Flux.1 S",
    "SD 3.5",
    "SDXL Turbo",
    "SD 1.4",
    "Wan Video",
    "Hunyuan Video",
    "SDXL Lightning",
    "SD 3.5 Large",
    "SD 3.5 Medium",
    "SD 1.5 LCM",
    "SDXL 0.9",
    "SD 2.0",
    "Flux.1 Kontext",
    "Qwen",
    "Chroma",
    "HiDream",
    "SD 3",
    "LTXV",
    "CogVideoX",
    "Mochi",
    "Kolors",
    "AuraFlow",
    "Lumina",
    "Playground v2",
    "PixArt a",
    "PixArt E",
    "SVD",
    "SVD XT",
    "Stable Cascade",
    "Hunyuan 1",
    "SDXL Hyper",
    "SD 1.5 Hyper",
    "SDXL Distilled",
    "SD 2.0 768",
    "SD 2.1 768",
    "SD 2.1 Unclip",
    "SD 3.5 Turbo",
    "ODOR",
    "Wan Video 1.3B",
    "Wan Video 14B",
    "Veo 3",
    "Imagen4",
    "Flux.1 Krea",
    "Sora 2",
    "Nano Banana",
    "Seedream",
    "OpenAI",
    "Illustrious 2",
    "Pony V7",
    "ZImage",
    "Anima",
    "Upscaler",
];

/// Widths and heights in pixels.
pub(super) const SIZES: [(u16, u16); 8] = [
    (832, 1216),
    (1024, 1024),
    (1216, 832),
    (512, 768),
    (1024, 1536),
    (896, 1152),
    (1248, 1824),
    (2048, 2048),
];
