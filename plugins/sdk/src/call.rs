//! One delivery: how much time is left, whether it was cancelled, and what goes into the report.
//! Inputs: the host's call. Outputs: times, flags, texts for the report. Must never outlive the call.
#![allow(unsafe_code)]

use crate::host::{Host, service};
use crate::raw::lend;
use cloudsnooze_abi as abi;
use std::fmt::Write;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Why a call was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The daemon is shutting down or the instance is being replaced.
    Shutdown,
    /// The granted time is over.
    Deadline,
    /// A more severe event needs the instance.
    Superseded,
    /// The notice was withdrawn.
    Withdrawn,
}

impl Cancel {
    pub(crate) fn from_raw(reason: u32) -> Option<Self> {
        match reason {
            abi::SNOOZE_CANCEL_NONE => None,
            abi::SNOOZE_CANCEL_DEADLINE => Some(Self::Deadline),
            abi::SNOOZE_CANCEL_SUPERSEDED => Some(Self::Superseded),
            abi::SNOOZE_CANCEL_WITHDRAWN => Some(Self::Withdrawn),
            _ => Some(Self::Shutdown),
        }
    }
}

/// One delivery of an event to this instance. Lives until `on_event` returns.
pub struct Call<'a> {
    host: Host,
    raw: *const abi::snooze_call,
    life: PhantomData<&'a ()>,
}

impl Call<'_> {
    /// # Safety
    /// `raw` is a live call of `host` for the life of the value.
    pub(crate) unsafe fn new(host: Host, raw: *const abi::snooze_call) -> Self {
        Self { host, raw, life: PhantomData }
    }

    fn head(&self) -> &abi::snooze_call {
        // SAFETY: promised at construction.
        unsafe { &*self.raw }
    }

    /// Time left of what was granted to this call; zero when it is over.
    pub fn left(&self) -> Duration {
        let Some(left) = service!(self.host.table, left_ns) else { return Duration::ZERO };
        // SAFETY: host and call are live.
        let ns = unsafe { left(self.host.table, self.raw) };
        Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
    }

    /// Whether and why the call was cancelled: one atomic load.
    pub fn cancelled(&self) -> Option<Cancel> {
        // SAFETY: the host promises a valid pointer to an aligned word that lives as long as the call.
        let flag = unsafe { AtomicU32::from_ptr(self.head().cancelled.cast_mut()) };
        Cancel::from_raw(flag.load(Ordering::Acquire))
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.head().attempt
    }

    /// The same for every attempt of this delivery, also after a crash of the daemon: 32 hexadecimal
    /// digits.
    pub fn idempotency_key(&self) -> String {
        self.head().idempotency_key.iter().fold(String::with_capacity(32), |mut key, byte| {
            let _ = write!(key, "{byte:02x}");
            key
        })
    }

    /// Says how far the work is, 0 to 1000, with a short text.
    pub fn progress(&self, permille: u32, text: &str) {
        if let Some(progress) = service!(self.host.table, progress) {
            // SAFETY: host, call and text are live until the function returns.
            unsafe { progress(self.host.table, self.raw, permille, lend(text)) };
        }
    }

    pub(crate) fn set_result(&self, value: &serde_json::Value) {
        if let (Some(set), false) = (service!(self.host.table, set_result), value.is_null()) {
            let text = value.to_string();
            // SAFETY: host, call and text are live until the function returns.
            unsafe { set(self.host.table, self.raw, lend(&text)) };
        }
    }
}
