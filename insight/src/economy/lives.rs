//! Lives with what was paid for them, from a table.
//!
//! Responsibilities: read. Inputs: a table with the columns `zone`, `instance_type` or `machine_type`, `lived_hours` or `lifetime_s`, and
//! `outcome` (`interrupted`, `stopped`, `running`) or `event` (1, 0); where known `provider`, `region`, `launched_utc` or `launch_utc`,
//! `batch`, `spot_usd_per_hour`, `on_demand_usd_per_hour`, and `preemptible` (rows with 0 are no spot machines and are left out). Outputs:
//! [`PaidLife`]s. Must never take a life without an end for one that was interrupted.

use super::columns::{self, Row};
use super::prices::region_of;
use crate::{Life, Outcome, Pool, Scarce};

/// A life, and its prices where they are known.
#[derive(Clone, Debug, PartialEq)]
pub struct PaidLife {
    /// The life.
    pub life: Life,
    /// What was paid, US dollars an hour.
    pub spot_usd_per_hour: Option<f64>,
    /// What the same costs on demand, US dollars an hour.
    pub on_demand_usd_per_hour: Option<f64>,
}

/// Reads a table of lives.
///
/// # Errors
/// A sentence with the line that is wrong.
pub fn read(name: &str, text: &str) -> Result<Vec<PaidLife>, Scarce> {
    let required: [&[&str]; 4] =
        [&["zone"], &["instance_type", "machine_type"], &["lived_hours", "lifetime_s"], &["outcome", "event"]];
    columns::rows(name, text, &required, |row| {
        if row.text(&["preemptible"]) == Some("0") { Ok(None) } else { one(row).map(Some) }
    })
}

fn one(row: Row<'_>) -> Result<PaidLife, String> {
    let word = |names: &[&str]| row.text(names).unwrap_or_default().to_owned();
    let zone = word(&["zone"]);
    let region = row.text(&["region"]).map_or_else(|| region_of(&zone), str::to_owned);
    let outcome = match row.text(&["outcome", "event"]) {
        Some("interrupted" | "1") => Outcome::Interrupted,
        Some("stopped" | "0") => Outcome::Stopped,
        Some("running") => Outcome::Running,
        other => {
            let found = other.unwrap_or_default();
            return Err(format!("outcome is '{found}': expected interrupted, stopped or running (event: 1 or 0)"));
        }
    };
    let lived_h = match row.text(&["lived_hours"]) {
        Some(_) => row.amount(&["lived_hours"])?,
        None => row.amount(&["lifetime_s"])? / 3600.0,
    };
    Ok(PaidLife {
        life: Life {
            pool: Pool {
                provider: word(&["provider"]),
                region,
                zone,
                instance_type: word(&["instance_type", "machine_type"]),
            },
            launched_s: row.moment(&["launched_utc", "launch_utc"])?.unwrap_or(0.0),
            lived_h,
            outcome,
            batch: row.text(&["batch"]).and_then(|batch| batch.parse().ok()),
        },
        spot_usd_per_hour: row.number(&["spot_usd_per_hour"])?.filter(|price| *price >= 0.0),
        on_demand_usd_per_hour: row.number(&["on_demand_usd_per_hour"])?.filter(|price| *price > 0.0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::economy::survival;

    const TABLE: &str = "zone,machine_type,preemptible,lifetime_s,event\n\
        us-east1-b,n1-highcpu-2,1,3600,1\nus-east1-b,n1-highcpu-2,1,7200,0\nus-east1-b,n1-highcpu-2,0,60,1\n";

    #[test]
    fn lives_are_read_in_the_public_form_and_in_ours() {
        let lives = read("l", TABLE).expect("lives");
        assert_eq!(lives.len(), 2, "what is no spot machine is left out");
        assert_eq!((lives[0].life.lived_h, lives[0].life.outcome), (1.0, Outcome::Interrupted));
        assert_eq!((lives[1].life.pool.region.as_str(), lives[1].life.outcome), ("us-east1", Outcome::Stopped));
        let ours =
            "zone,instance_type,lived_hours,outcome,spot_usd_per_hour,on_demand_usd_per_hour\na,b,2,running,0,\n";
        let [paid] = &read("o", ours).expect("lives")[..] else { panic!("one row") };
        assert_eq!((paid.life.lived_h, paid.spot_usd_per_hour, paid.on_demand_usd_per_hour), (2.0, Some(0.0), None));
        for bad in [TABLE.replace("3600,1", "3600,2"), TABLE.replace("7200", "-1"), TABLE.replace("event", "x")] {
            assert!(read("b", &bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn who_was_stopped_counts_as_having_lived_so_long() {
        let life = |lived_h: f64, is_interrupted: bool| Life {
            pool: Pool::default(),
            launched_s: 0.0,
            lived_h,
            outcome: if is_interrupted { Outcome::Interrupted } else { Outcome::Stopped },
            batch: None,
        };
        let mut lives: Vec<Life> = (1..=10).map(|hour| life(f64::from(hour), true)).collect();
        lives.extend((1..=10).map(|hour| life(f64::from(hour), false)));
        let curve = survival::curve(&lives).expect("a curve");
        // At each hour one dies of those that have reached it, then one is stopped.
        let by_hand = |hours: u32| (1..=hours).map(|hour| 1.0 - 1.0 / f64::from(2 * (11 - hour))).product::<f64>();
        assert_eq!(curve.len(), 10);
        assert!(
            curve.iter().enumerate().all(|(at, (_, part))| (part - by_hand(at as u32 + 1)).abs() < 1e-12),
            "{curve:?}"
        );
        let hazard = survival::hazard(&lives).expect("a hazard");
        assert!(hazard.iter().all(|(_, rate)| rate.is_finite() && *rate > 0.0), "{hazard:?}");
        assert_eq!(survival::events(&lives.iter().map(|life| life.until(3.5)).collect::<Vec<_>>()), 3);
        let said = survival::curve(&lives[..9]).expect_err("too few").0;
        assert!(said.contains("9 interruptions in 9 lives"), "{said}");
    }
}
