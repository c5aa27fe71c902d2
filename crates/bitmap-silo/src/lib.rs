//! Roaring bitmaps read in place from memory-mapped files.
