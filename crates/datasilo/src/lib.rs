//! Byte keys to byte values in memory-mapped files.
