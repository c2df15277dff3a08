//! What GCP's metadata server, or whoever plays it, can send.
//!
//! Promises: no deadline lies in the past or further ahead than the notice that Google documents; the same reading twice is
//! news once, also after a restart; what takes a notice back has the key of what told it.

use cloudsnooze::event::{Machine, Moment};
use cloudsnooze::normalise::deadline::SECOND_NS;
use cloudsnooze::normalise::gcp::{self, OnHostMaintenance, Upcoming};
use cloudsnooze::normalise::revise::{Absence, Reviser, Verdict};
use cloudsnooze::normalise::{Notice, NoticeKey, Reading};
use std::sync::Arc;

/// 2023-11-14, some minutes after the boot.
const NOW: Moment = Moment { boot_ns: 1_000 * SECOND_NS, wall_ns: 1_700_000_000 * SECOND_NS };
const SOURCE: &str = "gcp.compute";

/// Documents of GCP: the first byte says which, and for how long the server was out of sight; the rest is the body (for the
/// machine four, parted by zero bytes).
pub fn gcp(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    let machine = Arc::new(Machine { instance_id: "3520447112733571046".into(), ..Machine::default() });
    let reading = Reading { machine: &machine, now: NOW };
    let since = NOW.plus_ns(-i64::from(which / 6) * SECOND_NS);
    let notice = match which % 6 {
        0 => gcp::preempted(body, reading, since, 30 * SECOND_NS).ok().flatten(),
        1 => gcp::maintenance_event(body, reading, since).ok().flatten(),
        2 => planned(body, OnHostMaintenance::Migrate, reading),
        3 => planned(body, OnHostMaintenance::Terminate, reading),
        4 => planned(body, OnHostMaintenance::read(body), reading),
        _ => {
            assert!(!(gcp::is_nothing_yet(body) && planned(body, OnHostMaintenance::Unknown, reading).is_some()));
            let (id, rest) = crate::two_parts(body);
            let (name, rest) = crate::two_parts(rest);
            let (zone, machine_type) = crate::two_parts(rest);
            if let Ok(machine) = gcp::identity(id, name, zone, machine_type) {
                assert!(!machine.instance_id.is_empty() && machine.zone.starts_with(&machine.region));
            }
            None
        }
    };
    if let Some(notice) = notice {
        check(notice, &machine);
    }
}

fn planned(body: &[u8], policy: OnHostMaintenance, reading: Reading<'_>) -> Option<Notice> {
    match gcp::upcoming(body, policy, reading) {
        Ok(Upcoming::Planned(notice) | Upcoming::Ongoing(notice)) => Some(*notice),
        _ => None,
    }
}

fn check(notice: Notice, machine: &Arc<Machine>) {
    if let Some(effective) = notice.effective {
        assert!(effective.boot_ns >= NOW.boot_ns, "a deadline in the past: {notice:?}");
        let most_ns = notice.stated_wall_ns.map_or(gcp::TERMINATE_NOTICE_NS, |ns| ns - NOW.wall_ns);
        assert!(effective.boot_ns - NOW.boot_ns <= most_ns, "later than it is said: {notice:?}");
    }
    let mut reviser = Reviser::new(SOURCE);
    let Verdict::New(event) = reviser.observe(notice.clone(), machine, NOW) else { panic!("no news: {notice:?}") };
    crate::cloud::check_event(&event, NOW);
    assert!(matches!(reviser.observe(notice.clone(), machine, NOW), Verdict::Same), "read again: {notice:?}");
    let mut after = Reviser::new(SOURCE);
    after.seed(NoticeKey::of(&event), event.id, event.effective, false);
    let again = after.observe(notice.clone(), machine, NOW);
    // A plan whose window has opened is remembered without the time that it states, which is then told as it is read.
    assert!(!matches!(again, Verdict::New(_)), "after a restart: {again:?} of {notice:?}");
    let keys = gcp::planned_keys(machine).into_iter().chain(gcp::maintenance_keys(machine));
    let all = keys.chain([gcp::preempted_key(machine)]);
    let ends = all.filter(|key| matches!(after.absent(key, Absence::Withdrawn, machine, NOW), Verdict::Cancelled(_)));
    assert_eq!(ends.count(), 1, "not taken back once: {notice:?}");
}
