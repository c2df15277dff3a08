//! PostgreSQL behind a balancer, one round of each kind: a replica goes, the primary goes alone, the whole zone goes.
//! Inputs: the program `fleet-postgres`. It must never pass where nothing was played, unless the machine lacks something, which is said.

use std::process::Command;
use std::time::Duration;

use harness::program;

#[test]
fn replicas_a_primary_and_a_zone_go_in_order_and_nothing_acknowledged_is_lost() {
    let mut played = Command::new(env!("CARGO_BIN_EXE_fleet-postgres"));
    played.args(["--rounds", "3", "--early", "--seed", "1"]);
    let told = program::run(&mut played, Duration::from_secs(300)).expect("it ends");
    if told.code == Some(2) && told.stderr.contains("NOT RUN") {
        harness::require::missing_means_skip(told.stderr.trim());
        return;
    }
    assert_eq!(told.code, Some(0), "{}{}", told.stderr, told.stdout);
    for kind in ["replica", "primary", "zone"] {
        assert!(told.stderr.contains(&format!(": {kind:<7} ")), "{}", told.stderr);
    }
    assert!(told.stdout.contains("3 rounds"), "{}", told.stdout);
}
