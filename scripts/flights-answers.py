#!/usr/bin/env python3
"""Writes crates/silo-cli/tests/flights/answers.json: queries of the flights and what DuckDB answers.

Needs `pip install duckdb` and the `zstd` command. Run from the repository's root:

    python3 scripts/flights-answers.py

Ids are positions in the file, from 1. Ties of an order are broken by id in its direction, nulls come last.
`wind_dir` is the set of wind directions that the weather of a flight's hour has, at any airport; null where the
hour has no weather.
"""

import json
import pathlib
import subprocess
import tempfile

import duckdb

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "datasets" / "nycflights13"
OUT = ROOT / "crates" / "silo-cli" / "tests" / "flights" / "answers.json"

# (name, filter, WHERE), counted; the first ids by each order are asked as well.
FILTERS = [
    ("everything", None, "TRUE"),
    ("one destination", 'dest = "SFO"', "dest = 'SFO'"),
    ("two clauses", 'origin = "JFK" AND carrier = "B6"', "origin = 'JFK' AND carrier = 'B6'"),
    ("a list", 'dest IN ["SFO", "LAX", "XXX"]', "dest IN ('SFO', 'LAX', 'XXX')"),
    ("not in a list", 'origin NOT IN ["JFK", "EWR"]', "origin NOT IN ('JFK', 'EWR')"),
    ("unequal leaves nulls out", 'tailnum != "N14228"', "tailnum <> 'N14228'"),
    ("not of equal leaves nulls out", 'NOT tailnum = "N14228"', "NOT tailnum = 'N14228'"),
    ("null", "dep_time IS NULL", "dep_time IS NULL"),
    ("not null", "arr_delay IS NOT NULL", "arr_delay IS NOT NULL"),
    ("not of a range", "NOT (dep_delay > 0)", "NOT (dep_delay > 0)"),
    ("a range", "dep_delay BETWEEN 60 AND 90", "dep_delay BETWEEN 60 AND 90"),
    ("an empty range", "dep_delay BETWEEN 90 AND 60", "dep_delay BETWEEN 90 AND 60"),
    ("not between", "distance NOT BETWEEN 200 AND 2000", "distance NOT BETWEEN 200 AND 2000"),
    ("negative numbers", "dep_delay <= -15 AND arr_delay < -30", "dep_delay <= -15 AND arr_delay < -30"),
    ("a prefix", 'tailnum STARTS WITH "N14"', "starts_with(tailnum, 'N14')"),
    ("not a prefix", 'NOT tailnum STARTS WITH "N"', "NOT starts_with(tailnum, 'N')"),
    ("a day", "time_hour >= 2013-02-03 AND time_hour < 2013-02-04",
     "time_hour >= TIMESTAMP '2013-02-03' AND time_hour < TIMESTAMP '2013-02-04'"),
    ("an hour", "time_hour = 2013-07-04T13:00:00Z", "time_hour = TIMESTAMP '2013-07-04 13:00:00'"),
    ("or", 'dest = "HNL" OR carrier = "OO" OR dep_delay > 1000',
     "dest = 'HNL' OR carrier = 'OO' OR dep_delay > 1000"),
    ("nested", '(origin = "JFK" OR origin = "LGA") AND NOT (dest = "BOS" OR carrier = "DL") AND month IN [6, 7]',
     "origin IN ('JFK', 'LGA') AND NOT (dest = 'BOS' OR carrier = 'DL') AND month IN (6, 7)"),
    ("not of or with nulls", "NOT (dep_delay > 30 OR arr_delay > 30)", "NOT (dep_delay > 30 OR arr_delay > 30)"),
    ("not of and with nulls", "NOT (dep_delay > 30 AND air_time > 100)", "NOT (dep_delay > 30 AND air_time > 100)"),
    ("contradiction", 'origin = "JFK" AND origin = "LGA"', "origin = 'JFK' AND origin = 'LGA'"),
    ("a value that no record has", 'carrier = "ZZ"', "carrier = 'ZZ'"),
    ("joined", 'manufacturer = "AIRBUS" AND seats > 180', "manufacturer = 'AIRBUS' AND seats > 180"),
    ("joined null", "manufacturer IS NULL AND tailnum IS NOT NULL", "manufacturer IS NULL AND tailnum IS NOT NULL"),
    ("joined prefix", 'model STARTS WITH "A320-2" AND dest = "FLL"', "starts_with(model, 'A320-2') AND dest = 'FLL'"),
    ("one of several values", "wind_dir = 310", "list_contains(wind_dir, 310)"),
    ("any of several values", "wind_dir IN [10, 20] AND wind_dir = 350",
     "(list_contains(wind_dir, 10) OR list_contains(wind_dir, 20)) AND list_contains(wind_dir, 350)"),
    ("none of several values", "wind_dir != 310", "NOT list_contains(wind_dir, 310)"),
    ("no values known", "wind_dir IS NULL", "wind_dir IS NULL"),
    ("flight numbers", "flight = 1 AND distance > 2000", "flight = 1 AND distance > 2000"),
    ("by minutes", "hour = 5 AND minute BETWEEN 1 AND 29", "hour = 5 AND minute BETWEEN 1 AND 29"),
    ("by id", "id BETWEEN 1000 AND 1009 OR id = 336776", "id BETWEEN 1000 AND 1009 OR id = 336776"),
]
ORDERS = ["id:desc", "id:asc", "dep_delay:desc", "dep_delay:asc", "time_hour:desc", "distance:asc"]
LIMIT = 12

# (name, filter, WHERE, field, how many)
FACETS = [
    ("carriers", None, "TRUE", "carrier", 20),
    ("destinations of one origin", 'origin = "LGA"', "origin = 'LGA'", "dest", 10),
    ("tails of late flights", "dep_delay > 120", "dep_delay > 120", "tailnum", 15),
    ("winds", "month = 1", "month = 1", "wind_dir", 8),
]
# (name, filter, WHERE, field)
STATS = [
    ("delays", None, "TRUE", "dep_delay"),
    ("distances of one carrier", 'carrier = "HA"', "carrier = 'HA'", "distance"),
    ("of nothing", 'carrier = "ZZ"', "carrier = 'ZZ'", "distance"),
]


def main():
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    with tempfile.TemporaryDirectory() as folder:
        for table in ("flights", "planes", "weather"):
            path = pathlib.Path(folder) / f"{table}.csv"
            with path.open("wb") as out:
                subprocess.run(["zstd", "-dcq", DATA / f"{table}.csv.zst"], stdout=out, check=True)
            db.execute(f"CREATE TABLE {table}_raw AS SELECT * FROM read_csv('{path}', nullstr='NA', parallel=false)")
    db.execute("""
        CREATE TABLE flights AS
        SELECT f.rowid + 1 AS id, f.*, p.manufacturer, p.model, p.seats, w.wind_dir
        FROM flights_raw f
        LEFT JOIN planes_raw p ON p.tailnum = f.tailnum
        LEFT JOIN (
            SELECT time_hour, list(DISTINCT wind_dir) FILTER (wind_dir IS NOT NULL) AS wind_dir
            FROM weather_raw GROUP BY time_hour HAVING count(wind_dir) > 0
        ) w ON w.time_hour = f.time_hour""")

    answers = []
    for number, (name, text, where) in enumerate(FILTERS):
        total = db.execute(f"SELECT count(*) FROM flights WHERE {where}").fetchone()[0]
        # Every filter by one order in turn and the first two; everything by all.
        orders = ORDERS if number == 0 else ["id:desc", ORDERS[1 + number % 5]]
        for order in orders:
            field, direction = order.split(":")
            rows = db.execute(
                f"SELECT id FROM flights WHERE {where} "
                f"ORDER BY {field} {direction} NULLS LAST, id {direction} LIMIT {LIMIT}").fetchall()
            answers.append({"name": f"{name}, by {order}", "filter": text, "sort": order, "limit": LIMIT,
                            "total": total, "ids": [row[0] for row in rows]})
    for name, text, where, field, most in FACETS:
        source = "(SELECT unnest(wind_dir) AS wind_dir, * EXCLUDE wind_dir FROM flights)" if field == "wind_dir" else "flights"
        rows = db.execute(
            f"SELECT {field}, count(*) AS n FROM {source} WHERE {where} AND {field} IS NOT NULL "
            f"GROUP BY 1 ORDER BY n DESC, 1 LIMIT {most}").fetchall()
        answers.append({"name": f"facet: {name}", "filter": text, "facet": f"{field}:{most}",
                        "facets": [{"value": value, "count": count} for value, count in rows]})
    for name, text, where, field in STATS:
        low, high, total, mean, count = db.execute(
            f"SELECT min({field}), max({field}), sum({field}), avg({field}), count({field}) FROM flights WHERE {where}"
        ).fetchone()
        answers.append({"name": f"stats: {name}", "filter": text, "stats_of": field, "stats": {
            "min": low, "max": high, "sum": int(total or 0), "mean": mean, "count": count}})
    text = ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
    OUT.write_text(f"[\n{text}\n]\n")
    print(f"{len(answers)} answers of DuckDB {duckdb.__version__} in {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
