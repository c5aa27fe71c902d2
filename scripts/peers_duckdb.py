"""DuckDB for the lab: loads the workload, then answers one query a line (a JSON string of SQL) with rows and time."""
import json
import sys
import time

import duckdb

directory, threads = sys.argv[1], int(sys.argv[2])
connection = duckdb.connect()
connection.execute(f"SET threads TO {threads}")
connection.execute("SET preserve_insertion_order TO true")
connection.execute(f"CREATE TABLE images AS SELECT * FROM '{directory}/images.parquet' ORDER BY imageId")
connection.execute(f"CREATE TABLE tags AS SELECT * FROM '{directory}/tags.parquet' ORDER BY tagId, imageId")


def reply(rows, nanoseconds):
    print(json.dumps({"rows": rows, "nanoseconds": nanoseconds}), flush=True)


reply([], 0)
for line in sys.stdin:
    started = time.perf_counter_ns()
    rows = connection.execute(json.loads(line)).fetchall()
    reply(rows, time.perf_counter_ns() - started)
