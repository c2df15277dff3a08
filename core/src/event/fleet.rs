//! Types of the events that the group of machines makes.
//! Inputs: none. Outputs: the types. They are of the kind `SNOOZE_KIND_OTHER` in the C ABI: a plugin tells them by their name.

use super::EventType;
use cloudsnooze_abi::SNOOZE_KIND_OTHER;

/// Member of `data` of a drill that is the group's, not of this machine alone.
pub const OF_GROUP: &str = "fleet";

impl EventType {
    /// `fleet.member.leaving`: another member of the group has to go; with its deadline.
    pub const MEMBER_LEAVING: Self = Self::known("fleet.member.leaving", SNOOZE_KIND_OTHER);
    /// `fleet.operation.step`: this machine, which stays, has to do its part for those in `data.leaving`; the group goes on when its
    /// handlers have ended.
    pub const OPERATION_STEP: Self = Self::known("fleet.operation.step", SNOOZE_KIND_OTHER);
    /// `fleet.operation.completed`: all have answered, or the group went on without those in `data.missing`.
    pub const OPERATION_COMPLETED: Self = Self::known("fleet.operation.completed", SNOOZE_KIND_OTHER);
    /// `fleet.member.event`: another event of another member, which is in `data.raw`.
    pub const MEMBER_EVENT: Self = Self::known("fleet.member.event", SNOOZE_KIND_OTHER);
    /// `fleet.member.joined`: a member came.
    pub const MEMBER_JOINED: Self = Self::known("fleet.member.joined", SNOOZE_KIND_OTHER);
    /// `fleet.member.gone`: a member left, as it said it would.
    pub const MEMBER_GONE: Self = Self::known("fleet.member.gone", SNOOZE_KIND_OTHER);
    /// `fleet.member.lost`: a member was silent for three of its heartbeats.
    pub const MEMBER_LOST: Self = Self::known("fleet.member.lost", SNOOZE_KIND_OTHER);
    /// `fleet.leader.changed`: another member leads, under a higher epoch.
    pub const LEADER_CHANGED: Self = Self::known("fleet.leader.changed", SNOOZE_KIND_OTHER);
    /// `fleet.connected`: the connection to the group's servers is there.
    pub const FLEET_CONNECTED: Self = Self::known("fleet.connected", SNOOZE_KIND_OTHER);
    /// `fleet.disconnected`: it was lost.
    pub const FLEET_DISCONNECTED: Self = Self::known("fleet.disconnected", SNOOZE_KIND_OTHER);

    /// All of them. Not among [`Self::KNOWN`]: a plan for each would lie in locked memory for events that are in no hurry.
    pub const OF_THE_GROUP: [Self; 10] = [
        Self::MEMBER_LEAVING,
        Self::OPERATION_STEP,
        Self::OPERATION_COMPLETED,
        Self::MEMBER_EVENT,
        Self::MEMBER_JOINED,
        Self::MEMBER_GONE,
        Self::MEMBER_LOST,
        Self::LEADER_CHANGED,
        Self::FLEET_CONNECTED,
        Self::FLEET_DISCONNECTED,
    ];
}
