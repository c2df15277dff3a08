//! The private database is a real one: it can be asked, written to, killed and restarted.

use std::time::Instant;

use harness::mariadb::{self, MariaDb};
use harness::require::missing_means_skip;
use harness::wait;
use harness::writer::{TABLE, Writer};

use crate::client::SOON;

/// True when there is no MariaDB, which has been told then.
fn skipped(test: &str) -> bool {
    mariadb::missing().is_some_and(|package| missing_means_skip(&format!("{test}: install {package}")))
}

#[test]
fn a_writer_is_refused_by_read_only_and_every_acknowledged_row_survives_a_kill() {
    if skipped("the database of the harness") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut server = MariaDb::start(directory.path()).expect("it starts");
    server.create_user("shop", "pass word", "shop").expect("a user");
    assert_eq!(server.query_as("shop", "pass word", "SELECT 1, 'a'; SELECT 2"), Ok("1\ta\n2\n".to_owned()));
    assert!(server.query_as("shop", "wrong", "SELECT 1").expect_err("refused").contains("1045"));
    assert!(server.query("SELECT nonsense").expect_err("refused").contains("1054"));

    let (sender, ends) = std::sync::mpsc::channel();
    let writer = Writer::start(&server, ("shop", "pass word", "shop"), move |reason| {
        sender.send(reason.to_owned()).expect("the test listens");
    });
    let writer = writer.expect("it writes");
    wait::until("rows", SOON, || (writer.acknowledged() >= 20).then_some(())).expect("rows are acknowledged");
    assert_eq!(writer.end(), None);
    assert!(server.dirty_pages().expect("a number") > 0);
    let lsn = server.lsn().expect("numbers");
    assert!(lsn.flushed <= lsn.current && lsn.checkpoint <= lsn.current && lsn.checkpoint > 0, "{lsn:?}");

    server.query("SET GLOBAL read_only=1").expect("set");
    let reason = ends.recv_timeout(SOON).expect("the writer ends");
    assert!(reason.contains("1290") && reason.contains("read-only"), "{reason}");
    let acknowledged = writer.acknowledged();
    drop(writer);

    let port = server.port();
    server.kill9();
    assert!(!server.is_running());
    assert!(server.query("SELECT 1").is_err());
    server.restart().expect("it recovers");
    assert_eq!(server.port(), port);
    let rows = server.query(&format!("SELECT COUNT(*) FROM shop.{TABLE}")).expect("counted");
    // One more may have been committed whose acknowledgement nobody read.
    let rows: u64 = rows.trim().parse().expect("a number");
    assert!(rows == acknowledged || rows == acknowledged + 1, "{rows} rows, {acknowledged} acknowledged");
    server.grant_flushing("shop").expect("granted");
    server.query_as("shop", "pass word", "SET GLOBAL read_only=0; FLUSH ENGINE LOGS").expect("allowed");
}

#[test]
fn a_writer_ends_when_dropped_even_when_the_server_never_answers() {
    if skipped("a writer on a stopped database") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let server = MariaDb::start_with(directory.path(), &["--innodb-flush-log-at-trx-commit=0"]).expect("it starts");
    assert_eq!(server.query("SELECT @@innodb_flush_log_at_trx_commit"), Ok("0\n".to_owned()));
    server.create_user("shop", "pass", "shop").expect("a user");
    let writer = Writer::start(&server, ("shop", "pass", "shop"), |reason| panic!("it was asked to end: {reason}"));
    let writer = writer.expect("it writes");
    wait::until("a row", SOON, || (writer.acknowledged() > 0).then_some(())).expect("a row is acknowledged");
    server.signal(harness::program::Signal::SIGSTOP).expect("stopped");
    let begun = Instant::now();
    drop(writer);
    assert!(begun.elapsed() < SOON);
}

#[test]
fn a_server_that_cannot_start_is_reported_with_the_end_of_its_log() {
    if skipped("a database that cannot start") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let error = MariaDb::start_with(directory.path(), &["--no-such-option"]).err().expect("it cannot");
    assert!(error.contains("no-such-option"), "{error}");
}
