//! CSV, NDJSON and Parquet files into row batches, in parallel.
