//! Version numbers of the ABI and the magic of the entry record.
//! Inputs: none. Outputs: constants. Must never change a value of a released version.

/// Major version. A plugin of another major is refused; major 2 would export another symbol.
pub const SNOOZE_ABI_MAJOR: u16 = 1;

/// Minor version: grows by one each time a table is appended to.
pub const SNOOZE_ABI_MINOR: u16 = 0;

/// First eight bytes of the entry record: "SNOOZEv1" read as a little-endian number.
pub const SNOOZE_ENTRY_MAGIC: u64 = 0x3176_455A_4F4F_4E53;
