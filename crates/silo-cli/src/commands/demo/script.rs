//! What the demonstration types.

/// Stands for the silo's directory.
pub(super) const SILO: &str = "SILO";

pub(super) const LOAD: &[&str] = &[
    "load",
    SILO,
    "flights.csv.zst",
    "--schema",
    "flights.toml",
    "--null",
    "NA",
    "--join",
    "planes.csv.zst:tailnum=tailnum:manufacturer,model,seats",
    "--join",
    "weather.csv.zst:time_hour=time_hour:wind_dir",
];

/// A command with what it asks.
type Asked = (&'static str, &'static [&'static str]);

/// The two that are asked again after the updates.
const WORST_ARRIVALS: Asked = (
    "The worst arrivals in San Francisco:",
    &[
        "query",
        SILO,
        "dest = \"SFO\" AND dep_delay > 60",
        "--sort",
        "arr_delay:desc",
        "--limit",
        "5",
        "--fields",
        "time_hour,carrier,origin,tailnum,dep_delay,arr_delay",
    ],
);
const CANCELLED: Asked = (
    "Cancelled flights, by carrier:",
    &["query", SILO, "dep_time IS NULL", "--facet", "carrier:5", "--limit", "0"],
);

pub(super) const QUERIES: &[Asked] = &[
    WORST_ARRIVALS,
    CANCELLED,
    (
        "Large Airbus planes, joined by tail number:",
        &[
            "query",
            SILO,
            "manufacturer = \"AIRBUS\" AND seats >= 300",
            "--sort",
            "distance:desc",
            "--limit",
            "3",
            "--fields",
            "time_hour,dest,distance,model,seats",
        ],
    ),
    (
        "Hours with wind from the west and from the north (a field of several values), and yet early:",
        &[
            "query",
            SILO,
            "wind_dir IN [260, 270, 280] AND wind_dir = 360 AND NOT dep_delay >= -10",
            "--sort",
            "dep_delay:asc",
            "--limit",
            "3",
            "--fields",
            "time_hour,origin,dest,dep_delay,wind_dir",
        ],
    ),
    (
        "A winter storm: how late were those that left at all?",
        &[
            "query",
            SILO,
            "time_hour >= 2013-02-08 AND time_hour < 2013-02-10 AND dep_delay IS NOT NULL",
            "--stats",
            "dep_delay",
            "--limit",
            "0",
        ],
    ),
    (
        "A prefix of tail numbers, a set of months, a negation; the newest first:",
        &[
            "query",
            SILO,
            "tailnum STARTS WITH \"N14\" AND month IN [6, 7, 8] AND NOT (origin = \"EWR\" OR dest = \"BOS\")",
            "--sort",
            "time_hour:desc",
            "--limit",
            "3",
            "--fields",
            "time_hour,tailnum,origin,dest,arr_delay",
        ],
    ),
];

/// Two of the most delayed arrivals in San Francisco get a new time, and a flight that never was is added.
pub(super) const CHANGES: &str = r#"{"id": 327044, "dep_delay": 0, "arr_delay": 0}
{"id": 256522, "arr_delay": 2000}
{"id": 400000, "time_hour": "2013-12-31T23:00:00Z", "carrier": "ZZ", "dep_time": 1800, "origin": "JFK", "dest": "SFO", "dep_delay": 900, "arr_delay": 1500}
"#;

pub(super) const UPDATES: &[&[&str]] = &[
    &["put", SILO, "changes.ndjson", "--merge"],
    &["delete", SILO, "--filter", "dep_time IS NULL AND carrier = \"EV\""],
    &["delete", SILO, "256502"],
];

pub(super) const QUERIES_AGAIN: &[Asked] = &[WORST_ARRIVALS, CANCELLED];

pub(super) const CHECK: &[&str] = &["check", SILO];
