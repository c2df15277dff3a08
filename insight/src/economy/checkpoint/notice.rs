//! Whether the time of a notice is enough to save in.
//!
//! Responsibilities: one decision. Inputs: measured save times, the time of the notice. Outputs: what to do and why. Must never
//! rely on a notice whose time the save has not been seen to fit.

use serde::Serialize;

/// A save is taken to last so much longer at a notice than it was measured: disks and networks are busy then.
pub const MARGIN: f64 = 1.3;
/// What is set aside of a notice for seeing it and for the end of the work, seconds.
pub const SET_ASIDE_S: f64 = 5.0;

/// When to save.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Saving {
    /// At the notice: it is enough, and saves nothing for nothing.
    AtNotice,
    /// On the clock: a notice is too short.
    OnTheClock,
    /// Both: nobody has measured, or it is close.
    Both,
}

/// What was decided, in numbers and words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// When to save.
    pub saving: Saving,
    /// What a save is taken to need at a notice, seconds.
    pub needed_s: f64,
    /// What there is, seconds.
    pub usable_s: f64,
    /// Why.
    pub reason: String,
}

/// Decides. `measured_s`: how long saves took, seconds; the longest counts. `notice_s`: how long before its end a machine is told.
#[must_use]
pub fn decide(measured_s: &[f64], notice_s: f64) -> Decision {
    let longest_s = measured_s.iter().copied().filter(|s| s.is_finite() && *s >= 0.0).fold(0.0, f64::max);
    let usable_s = (notice_s - SET_ASIDE_S).max(0.0);
    let needed_s = longest_s * MARGIN;
    let (saving, reason) = if measured_s.is_empty() {
        (Saving::Both, "no save was measured: save on the clock, and at a notice too".to_owned())
    } else if needed_s < usable_s && measured_s.len() < 3 {
        let reason =
            format!("{longest_s:.0} s fit into {notice_s:.0} s of notice, but only {} was measured", measured_s.len());
        (Saving::Both, reason)
    } else if needed_s < usable_s {
        let reason = format!(
            "the longest of {} saves took {longest_s:.0} s, {needed_s:.0} s with a margin of {MARGIN}: that fits into \
             {notice_s:.0} s of notice",
            measured_s.len()
        );
        (Saving::AtNotice, reason)
    } else {
        let reason = format!(
            "a save needs {needed_s:.0} s ({longest_s:.0} s measured, margin {MARGIN}), and {notice_s:.0} s of notice leave {usable_s:.0} s"
        );
        (Saving::OnTheClock, reason)
    };
    Decision { saving, needed_s, usable_s, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_relied_on_only_where_measured_saves_fit_into_it() {
        let saving = |measured: &[f64], notice_s| decide(measured, notice_s).saving;
        assert_eq!(saving(&[20.0, 18.0, 19.0], 120.0), Saving::AtNotice);
        assert_eq!(saving(&[20.0, 18.0, 19.0], 30.0), Saving::OnTheClock);
        assert_eq!(saving(&[19.0, 19.0, 19.0], 30.0), Saving::AtNotice);
        assert_eq!(saving(&[100.0; 3], 120.0), Saving::OnTheClock);
        assert_eq!(saving(&[88.0; 3], 120.0), Saving::AtNotice);
        assert_eq!(saving(&[], 120.0), Saving::Both);
        assert_eq!(saving(&[5.0], 120.0), Saving::Both);
        assert_eq!(saving(&[f64::NAN; 3], 0.0), Saving::OnTheClock);
        assert!(decide(&[20.0; 3], 30.0).reason.contains("26 s"));
    }
}
