//! Lives of machines: the set of Google Preemptible VMs of 2019, and any file of the same columns.
//!
//! Inputs: a CSV text. Outputs: lives, and how many rows were not about machines that can be taken back. The set (JCS
//! Kadupitiya, V. Jadhao, P. Sharma, "Modeling The Temporally Constrained Preemptions of Transient Cloud VMs",
//! HPDC'20; github.com/kadupitiya/goog-preemption-data) has traps, and each is taken care of here or said:
//!
//! - Half of its rows are machines that their user stopped: those would have lived longer (right-censored), and the
//!   paper left them out. Here they are [`Outcome::Stopped`].
//! - Its own hour and weekday are those of the end, in another time zone. Only the start in UTC is read.
//! - Some rows are of machines that are not preemptible. They are counted and left out.
//! - Machines were started in batches and often ended together: [`Life::batch`] says which.

use super::{BadData, Row, Rows};
use crate::{Life, Outcome, Pool};

/// The columns that are needed; all others are passed over.
const COLUMNS: [&str; 6] = ["zone", "machine_type", "launch_utc", "lifetime_s", "event", "batch"];

/// What a file of lives holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Lives {
    /// One for each machine that the provider may take back, in the order of the file.
    pub lives: Vec<Life>,
    /// Rows of other machines (`preemptible` is 0).
    pub left_out: usize,
}

/// Reads lives from CSV with the columns zone, `machine_type`, `launch_utc` (RFC 3339), `lifetime_s`, event (1: the
/// provider took it back, 0: somebody stopped it), batch (a number, or empty) and, where some rows are of machines
/// that nobody takes back, preemptible (0 or 1).
///
/// # Errors
/// The first thing that is not as it should be, with its line.
pub fn read(text: &str) -> Result<Lives, BadData> {
    let rows = Rows::open(text, &COLUMNS)?;
    let mut found = Lives { lives: Vec::new(), left_out: 0 };
    rows.each(|row| {
        if row.columns.contains_key("preemptible") && !row.yes_or_no("preemptible")? {
            found.left_out += 1;
        } else {
            found.lives.push(life(&row)?);
        }
        Ok(())
    })?;
    Ok(found)
}

fn life(row: &Row<'_>) -> Result<Life, BadData> {
    let zone = row.some("zone")?;
    let launched: jiff::Timestamp = row
        .some("launch_utc")?
        .parse()
        .map_err(|_| row.wrong("launch_utc", "a moment like 2019-02-18T16:57:37.265Z (RFC 3339)"))?;
    let lived_s = row.number("lifetime_s")?;
    if lived_s < 0.0 {
        return Err(row.wrong("lifetime_s", "seconds that are not negative"));
    }
    let outcome = if row.yes_or_no("event")? { Outcome::Interrupted } else { Outcome::Stopped };
    let batch = if row.text("batch").is_empty() { None } else { Some(row.whole("batch")?) };
    let pool = pool_of(zone, row.some("machine_type")?);
    let launched_s = launched.as_duration().as_secs_f64();
    Ok(Life { pool, launched_s, lived_h: lived_s / 3600.0, outcome, batch })
}

/// The pool of a zone and a type, told by how each cloud names its zones: `us-central1-c` (GCP), `us-east-1a` (AWS).
/// Another form is taken for a zone that is its own region, of an unknown provider.
#[must_use]
pub fn pool_of(zone: &str, instance_type: &str) -> Pool {
    let (provider, region) = match zone.rsplit_once('-') {
        Some((region, letter)) if is_letter(letter) && region.ends_with(|c: char| c.is_ascii_digit()) => {
            ("gcp", region)
        }
        _ => match zone.char_indices().next_back() {
            Some((at, letter)) if letter.is_ascii_lowercase() && zone[..at].ends_with(|c: char| c.is_ascii_digit()) => {
                ("aws", &zone[..at])
            }
            _ => ("", zone),
        },
    };
    Pool {
        provider: provider.to_owned(),
        region: region.to_owned(),
        zone: zone.to_owned(),
        instance_type: instance_type.to_owned(),
    }
}

fn is_letter(text: &str) -> bool {
    text.len() == 1 && text.bytes().all(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "vm,zone,machine_type,preemptible,launch_utc,end_utc,lifetime_s,event,batch\n";

    fn place(rows: &str) -> String {
        read(&format!("{HEADER}{rows}")).unwrap_err().to_string()
    }

    #[test]
    fn a_stop_by_the_user_is_no_interruption_and_other_machines_are_left_out() {
        let text = format!(
            "{HEADER}0,us-central1-f,n1-standard-2,1,1970-01-02T00:00:00.500Z,x,5400,1,210\n\
             1,us-east1-b,n1-highcpu-8,1,1970-01-01T00:00:00Z,x,3600,0,\n\
             2,us-east1-b,n1-highcpu-8,0,1970-01-01T00:00:00Z,x,3600,0,1\n"
        );
        let found = read(&text).unwrap();
        assert_eq!((found.lives.len(), found.left_out), (2, 1));
        let first = &found.lives[0];
        assert_eq!((first.outcome, first.batch), (Outcome::Interrupted, Some(210)));
        assert!((first.lived_h - 1.5).abs() < 1e-12 && (first.launched_s - 86_400.5).abs() < 1e-9);
        assert_eq!((first.pool.provider.as_str(), first.pool.region.as_str()), ("gcp", "us-central1"));
        assert_eq!((found.lives[1].outcome, found.lives[1].batch), (Outcome::Stopped, None));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let good = "0,a-1-b,t,1,1970-01-02T00:00:00Z,x,1,1,1\n";
        assert_eq!(
            place(&format!("{good}1,a,t,1,1970-01-01T00:00:00Z,x,-3,1,1\n")),
            "line 3, column lifetime_s: expected seconds that are not negative, found `-3`"
        );
        assert!(place("1,a,t,1,1970-01-01T00:00:00Z,x,NaN,1,1\n").contains("a finite number, found `NaN`"));
        assert!(place("1,a,t,1,yesterday,x,3,1,1\n").contains("line 2, column launch_utc"));
        assert!(place("1,a,t,1,1970-01-01T00:00:00Z,x,3,maybe,1\n").contains("expected 0 or 1, found `maybe`"));
        assert!(place("1,a,t,1,1970-01-01T00:00:00Z,x,3,1,-1\n").contains("a whole number"));
        assert!(place("1,a,t\n").contains("line 2"));
        assert!(read("a,b\n1,2\n").unwrap_err().to_string().contains("expected a column zone"));
        assert!(read("").unwrap_err().to_string().contains("expected a column zone"));
    }

    #[test]
    fn pools_are_told_by_the_form_of_the_zone() {
        let of = |zone| {
            let pool = pool_of(zone, "t");
            (pool.provider, pool.region)
        };
        assert_eq!(of("us-central1-c"), ("gcp".to_owned(), "us-central1".to_owned()));
        assert_eq!(of("us-east-1a"), ("aws".to_owned(), "us-east-1".to_owned()));
        assert_eq!(of("eastus"), (String::new(), "eastus".to_owned()));
        assert_eq!(of(""), (String::new(), String::new()));
        assert_eq!(of("é"), (String::new(), "é".to_owned()));
    }
}
