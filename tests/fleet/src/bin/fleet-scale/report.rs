//! The tables.
//!
//! Inputs: what was found. Outputs: text. It must never round a number to nothing.

use cloudsnooze_fleet::traffic::Call;
use comfy_table::{Table, presets};

use crate::Found;
use crate::limits::{Kind, Limit};
use crate::measure::Measured;
use crate::simulate::{Occasion, Simulated};

/// Prints all of it.
pub fn print(found: &Found) {
    let (beat, lease) = (found.heartbeat_seconds, found.lease_seconds);
    println!(
        "A group at rest, each second (simulated; heartbeat {beat} s, lease {lease} s)\n{}\n",
        rest(&found.simulated)
    );
    println!("More than that, once (simulated)\n{}\n", occasions(&found.simulated));
    if !found.growth.is_empty() {
        println!("Growth with the size of the group (fitted): to the power of\n{}\n", growth(found));
    }
    if let Some(measured) = &found.measured {
        println!("{}", servers(measured));
    }
    println!("{} instances\n{}\n", amount(found.instances as f64), fleet(found));
    println!("Clusters of three servers that keep below each limit\n{}", needs(found));
}

fn table(head: Vec<String>, rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    table.add_rows(rows);
    table
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// With three digits at least.
fn amount(value: f64) -> String {
    let (small, large) = (value.abs() < 100.0, value.abs() >= 1e6);
    let unit = [(1e12, "T"), (1e9, "G"), (1e6, "M")].into_iter().find(|(unit, _)| large && value.abs() >= *unit);
    match unit {
        Some((unit, letter)) => format!("{:.2}{letter}", value / unit),
        None if value.is_nan() => "-".to_owned(),
        None if value == 0.0 => "0".to_owned(),
        None if value.abs() < 0.01 => format!("{value:.2e}"),
        None if small && value.fract() != 0.0 => format!("{value:.2}"),
        None => format!("{value:.0}"),
    }
}

fn rest(simulated: &[Simulated]) -> Table {
    let head = [
        "members",
        "seconds",
        "messages",
        "of a member",
        "bytes",
        "disk writes",
        "memory writes",
        "reads",
        "management",
    ];
    let rows = simulated.iter().map(|of| {
        let all = of.per_second(|_| true);
        let reads = |call| matches!(call, Call::ReadLease | Call::ReadPlan | Call::ReadMembers | Call::Missed);
        let numbers = [
            of.rest.seconds,
            all.messages,
            all.messages / of.size as f64,
            all.bytes,
            of.per_second(Call::is_on_disk).asked,
            of.per_second(Call::is_in_memory).asked,
            of.per_second(reads).asked,
            of.per_second(Call::is_management).asked,
        ];
        std::iter::once(of.size.to_string()).chain(numbers.map(amount)).collect()
    });
    table(words(&head), rows)
}

fn occasions(simulated: &[Simulated]) -> Table {
    let head = [
        "members",
        "what",
        "messages",
        "bytes",
        "disk writes",
        "management",
        "busiest s: messages",
        "bytes",
        "plans",
        "longest",
        "over after s",
        "alone",
    ];
    let row = |size: usize, what: String, of: &Occasion| {
        vec![
            size.to_string(),
            what,
            amount(of.messages),
            amount(of.bytes),
            amount(of.disk_writes),
            amount(of.management),
            amount(of.busiest_messages as f64),
            amount(of.busiest_bytes as f64),
            of.plan_writes.to_string(),
            of.plan_bytes.to_string(),
            of.seconds.map_or(String::new(), |seconds| format!("{seconds:.1}")),
            of.alone.to_string(),
        ]
    };
    let rows = simulated.iter().flat_map(|of| {
        let zone = of.zone.as_ref().map(|zone| row(of.size, format!("a zone of {} goes", of.zone_size), zone));
        zone.into_iter().chain([
            row(of.size, "one goes".to_owned(), &of.interruption),
            row(of.size, "the leader is lost".to_owned(), &of.leader_lost),
            row(of.size, "all reconnect".to_owned(), &of.reconnect),
        ])
    });
    table(words(&head), rows)
}

fn growth(found: &Found) -> Table {
    let rows = found.growth.iter().map(|growth| vec![growth.what.clone(), format!("{:.2}", growth.power)]);
    table(words(&["", "power"]), rows)
}

fn servers(measured: &Measured) -> String {
    let Measured { server, machine_cores, bare, fit, .. } = measured;
    let head = [
        "groups of",
        "groups",
        "members",
        "processors",
        "memory kB",
        "messages/s",
        "simulated",
        "bytes/s",
        "written/s",
        "streams",
    ];
    let rows = measured.members.iter().map(|of| {
        let numbers = [
            of.groups as f64,
            of.members as f64,
            of.cores,
            of.memory_kb,
            of.messages_per_second,
            of.simulated_messages_per_second.unwrap_or(f64::NAN),
            of.bytes_per_second,
            of.written_bytes_per_second,
            of.ha_assets_per_server,
        ];
        std::iter::once(of.group_size.to_string()).chain(numbers.map(amount)).collect()
    });
    let members = table(words(&head), rows);
    let head = ["servers", "streams", "writes at once, each", "writes/s", "mean ms"];
    let rows = measured.writes.iter().map(|rate| {
        let numbers = [rate.streams as f64, rate.in_flight as f64, rate.per_second, rate.mean_ms];
        std::iter::once(rate.servers.to_string()).chain(numbers.map(amount)).collect()
    });
    let writes = table(words(&head), rows);
    format!(
        "Three servers {server} on this machine of {machine_cores} processors (measured)\n\
         {} connections that do nothing: {} kB each, {} processors for a thousand; without any {} processors\n\n{members}\n\n\
         fitted: a member {} processors, {} kB; a group {} processors, {} kB, {} bytes written each second\n\n{writes}\n\
         the disk itself: {} times a second\n",
        bare.connections,
        amount(bare.memory_kb_each),
        amount(bare.cores_per_thousand),
        amount(measured.idle_cores),
        amount(fit.cores_per_member),
        amount(fit.memory_kb_per_member),
        amount(fit.cores_per_group),
        amount(fit.memory_kb_per_group),
        amount(fit.written_per_group),
        amount(measured.disk_syncs_per_second),
    )
}

fn fleet(found: &Found) -> Table {
    let head = std::iter::once("groups of".to_owned())
        .chain(found.extrapolated.iter().map(|of| of.group_size.to_string()))
        .chain([String::from("from")]);
    let numbers = found.extrapolated.first().map(|of| of.numbers.as_slice()).unwrap_or_default();
    let rows = numbers.iter().enumerate().map(|(at, number)| {
        let values = found.extrapolated.iter().filter_map(|of| of.numbers.get(at)).map(|number| amount(number.value));
        let origin = number.origin.word().to_owned();
        std::iter::once(number.what.to_owned()).chain(values).chain([origin]).collect::<Vec<String>>()
    });
    table(head.collect(), rows)
}

fn needs(found: &Found) -> Table {
    let head = std::iter::once("groups of".to_owned())
        .chain(found.extrapolated.iter().map(|of| of.group_size.to_string()))
        .chain(words(&["limit", "from"]));
    let need = |limit: &Limit| {
        let cells = found.extrapolated.iter().map(|of| {
            let need = of.needs.iter().find(|need| need.kind == limit.kind).map(|need| amount(need.cells));
            let is_first = of.first == Some(limit.kind);
            need.map_or_else(
                || format!("{} %", amount(of.plan_of_payload * 100.0)),
                |cells| if is_first { format!("{cells} (first)") } else { cells },
            )
        });
        let what = if limit.kind == Kind::Payload { "plan of a zone" } else { limit.what };
        std::iter::once(what.to_owned())
            .chain(cells)
            .chain([amount(limit.value), limit.origin.word().to_owned()])
            .collect::<Vec<String>>()
    };
    table(head.collect(), found.limits.iter().map(need))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short_and_never_nothing() {
        let all =
            [(0.0, "0"), (0.000_123, "1.23e-4"), (0.5, "0.50"), (12.0, "12"), (65_536.0, "65536"), (2.5e9, "2.50G")];
        for (value, text) in all {
            assert_eq!(amount(value), text);
        }
    }
}
