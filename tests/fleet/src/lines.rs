//! What a member's process is ordered, and what it says: a line of JSON each.
//!
//! Inputs and outputs: plain values. It must never hold logic. A line is shorter than a pipe takes in one piece (4096 bytes), because all
//! processes write to one pipe.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a process is ordered on its standard input. When that is closed, it ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "kebab-case")]
pub enum Order {
    /// Its machine is about to go.
    Leaving {
        /// The notice.
        event: Uuid,
        /// The time there is, milliseconds.
        left_ms: u64,
        /// How long the work takes that has to be done before, milliseconds.
        work_ms: u64,
    },
    /// To tell an event that means nothing to the group.
    Publish {
        /// Its identity.
        event: Uuid,
    },
    /// To die when its work is done, before the group is told.
    DieBeforeAck,
    /// To say what it knows.
    Status,
    /// To leave the group and end.
    Leave,
}

/// One line of a process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// CLOCK_BOOTTIME, nanoseconds.
    pub at: i64,
    /// Who says it.
    pub member: String,
    /// What.
    #[serde(flatten)]
    pub said: Said,
}

/// Work that a member does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// The operation; empty when it acts alone.
    pub operation: String,
    /// The pass of the operation.
    pub step: usize,
    /// The epoch of the leader who said so; 0 when it acts alone.
    pub epoch: u64,
    /// Whether it acts without the group.
    pub alone: bool,
    /// The notice, or the step of a member that stays.
    pub event: Uuid,
    /// Whether it stays.
    pub reacts: bool,
}

/// What a process says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Said {
    /// It runs.
    Started,
    /// It has given this notice to the group.
    Notice {
        /// The notice.
        event: Uuid,
        /// When the machine goes, CLOCK_BOOTTIME nanoseconds.
        deadline: i64,
    },
    /// Its work begins.
    Begin(Act),
    /// Its work has ended.
    End(Act),
    /// Its turn came for what it had begun before it was started again.
    Again {
        /// The notice.
        event: Uuid,
        /// Whether it had ended.
        ended: bool,
    },
    /// Somebody leads.
    Leader {
        /// Who.
        name: String,
        /// Its epoch.
        epoch: u64,
    },
    /// It heard of an event of another.
    Heard {
        /// The event.
        event: Uuid,
        /// Whose it is.
        from: String,
        /// Whether it comes from the store.
        replayed: bool,
    },
    /// It heard that another goes.
    Leaving {
        /// The notice.
        event: Uuid,
        /// Who goes.
        from: String,
    },
    /// An operation is over.
    Completed {
        /// Which.
        operation: String,
        /// The epoch of who completed it.
        epoch: u64,
        /// How many did not answer in time.
        missing: usize,
    },
    /// It acts alone.
    Alone {
        /// The notice.
        event: Uuid,
        /// Why.
        why: String,
    },
    /// It refused a leader that is none any more.
    Refused {
        /// That one's epoch.
        epoch: u64,
        /// The highest it has seen.
        highest: u64,
    },
    /// Its connection.
    Connected {
        /// Whether it is up.
        is_up: bool,
    },
    /// Nothing was heard of another member for long.
    Lost {
        /// Of whom.
        from: String,
    },
    /// What it knows.
    Status {
        /// How many of its members are connected.
        connected: usize,
        /// How many members it has.
        of: usize,
        /// The names that its first member knows, where it leads.
        known: usize,
        /// Whether its first member leads.
        leads: bool,
        /// The status of its first member, as the crate gives it, without the list of members.
        status: Value,
    },
    /// Something that must not be.
    Trouble {
        /// In words.
        text: String,
    },
}

impl Line {
    /// The line as text.
    pub fn text(&self) -> String {
        // Plain values with text keys always have a text.
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_is_short() {
        let event = Uuid::now_v7();
        let act = Act { operation: "o".repeat(40), step: 3, epoch: u64::MAX, alone: false, event, reacts: true };
        let said = [
            Said::Begin(act),
            Said::Leader { name: "lb0".to_owned(), epoch: 7 },
            Said::Connected { is_up: false },
            Said::Status { connected: 1, of: 1, known: 2, leads: true, status: serde_json::json!({ "a": 1 }) },
        ];
        for said in said {
            let line = Line { at: 12, member: "r07".to_owned(), said };
            assert_eq!(serde_json::from_str::<Line>(&line.text()).expect("it reads"), line);
            assert!(line.text().len() < 1000);
        }
    }

    #[test]
    fn an_order_reads_back() {
        for order in [Order::Status, Order::Leaving { event: Uuid::nil(), left_ms: 1, work_ms: 2 }] {
            let text = serde_json::to_string(&order).expect("text");
            assert_eq!(serde_json::from_str::<Order>(&text).expect("it reads"), order);
        }
    }
}
