//! The canonical text of the ABI's surface, reflected by abi_stable: one line a member, with offset,
//! size, alignment and full signature. Inputs: the types of this crate. Outputs: the golden file, the
//! digest in the entry record, the header's static asserts. Must never be part of the border itself:
//! only this text crosses it, so abi_stable can be replaced without an ABI change.

use crate::*;
use abi_stable::StableAbi;
use abi_stable::type_layout::{TLData, TLField, TLFunction, TypeLayout};
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

/// One member of a table.
pub struct Member {
    /// C name.
    pub name: String,
    /// Offset from the start of the struct, bytes.
    pub offset: usize,
    /// Size, bytes.
    pub size: usize,
    /// Alignment, bytes.
    pub align: usize,
    /// Canonical type or signature.
    pub signature: String,
}

/// One struct of the ABI.
pub struct Table {
    /// C name.
    pub name: String,
    /// Size, bytes.
    pub size: usize,
    /// Alignment, bytes.
    pub align: usize,
    /// Members in order.
    pub members: Vec<Member>,
}

/// Every struct of the ABI in a fixed order.
pub fn tables() -> Vec<Table> {
    let layouts: [&'static TypeLayout; 12] = [
        <snooze_str as StableAbi>::LAYOUT,
        <snooze_bytes as StableAbi>::LAYOUT,
        <snooze_pair as StableAbi>::LAYOUT,
        <snooze_event as StableAbi>::LAYOUT,
        <snooze_call as StableAbi>::LAYOUT,
        <snooze_log_record as StableAbi>::LAYOUT,
        <snooze_subscription as StableAbi>::LAYOUT,
        <snooze_host as StableAbi>::LAYOUT,
        <snooze_create_args as StableAbi>::LAYOUT,
        <snooze_plugin as StableAbi>::LAYOUT,
        <snooze_class as StableAbi>::LAYOUT,
        <snooze_entry as StableAbi>::LAYOUT,
    ];
    layouts.into_iter().map(table).collect()
}

/// The surface text. Stable across architectures of one pointer width: `c_char` is written `char`.
pub fn surface() -> String {
    let mut text = format!("# CloudSnooze ABI surface {SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}\n");
    for table in tables() {
        text += &format!("{} {}:{}\n", table.name, table.size, table.align);
        for m in &table.members {
            text += &format!("{}.{} @{} {}:{} {}\n", table.name, m.name, m.offset, m.size, m.align, m.signature);
        }
    }
    text
}

/// FNV-1a, 64 bits, over the surface text: an identity, not a defence (files are pinned by SHA-256).
pub fn digest(surface: &str) -> u64 {
    surface.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// How two surfaces compare under the growth rule.
#[derive(Debug, PartialEq, Eq)]
pub enum Growth {
    /// Letter for letter the same, but for the version line.
    Same,
    /// `new` only appended members to size-prefixed tables, or tables.
    Grew,
    /// The first line of `old` that `new` no longer holds.
    Broke(String),
}

/// Applies the growth rule: every member of `old` stands unchanged in `new`.
pub fn compare(old: &str, new: &str) -> Growth {
    let members = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.contains(" @") || frozen(l)).map(ToString::to_string).collect()
    };
    let (old, new) = (members(old), members(new));
    match old.iter().find(|line| !new.contains(line)) {
        Some(line) => Growth::Broke(line.clone()),
        None if old.len() == new.len() => Growth::Same,
        None => Growth::Grew,
    }
}

/// Types without a size prefix may not even grow.
fn frozen(line: &str) -> bool {
    ["snooze_str ", "snooze_bytes ", "snooze_pair "].iter().any(|name| line.starts_with(name))
}

fn table(layout: &'static TypeLayout) -> Table {
    let mut members = vec![];
    let mut end = 0usize;
    if let TLData::Struct { fields } = layout.data() {
        for field in fields.iter() {
            let inner = field.layout();
            let offset = end.next_multiple_of(inner.alignment());
            end = offset + inner.size();
            members.push(Member {
                name: field.name().to_string(),
                offset,
                size: inner.size(),
                align: inner.alignment(),
                signature: signature(&field),
            });
        }
    }
    assert_eq!(end.next_multiple_of(layout.alignment()), layout.size(), "repr(C) rule holds for {}", layout.name());
    Table { name: layout.name().to_string(), size: layout.size(), align: layout.alignment(), members }
}

fn signature(field: &TLField) -> String {
    match field.function_range().iter().next() {
        Some(function) => function_text(&function),
        None => type_text(field.layout()),
    }
}

fn function_text(function: &TLFunction) -> String {
    let params: Vec<String> = function.param_type_layouts.iter().map(|layout| type_text(layout())).collect();
    let result = match function.return_type_layout() {
        Some(layout) => type_text(layout()),
        None => "()".to_string(),
    };
    format!("fn({}) -> {result}", params.join(", "))
}

fn type_text(layout: &TypeLayout) -> String {
    let text = layout.full_type().to_string();
    // The reflected names end pointers with a blank; c_char is i8 on x86-64 and u8 on aarch64.
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace("const i8", "const char")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surface_names_every_member_with_its_signature() {
        let text = surface();
        assert!(text.contains("snooze_event 64:8"), "{text}");
        assert!(text.contains("snooze_host.log_enabled @24 8:8 fn(*const snooze_host, u32) -> u32"), "{text}");
        assert!(text.contains("snooze_class.id @16 8:8 *const char"), "{text}");
    }

    #[test]
    #[allow(clippy::print_stdout)]
    fn growth_rule_accepts_an_appended_member_and_names_a_changed_one() {
        let old = surface();
        let grown = old.clone() + "snooze_host.extra @176 8:8 fn(*const snooze_host) -> ()\n";
        assert_eq!(compare(&old, &old), Growth::Same);
        assert_eq!(compare(&old, &grown), Growth::Grew);
        assert!(matches!(compare(&grown, &old), Growth::Broke(line) if line.contains("snooze_host.extra")));
        let changed = old.replace(
            "snooze_host.log_enabled @24 8:8 fn(*const snooze_host, u32)",
            "snooze_host.log_enabled @24 8:8 fn(*const snooze_host, u64)",
        );
        assert!(matches!(compare(&old, &changed), Growth::Broke(line) if line.contains("log_enabled")));
        let fatter = old.replace("snooze_str 16:8", "snooze_str 24:8");
        assert!(matches!(compare(&old, &fatter), Growth::Broke(line) if line.starts_with("snooze_str")));
    }
}
