//! Lines and progress on their way from the process of an isolated plugin to the daemon.
//!
//! Inputs: text from any thread of the plugin. Outputs: the same in the daemon, in order. A bounded queue for several
//! writers and one reader (D. Vyukov's, with a number in each place). Must never block the writer: when the queue is full
//! the line is dropped and counted; nor believe the other side: what is read is a copy whose length is checked, and a
//! queue full of nonsense is read in bounded time.

use super::exchange::{Exchange, LINES};
use crate::log_ring::LINE_BYTES_MAX;
use std::sync::atomic::Ordering;

/// Places in the queue.
const PLACES: u64 = 256;
const PLACE_BYTES: usize = 512;
/// Longest text, bytes: a little more than a line of the log, which then knows that it was cut.
const TEXT_BYTES_MAX: usize = LINE_BYTES_MAX + 4;
const TAKEN: usize = LINES;
const GIVEN: usize = LINES + 64;
const DROPPED: usize = LINES + 128;
const FIRST: usize = LINES + 256;
/// Size of all of it.
pub(super) const BYTES: usize = 256 + PLACES as usize * PLACE_BYTES;

const NUMBER: usize = 0;
const CALL: usize = 8;
const WORD: usize = 16;
const LENGTH: usize = 20;
const TEXT: usize = 24;
const _: () = assert!(TEXT + TEXT_BYTES_MAX <= PLACE_BYTES);

/// The call's number of what belongs to no call: a line of the log.
const NO_CALL: u64 = u64::MAX;

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line of this level.
    Line(u32, String),
    /// How far this call is, permille, with a text.
    Progress(u64, u32, String),
}

fn place(number: u64) -> usize {
    FIRST + (number % PLACES) as usize * PLACE_BYTES
}

impl Exchange {
    /// Puts a line in; false when there is no room for it. The plugin's side, any thread.
    pub fn say_line(&self, level: u32, text: &str) -> bool {
        self.say(NO_CALL, level, text)
    }

    /// Puts progress in.
    pub fn say_progress(&self, call: u64, permille: u32, text: &str) -> bool {
        self.say(call, permille, text)
    }

    fn say(&self, call: u64, word: u32, text: &str) -> bool {
        let (given, memory) = (self.memory.long(GIVEN), &self.memory);
        let mut number = given.load(Ordering::Relaxed);
        loop {
            if number.wrapping_sub(memory.long(TAKEN).load(Ordering::Acquire)) >= PLACES {
                memory.long(DROPPED).fetch_add(1, Ordering::Relaxed);
                return false;
            }
            match given.compare_exchange_weak(number, number + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => number = other,
            }
        }
        let (at, end) = (place(number), text.floor_char_boundary(TEXT_BYTES_MAX));
        memory.write(at + CALL, &call.to_le_bytes());
        memory.write(at + WORD, &word.to_le_bytes());
        memory.write(at + LENGTH, &u32::try_from(end).unwrap_or(0).to_le_bytes());
        memory.write(at + TEXT, &text.as_bytes()[..end]);
        memory.long(at + NUMBER).store(number + 1, Ordering::Release);
        true
    }

    /// Takes what was said since `taken`, which only the daemon knows; at most what the queue holds. Gives also how much
    /// was dropped.
    pub fn hear(&self, taken: &mut u64, mut one: impl FnMut(Said)) -> u64 {
        for _ in 0..PLACES {
            let at = place(*taken);
            if self.memory.long(at + NUMBER).load(Ordering::Acquire) != *taken + 1 {
                break;
            }
            let mut copy = [0; PLACE_BYTES];
            self.memory.read(at, &mut copy);
            *taken += 1;
            self.memory.long(TAKEN).store(*taken, Ordering::Release);
            let call = u64::from_le_bytes(std::array::from_fn(|n| copy[CALL + n]));
            let word = u32::from_le_bytes(std::array::from_fn(|n| copy[WORD + n]));
            let length = u32::from_le_bytes(std::array::from_fn(|n| copy[LENGTH + n]));
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(TEXT_BYTES_MAX);
            let text = String::from_utf8_lossy(&copy[TEXT..TEXT + length]).into_owned();
            one(if call == NO_CALL { Said::Line(word, text) } else { Said::Progress(call, word, text) });
        }
        self.memory.long(DROPPED).swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(exchange: &Exchange, taken: &mut u64) -> (Vec<Said>, u64) {
        let mut said = Vec::new();
        let dropped = exchange.hear(taken, |one| said.push(one));
        (said, dropped)
    }

    #[test]
    fn what_is_said_is_heard_in_order_and_what_finds_no_room_is_counted() {
        let (exchange, mut taken) = (Exchange::new().expect("memory"), 0);
        assert!(exchange.say_line(3, "one") && exchange.say_progress(7, 500, "half"));
        let expected = vec![Said::Line(3, "one".into()), Said::Progress(7, 500, "half".into())];
        assert_eq!(heard(&exchange, &mut taken), (expected, 0));
        for n in 0..PLACES + 5 {
            assert_eq!(exchange.say_line(3, &n.to_string()), n < PLACES);
        }
        let (said, dropped) = heard(&exchange, &mut taken);
        assert_eq!((said.len() as u64, dropped), (PLACES, 5));
        assert_eq!((said.first(), heard(&exchange, &mut taken).0.len()), (Some(&Said::Line(3, "0".into())), 0));
        assert!(exchange.say_line(3, &"ü".repeat(1000)));
        let (said, _) = heard(&exchange, &mut taken);
        assert_eq!(said, [Said::Line(3, "ü".repeat(TEXT_BYTES_MAX / 2))]);
    }

    #[test]
    fn lines_of_several_threads_all_arrive() {
        let exchange = Exchange::new().expect("memory");
        let (mut taken, mut count, mut dropped) = (0, 0, 0);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).filter(|n| !exchange.say_line(1, &format!("line {n}"))).count()))
                .collect();
            while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                dropped += exchange.hear(&mut taken, |said| {
                    assert!(matches!(said, Said::Line(1, text) if text.starts_with("line ")));
                    count += 1;
                });
            }
            let refused: usize = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
            loop {
                let before = count;
                dropped += exchange.hear(&mut taken, |_| count += 1);
                if before == count {
                    break;
                }
            }
            assert_eq!((count + refused, dropped), (2000, refused as u64));
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_stands_in_the_queue_is_read_in_bounded_time(
            filler in any::<u8>(),
            writes in prop::collection::vec((0usize..BYTES - 8, any::<u64>()), 0..64),
            taken in prop_oneof![0u64..600, any::<u64>().prop_map(|n| n >> 1)],
        ) {
            let exchange = Exchange::new().expect("memory");
            exchange.memory.write(LINES, &vec![filler; BYTES]);
            for (at, word) in writes {
                exchange.memory.write(LINES + at, &word.to_le_bytes());
            }
            // The most hostile: every place looks filled.
            for number in taken..taken + PLACES {
                exchange.memory.long(place(number) + NUMBER).store(number + 1, Ordering::Relaxed);
            }
            let (mut taken, mut count) = (taken, 0);
            exchange.hear(&mut taken, |said| {
                count += 1;
                let (Said::Line(_, text) | Said::Progress(_, _, text)) = said;
                assert!(text.len() <= 3 * TEXT_BYTES_MAX, "each bad byte becomes three");
            });
            prop_assert_eq!(count, PLACES);
        }
    }
}
