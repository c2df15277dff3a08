//! What interruptions are worth in money, and what to do about it.
//!
//! Responsibilities: policies for a job with a deadline and their replay on traces ([`policy`], [`simulate`]), how often to save
//! ([`checkpoint`]), why a price cap is no bid ([`caps`]) and what a bid is where there are auctions ([`auction`]), which machines
//! to ask for ([`ranking`], [`diversify`]), what was saved so far ([`savings`]), and the readers of what these are worked out from
//! ([`trace`], [`prices`], [`advisor`], [`lives`]). Inputs: texts and values. Outputs: values, or [`crate::Scarce`]. Must never
//! read a clock or a file, give an amount that is no number, or advise without saying what the advice rests on.
//!
//! Amounts are US dollars, prices US dollars an hour, lengths hours.

pub mod advisor;
pub mod auction;
pub mod caps;
pub mod checkpoint;
pub mod columns;
pub mod diversify;
pub mod lives;
pub mod policy;
pub mod prices;
pub mod ranking;
pub mod ranks;
pub mod savings;
pub mod simulate;
pub mod survival;
pub mod trace;
