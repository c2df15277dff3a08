//! The official plugins, with settings under which they load anywhere and find nobody.
//!
//! Inputs: none. Outputs: names and settings. Must never name anything that a call could change or end.

use serde_json::{Value, json};

/// A way to AWS that leads nowhere.
fn nobody_is_aws() -> Value {
    let credentials = json!({ "access_key_id": "a", "secret_access_key": "b" });
    json!({ "endpoint_url": "http://127.0.0.1:1", "region": "us-east-1", "credentials": credentials })
}

/// Every native official plugin, with settings under which nothing answers.
pub fn plugins() -> Vec<(&'static str, Value)> {
    // A port that nobody listens on: everything is refused at once.
    vec![
        ("mysql-flusher", json!({ "connection_string": "root@tcp(127.0.0.1:1)/" })),
        ("postgres-flusher", json!({ "connection_string": "host=127.0.0.1 port=1 user=u" })),
        ("redis-flusher", json!({ "connection_string": "redis://127.0.0.1:1" })),
        ("app-checkpointer", json!({ "app_endpoint": "http://127.0.0.1:1/checkpoint" })),
        ("slack-notifier", json!({ "webhook_url": "http://127.0.0.1:1/hook" })),
        ("notify-apps", json!({ "socket": "/nobody/listens/here" })),
        ("fleet-turn", json!({ "socket": "/nobody/listens/here" })),
        (
            "email-notifier",
            json!({
                "server": "127.0.0.1", "port": 1, "security": "none", "from": "a@example.com", "to": ["b@example.com"],
                "attempts": 1,
            }),
        ),
        ("webhook-notifier", json!({ "endpoints": [{ "url": "http://127.0.0.1:1/hook", "attempts": 1 }] })),
        ("signal-checkpointer", {
            let until = json!({ "file": { "path": "/nonexistent/*" } });
            let save = json!({ "signal": "USR1", "until": until });
            json!({ "targets": [{ "process": { "pid_file": "/nonexistent/pid" }, "save": save }] })
        }),
        ("sync-filesystems", json!({ "mount_points": ["/nonexistent"] })),
        ("fs-freeze", json!({ "mount_points": ["/nonexistent"] })),
        ("sqlite-flusher", json!({ "paths": ["/nonexistent/a.db"] })),
        ("vm-save", json!({ "vms": [{ "qmp": "/nobody/listens/here", "to": "/nonexistent/vm.state" }] })),
        ("container-stop", json!({ "socket": "/nobody/listens/here", "groups": [{ "all": true }] })),
        ("slurm-requeue", json!({ "node": "n1", "bin_directory": "/nonexistent" })),
        ("state-uploader", {
            // Something to upload, to a store that is not there.
            let options = json!({
                "aws_endpoint": "http://127.0.0.1:1", "aws_region": "us-east-1", "aws_access_key_id": "a",
                "aws_secret_access_key": "b",
            });
            json!({ "to": "s3://bucket/p", "sources": [{ "path": "/etc/hostname" }], "options": options })
        }),
        ("aws-lifecycle", json!({ "mode": "complete", "aws": nobody_is_aws() })),
        // A source; as a handler it declines everything.
        ("aws-queue", {
            json!({ "queue_url": "http://127.0.0.1:1/1/q", "instance_id": "i-0123456789abcdef0", "aws": nobody_is_aws() })
        }),
        ("aws-deregister", json!({ "ecs": { "cluster": "web" }, "aws": nobody_is_aws() })),
        // Writes back all that it is given.
        ("exec", json!({ "argv": ["cat"] })),
        // No unit of this name anywhere: where systemd can be asked, nothing is stopped.
        ("stop-units", json!({ "units": ["there-is-no-such-unit.service"], "kill_after_ms": 1 })),
        // Nothing that would end the machine the tests run on.
        ("finish", json!({ "action": "none", "fallback": "none" })),
        ("verify-state", {
            let file = json!({ "file": "/proc/self/status", "min_bytes": 0 });
            json!({ "checks": [{ "port_closed": "127.0.0.1:1" }, file, { "command": ["true"] }] })
        }),
    ]
}
