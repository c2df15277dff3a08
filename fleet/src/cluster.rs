//! The servers of a group, as a configuration of nats-server.
//!
//! Responsibilities: what the group needs of its servers, and which member may write what. Inputs: addresses, names, public keys.
//! Outputs: text. Pure. It must never hold a secret: a member's seed stays with the member.

use std::path::PathBuf;

use crate::settings::{name_problem, word_problem};
use crate::wire::{Names, to_token};

/// The port of clients, and that of the servers among each other, as nats-server has them by default.
const CLIENTS: u16 = 4222;
const ROUTES: u16 = 6222;

/// A member that the servers know by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name in the group.
    pub member: String,
    /// Its public NKey, which begins with `U`.
    pub nkey: String,
    /// What it may do.
    pub part: Part,
}

/// What one who connects may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A member that may lead.
    Leader,
    /// A member that may not.
    Follower,
    /// No member: it reads what the group keeps.
    Collector,
}

/// The servers of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The group.
    pub group: String,
    /// Host names or addresses of the servers, without ports.
    pub servers: Vec<String>,
    /// Directory for what they keep.
    pub store: PathBuf,
    /// Who may connect; empty: everybody who reaches the port.
    pub members: Vec<Known>,
    /// Certificate and key of each server (`tls`): everybody has to speak TLS then.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Cluster {
    /// What is wrong, in sentences; empty when all is well.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut found: Vec<String> = word_problem("group", &self.group).into_iter().collect();
        if self.servers.len().is_multiple_of(2) {
            found.push(format!(
                "{} servers: an odd number is needed, so that one half outvotes the other",
                self.servers.len()
            ));
        }
        let is_host =
            |host: &String| !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
        found.extend(
            self.servers
                .iter()
                .filter(|host| !is_host(host))
                .map(|host| format!("`{}` is no host name or IPv4 address without a port", host.escape_debug())),
        );
        for known in &self.members {
            found.extend(name_problem(&known.member));
            let is_key = known.nkey.len() == 56
                && known.nkey.starts_with('U')
                && known.nkey.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
            if !is_key {
                found.push(format!(
                    "the key of `{}` is no public NKey of a user, which has 56 letters and digits and begins with U",
                    known.member.escape_debug()
                ));
            }
        }
        found
    }

    /// The configuration of one of the servers, counted from 0.
    #[must_use]
    pub fn configuration(&self, number: usize) -> String {
        let host = self.servers.get(number).map_or("0.0.0.0", String::as_str);
        let mut text = format!(
            "server_name: \"n{}\"\nlisten: \"{host}:{CLIENTS}\"\n\
             # By default a server that is cut off holds up the others' writes for ten seconds.\nwrite_deadline: \"2s\"\n\
             # By default what was acknowledged may lie in memory for two minutes.\n\
             jetstream {{ store_dir: {:?}, sync_interval: always }}\n",
            number + 1,
            self.store,
        );
        if self.servers.len() > 1 {
            let routes: Vec<String> = self.servers.iter().map(|host| format!("\"nats://{host}:{ROUTES}\"")).collect();
            text += &format!(
                "cluster {{\n  name: \"{}\"\n  listen: \"{host}:{ROUTES}\"\n  ping_interval: \"2s\"\n  ping_max: 2\n  routes: [{}]\n}}\n",
                self.group,
                routes.join(", ")
            );
        }
        if let Some((certificate, key)) = &self.tls {
            text += &format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}\n");
        }
        text + &self.rights()
    }

    /// Who may write and hear what; nothing where everybody may connect.
    #[must_use]
    pub fn rights(&self) -> String {
        if self.members.is_empty() {
            return String::new();
        }
        let users: String = self.members.iter().map(|known| self.user(known)).collect();
        format!("authorization {{ users: [\n{users}] }}\n")
    }

    fn user(&self, known: &Known) -> String {
        let (publish, subscribe) =
            if known.part == Part::Collector { self.collector_rights() } else { self.member_rights(known) };
        let list = |subjects: &[String]| subjects.iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
        format!(
            "  # {}\n  {{ nkey: \"{}\", permissions: {{ publish: [{}], subscribe: [{}] }} }}\n",
            known.member.escape_debug(),
            known.nkey,
            list(&publish),
            list(&subscribe)
        )
    }

    /// What a reader of the stream may write and hear: it changes nothing but how far it has read.
    fn collector_rights(&self) -> (Vec<String>, Vec<String>) {
        let stream = Names::new(&self.group, "").events_stream();
        let api = |what: &str| format!("$JS.API.{what}");
        let publish = vec![
            api("INFO"),
            api(&format!("STREAM.INFO.{stream}")),
            api(&format!("CONSUMER.INFO.{stream}.*")),
            api(&format!("CONSUMER.CREATE.{stream}.>")),
            api(&format!("CONSUMER.MSG.NEXT.{stream}.*")),
            format!("$JS.ACK.{stream}.>"),
        ];
        (publish, vec!["_INBOX.>".to_owned()])
    }

    fn member_rights(&self, known: &Known) -> (Vec<String>, Vec<String>) {
        let names = Names::new(&self.group, &known.member);
        let own = to_token(&known.member);
        let streams: Vec<String> = ["lead", "plan", "ack", "members"]
            .iter()
            .map(|kind| format!("KV_{}", names.bucket(kind)))
            .chain([names.events_stream()])
            .collect();
        let mut publish = vec![
            format!("cs.v1.{}.ev.*.{own}", self.group),
            format!("cs.v1.{}.kept.*.{own}", self.group),
            format!("$KV.{}.*.*.{own}", names.bucket("ack")),
            format!("$KV.{}.{own}", names.bucket("members")),
        ];
        publish.push("$JS.API.INFO".to_owned());
        for stream in &streams {
            publish.push(format!("$JS.API.STREAM.INFO.{stream}"));
            publish.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
            publish.push(format!("$JS.API.DIRECT.GET.{stream}"));
            publish.push(format!("$JS.API.DIRECT.GET.{stream}.>"));
        }
        let mut subscribe = vec![names.all_events(), names.to_all("*"), "_INBOX.>".to_owned()];
        if known.part == Part::Leader {
            publish.push(format!("$KV.{}.lead", names.bucket("lead")));
            publish.push(format!("$KV.{}.plan", names.bucket("plan")));
            publish.push(names.to_all("news"));
            subscribe.push(names.lease());
            publish.extend(streams.iter().map(|stream| format!("$JS.API.STREAM.CREATE.{stream}")));
            subscribe.push(format!("{}.>", names.acks()));
            subscribe.push(format!("$KV.{}.*", names.bucket("members")));
        }
        (publish, subscribe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> Cluster {
        let nkey = format!("U{}", "A".repeat(55));
        let known = |member: &str, part| Known { member: member.to_owned(), nkey: nkey.clone(), part };
        Cluster {
            group: "db".to_owned(),
            servers: ["10.0.0.5", "10.0.0.6", "nats-3.example"].map(str::to_owned).to_vec(),
            store: "/var/lib/nats".into(),
            members: vec![known("i-1", Part::Leader), known("lb.1", Part::Follower), known("history", Part::Collector)],
            tls: None,
        }
    }

    #[test]
    fn a_follower_may_write_only_what_is_its_own() {
        let text = cluster().configuration(2);
        assert!(text.contains("listen: \"nats-3.example:4222\"") && text.contains("sync_interval: always"), "{text}");
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("nkey")).collect();
        assert!(lines[0].contains("$KV.cs_lead_db.lead") && lines[0].contains("cs.v1.db.ev.*.i-1"), "{text}");
        assert!(!lines[1].contains("cs_lead_db.lead") && !lines[1].contains("STREAM.CREATE"), "{text}");
        assert!(lines[1].contains("cs.v1.db.ev.*.lb=2E1"), "{text}");
        assert!(lines[2].contains("$JS.ACK.cs_ev_db.>") && !lines[2].contains("$KV."), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said_and_nothing_of_it_can_leave_its_place_in_the_text() {
        assert_eq!(cluster().problems(), Vec::<String>::new());
        let mut bad = cluster();
        bad.group = "a\"b".to_owned();
        bad.servers = vec!["a b".to_owned(), "h\"x".to_owned()];
        bad.members[0].nkey = "SUA".to_owned();
        bad.members[1].member = "x\n".to_owned();
        let found = bad.problems().join("\n");
        for part in ["`group`", "2 servers", "`a b`", "public NKey", "`member`"] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}
