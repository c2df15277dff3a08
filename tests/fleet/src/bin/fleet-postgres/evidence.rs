//! When the real programs did things, by their own words: HAProxy's log and PostgreSQL's.
//!
//! Inputs: texts of logs, from when on. Outputs: seconds since 1970. Pure. It must never take a script's or the daemon's word for it.

use jiff::Timestamp;

/// A time by the wall clock of this machine, seconds since 1970.
pub type Wall = f64;

/// Now.
#[allow(clippy::cast_precision_loss, reason = "microseconds are enough, and fit")]
pub fn now() -> Wall {
    harness::clock::wall_ns() as f64 / 1e9
}

/// A time for people.
pub fn readable(time: Wall) -> String {
    let span = jiff::SignedDuration::from_secs_f64(time);
    Timestamp::from_duration(span).map_or_else(|error| error.to_string(), |time| time.to_string())
}

/// When HAProxy began to drain the database in this backend, after `from`.
pub fn drained(haproxy: &str, backend: &str, database: &str, from: Wall) -> Option<Wall> {
    let words = format!("Server {backend}/{database} enters drain state");
    let lines = haproxy.lines().filter_map(|line| line.split_once(' '));
    let mut times = lines.filter(|(_, rest)| rest.starts_with(&words)).filter_map(|(time, _)| at(time));
    times.find(|time| *time >= from)
}

/// A time as HAProxy and the daemon write it.
pub fn at(time: &str) -> Option<Wall> {
    let time: Timestamp = time.parse().ok()?;
    Some(time.as_duration().as_secs_f64())
}

/// When a PostgreSQL server first said something with these words after `from`; its lines begin with the time (`%n`).
pub fn said(postgres: &str, words: &str, from: Wall) -> Option<Wall> {
    let lines = postgres.lines().filter(|line| line.contains(words));
    lines.filter_map(|line| line.split(' ').next()?.parse::<Wall>().ok()).find(|time| *time >= from)
}

/// What a server says when it begins to stop, and when it has.
pub const STOPS: &str = "received fast shutdown request";
/// Nothing is left to be done then.
pub const STOPPED: &str = "database system is shut down";
/// What a replica says when it is to take over.
pub const PROMOTED: &str = "received promote request";

#[cfg(test)]
mod tests {
    use super::*;

    const HAPROXY: &str = "[WARNING]  (7) : Server writes/db-1 enters drain state. 0 active\n\
        2026-01-27T07:21:16.500000+00:00 Server writes/db-1 enters drain state. 0 active and 0 backup servers left.\n\
        2026-01-27T07:21:17.250000+00:00 Server reads/db-1 enters drain state. 0 active and 0 backup servers left.\n\
        2026-01-27T07:30:00.000000+00:00 Server writes/db-1 enters drain state. 0 active and 0 backup servers left.\n";

    #[test]
    fn a_balancer_tells_when_it_drains() {
        let first = drained(HAPROXY, "writes", "db-1", 0.0).expect("there");
        assert!((first - 1_769_498_476.5).abs() < 0.001, "{first}");
        assert_eq!(drained(HAPROXY, "writes", "db-1", first + 1.0), Some(1_769_499_000.0));
        assert_eq!(drained(HAPROXY, "reads", "db-2", 0.0), None);
    }

    #[test]
    fn a_server_tells_when_it_stops() {
        let log = "1769498476.500 [12] LOG:  received fast shutdown request\n1769498476.750 [12] LOG:  database system is shut down\n";
        assert_eq!(said(log, STOPS, 0.0), Some(1_769_498_476.5));
        assert_eq!(said(log, STOPPED, 1_769_498_476.6), Some(1_769_498_476.75));
        assert_eq!(said(log, STOPS, 1_769_498_476.6), None);
    }
}
