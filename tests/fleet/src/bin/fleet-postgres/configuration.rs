//! What an operator configures: the daemons beside the databases and beside the balancer, and their scripts.
//!
//! Inputs: addresses, roles, files. Outputs: JSON; the scripts, written into a directory. Pure but for the writing. It must never hold
//! anything that only a test would configure, except for places and ports.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// The account that the daemon and its scripts use, and its rights.
pub const RIGHTS: &str = "
CREATE ROLE snooze LOGIN PASSWORD 'secret';
GRANT pg_checkpoint, pg_monitor TO snooze;
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer), pg_reload_conf() TO snooze;
GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO snooze;
CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'secret';
CREATE ROLE balancer LOGIN;
CREATE ROLE app LOGIN PASSWORD 'secret';";

/// Lines of every database's configuration.
pub const SERVER: &str = "synchronous_standby_names = 'ANY 1 (\"db-1\", \"db-2\", \"db-3\")'
wal_retrieve_retry_interval = 500ms
wal_keep_size = 256MB
log_line_prefix = '%n [%p] '
log_checkpoints = off
";

/// Who may log in besides what PostgreSQL itself allows: the balancer's checks, which see nothing of any table.
pub const LOGINS: &str = "host postgres balancer 127.0.0.1/32 trust\n";

/// Programs and places that all machines share.
pub struct Places {
    scripts: PathBuf,
    /// The group's server.
    pub nats: String,
    /// PostgreSQL's programs.
    pub programs: PathBuf,
}

/// A database as its daemon has to know it.
pub struct Database<'a> {
    /// Name of its machine in the group.
    pub name: &'a str,
    /// What it is.
    pub role: &'static str,
    /// How to log in on its own machine.
    pub login: String,
    /// Its data directory.
    pub data: PathBuf,
    /// The other databases and their ports.
    pub peers: Vec<(&'static str, u16)>,
    /// Without it, its handlers wait for nobody: the control.
    pub waits: bool,
}

impl Places {
    /// Writes the scripts into this directory.
    pub fn new(directory: &Path, nats: String) -> Result<Self> {
        let scripts = directory.join("scripts");
        std::fs::create_dir_all(&scripts)?;
        let texts = [
            ("drain", include_str!("drain.sh")),
            ("ready", include_str!("ready.sh")),
            ("switchover", include_str!("switchover.sh")),
        ];
        for (name, text) in texts {
            std::fs::write(scripts.join(name), text)?;
        }
        let server = harness::postgres::find("pg_controldata").context("there is no pg_controldata")?;
        let programs = server.parent().context("pg_controldata lies in no directory")?.to_owned();
        Ok(Self { scripts, nats, programs })
    }

    fn script(&self, name: &str) -> Value {
        json!(["/bin/sh", self.scripts.join(name)])
    }

    fn group(&self, member: &str, role: &str, work_seconds: f64) -> Value {
        json!({
            "group": "db", "role": role, "member": member, "servers": [self.nats], "replicas": 1,
            "lease_seconds": 3, "heartbeat_seconds": 1, "work_seconds": work_seconds,
            "steps": [
                { "role": "lb", "timeout_seconds": 10, "reacts": true },
                { "role": "replica", "timeout_seconds": 10, "most_at_once": 1 },
                { "role": "primary", "timeout_seconds": 15 },
            ],
        })
    }

    /// The daemon beside a database: wait for the turn, make everything durable and stop, and, where it is the primary, hand over.
    pub fn database(&self, database: &Database<'_>) -> Value {
        let turn = json!({ "name": "fleet-turn", "priority": 100, "timeout_seconds": 14 });
        let stop = json!({
            "name": "postgres-flusher", "priority": 80, "timeout_seconds": 9,
            "config": { "connection_string": database.login, "shutdown": true },
        });
        let peers: Vec<String> = database.peers.iter().map(|(name, port)| format!("{name}=127.0.0.1:{port}")).collect();
        let hand_over = json!({
            "name": "exec", "id": "switchover", "priority": 60, "timeout_seconds": 6,
            "config": { "argv": self.script("switchover"), "env": {
                "DATA": database.data, "BIN": self.programs, "PEERS": peers.join(" "),
                "PGUSER": "snooze", "PGPASSWORD": "secret",
                "FOLLOW": "user=replicator password=secret",
            } },
        });
        let mut handlers = vec![stop];
        if database.waits {
            handlers.insert(0, turn);
        }
        if database.role == "primary" {
            handlers.push(hand_over);
        }
        json!({
            "fleet": self.group(database.name, database.role, 3.0),
            "sources": { "aws": { "polling_interval_seconds": 1 } },
            "event_handlers": { "cloud.spot.interrupt": { "plugins": handlers } },
        })
    }

    /// The daemon beside the balancer: drain who leaves; as soon as it is gone, leave it to the checks again.
    pub fn balancer(&self, socket: &Path) -> Value {
        let run = |script: &str, seconds: u32, more: Value| {
            let mut env = json!({ "SOCKET": socket });
            if let (Value::Object(env), Value::Object(more)) = (&mut env, more) {
                env.extend(more);
            }
            json!({ "plugins": [{
                "name": "exec", "id": script, "timeout_seconds": seconds,
                "config": { "argv": self.script(script), "env": env },
            }] })
        };
        json!({
            "fleet": self.group("lb-1", "lb", 2.0),
            "event_handlers": {
                "fleet.operation.step": run("drain", 8, json!({ "GRACE": "1.5" })),
                "fleet.member.joined": run("ready", 8, json!({})),
                "fleet.member.lost": run("ready", 8, json!({})),
                "fleet.member.gone": run("ready", 8, json!({})),
            },
        })
    }
}
