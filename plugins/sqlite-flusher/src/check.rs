//! Whether a database is sound.
//! Inputs: a connection, how long there is. Outputs: what `PRAGMA quick_check` says. Must never take what was interrupted for
//! sound.

use crate::attend::Clock;
use rusqlite::{Connection, ErrorCode};

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    Sound,
    /// What is wrong with it.
    Broken(String),
    /// It was not read to its end, and why.
    Unknown(String),
}

/// Reads it through, as far as there is time.
pub(crate) fn quick_check(opened: rusqlite::Result<Connection>, clock: &Clock) -> Soundness {
    let connection = match opened {
        Ok(connection) => connection,
        Err(error) => return judge(&error),
    };
    let _limited = clock.limit(&connection, clock.left());
    match connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0)) {
        Ok(said) if said == "ok" => Soundness::Sound,
        Ok(said) => Soundness::Broken(said),
        Err(error) => judge(&error),
    }
}

fn judge(error: &rusqlite::Error) -> Soundness {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Soundness::Broken(error.to_string()),
        _ => Soundness::Unknown(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn a_sound_database_a_broken_one_and_none_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let made = Connection::open(&path).unwrap();
        let fill = "CREATE TABLE t(n INTEGER PRIMARY KEY, x BLOB);
            WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 500) INSERT INTO t SELECT n, randomblob(500) FROM c";
        made.execute_batch(fill).unwrap();
        made.close().unwrap();
        let clock = Clock::new(Instant::now() + Duration::from_secs(60));
        assert_eq!(quick_check(crate::flush::open(&path), &clock), Soundness::Sound);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(quick_check(crate::flush::open(&path), &clock), Soundness::Broken(_)));
        std::fs::write(&path, "no database at all, but long enough".repeat(100)).unwrap();
        assert!(matches!(quick_check(crate::flush::open(&path), &clock), Soundness::Broken(_)));
        let none = crate::flush::open(&dir.path().join("none"));
        assert!(matches!(quick_check(none, &clock), Soundness::Unknown(_)));
    }
}
