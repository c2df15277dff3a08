//! `snooze fleet server-config`: what the group's servers have to be told.
//!
//! Inputs: addresses, members with their public keys. Outputs: a configuration of nats-server. Needs no daemon. Must never ask for a
//! member's seed.

use crate::cli::fault::{Exit, Fault, Outcome};
use crate::cli::session::Session;
use cloudsnooze_fleet::{Cluster, Known, Part};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  snooze fleet server-config --group db --server n1 --server n2 --server n3 --number 1 > n1.conf
  snooze fleet server-config --group db --server 10.0.0.5 --member i-1=UCX7T2... > n1.conf

A member's key: nk -gen user > seed, then nk -inkey seed -pubout. Its daemon gets the file with the
seed (mode 0600) as fleet.nkey_file. Without --member and --follower everybody who reaches the port
may connect.";

/// Print the configuration of a server of the group, for nats-server.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The group.
    #[arg(long, value_name = "NAME")]
    group: String,

    /// Host name or IPv4 address of a server; an odd number of them.
    #[arg(long = "server", value_name = "HOST", required = true)]
    servers: Vec<String>,

    /// Which of the servers, counted from 1.
    #[arg(long, value_name = "N", default_value_t = 1)]
    number: usize,

    /// Directory for what the servers keep.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/nats")]
    store: PathBuf,

    /// A member that may lead, and its public NKey.
    #[arg(long = "member", value_name = "NAME=NKEY", value_parser = named_key)]
    members: Vec<(String, String)>,

    /// A member that may not lead, and its public NKey.
    #[arg(long = "follower", value_name = "NAME=NKEY", value_parser = named_key)]
    followers: Vec<(String, String)>,

    /// One who runs snooze fleet collect, by any name, and its public NKey.
    #[arg(long = "collector", value_name = "NAME=NKEY", value_parser = named_key)]
    collectors: Vec<(String, String)>,

    /// Certificate of the server, PEM; with --tls-key.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,

    /// Its key.
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
}

fn named_key(text: &str) -> Result<(String, String), String> {
    let (name, key) = text.rsplit_once('=').ok_or("expected NAME=NKEY, such as i-1=UCX7...")?;
    Ok((name.to_owned(), key.to_owned()))
}

/// Runs the command.
///
/// # Errors
/// What is asked for makes no sense.
pub(super) fn run(args: &Args, session: &mut Session<'_>) -> Outcome {
    let known = |part: Part| {
        move |(member, nkey): &(String, String)| Known { member: member.clone(), nkey: nkey.clone(), part }
    };
    let members = args.members.iter().map(known(Part::Leader));
    let members = members.chain(args.followers.iter().map(known(Part::Follower)));
    let members = members.chain(args.collectors.iter().map(known(Part::Collector)));
    let cluster = Cluster {
        group: args.group.clone(),
        servers: args.servers.clone(),
        store: args.store.clone(),
        members: members.collect(),
        tls: args.tls_certificate.clone().zip(args.tls_key.clone()),
    };
    let mut problems = cluster.problems();
    if !(1..=cluster.servers.len()).contains(&args.number) {
        problems.push(format!("--number {}: there are {} servers, counted from 1", args.number, cluster.servers.len()));
    }
    if !problems.is_empty() {
        return Err(Fault::Usage(problems.join("; ")));
    }
    let text = cluster.configuration(args.number - 1);
    if session.global.json {
        session.print_json(&json!({ "configuration": text }))?;
    } else {
        session.print(&text)?;
    }
    Ok(Exit::Ok)
}
