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

/// Every struct of the extension `cloudsnooze.source/1`, in a fixed order.
pub fn source_tables() -> Vec<Table> {
    let layouts: [&'static TypeLayout; 6] = [
        <snooze_notice as StableAbi>::LAYOUT,
        <snooze_machine as StableAbi>::LAYOUT,
        <snooze_source_health as StableAbi>::LAYOUT,
        <snooze_over as StableAbi>::LAYOUT,
        <snooze_source_host as StableAbi>::LAYOUT,
        <snooze_source as StableAbi>::LAYOUT,
    ];
    layouts.into_iter().map(table).collect()
}

/// The text of that extension's surface.
pub fn source_surface() -> String {
    text_of("# CloudSnooze extension cloudsnooze.source/1".to_string(), source_tables())
}

/// The surface text. Stable across architectures of one pointer width: `c_char` is written `char`.
pub fn surface() -> String {
    text_of(format!("# CloudSnooze ABI surface {SNOOZE_ABI_MAJOR}.{SNOOZE_ABI_MINOR}"), tables())
}

fn text_of(title: String, tables: Vec<Table>) -> String {
    let mut text = title + "\n";
    for table in tables {
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
    use crate::growth::{Growth, compare};

    #[test]
    fn surface_names_every_member_with_its_signature() {
        let text = surface();
        assert!(text.contains("snooze_event 64:8"), "{text}");
        assert!(text.contains("snooze_host.log_enabled @24 8:8 fn(*const snooze_host, u32) -> u32"), "{text}");
        assert!(text.contains("snooze_class.id @16 8:8 *const char"), "{text}");
    }

    #[test]
    fn the_growth_rule_reads_the_text_and_names_a_changed_parameter() {
        let now = surface();
        assert_eq!(compare(&now, &now), Growth::Same);
        let changed = now.replace("fn(*const snooze_host, u32) -> u32", "fn(*const snooze_host, u64) -> u32");
        assert!(
            matches!(compare(&now, &changed), Growth::Broke(why) if why.starts_with("snooze_host.log_enabled: @24"))
        );
    }
}
