//! Measures mysql-flusher against a private MariaDB behind a relay: from the call to the first byte of its first statement.

use clap::Parser;
use cloudsnooze_plugin::testing::TestInstance;
use first_byte::relay::Relay;
use first_byte::samples::Row;
use first_byte::watch::Watch;
use first_byte::{Options, measure, print};
use harness::mariadb::MariaDb;
use mysql_flusher::MysqlFlusher;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};

/// The work's first statement bounds waits for locks; logging in sends no such text.
const WORK: &[u8] = b"SET SESSION lock_wait_timeout";

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let directory = tempfile::tempdir()?;
    let server = MariaDb::start(directory.path()).map_err(anyhow::Error::msg)?;
    server.create_user("bench", "bench", "bench").map_err(anyhow::Error::msg)?;
    server.grant_flushing("bench").map_err(anyhow::Error::msg)?;
    let relay = Relay::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())), Watch::new(WORK))?;
    let config = json!({
        "connection_string": format!("bench:bench@tcp({})/", relay.address),
        "flush_dirty_pages": false, "dump_buffer_pool": false,
    });
    let plugin = TestInstance::<MysqlFlusher>::new(&config).map_err(anyhow::Error::msg)?;
    let (kept, fresh) = measure(&plugin, &relay.watch, || relay.cut(), options.rounds)?;
    print(&[Row::new("mysql-flusher", "TCP", &kept, &fresh)], &options)
}
