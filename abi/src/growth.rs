//! The growth rule: what a minor version may change.
//!
//! Inputs: two surface texts, the older first. Outputs: a verdict that names what is wrong. Pure text: must never
//! need the types themselves, so that the surfaces of versions long gone can be compared.

use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

/// How two surfaces compare.
#[derive(Debug, PartialEq, Eq)]
pub enum Growth {
    /// The same tables with the same members.
    Same,
    /// The newer one has further tables, or further members behind the last ones of size-prefixed tables.
    Grew,
    /// Something that a plugin or a host of the older version relies on is not there any more: what, in words.
    Broke(String),
}

/// The member by which a table says how much of it there is.
const SIZE: &str = "struct_size";

struct Table<'a> {
    name: &'a str,
    size: usize,
    align: usize,
    members: Vec<Member<'a>>,
}

struct Member<'a> {
    name: &'a str,
    offset: usize,
    /// Place, size, alignment and signature: "@0 4:4 u32".
    shape: &'a str,
}

/// Applies the rule to two surface texts, the older first.
pub fn compare(old: &str, new: &str) -> Growth {
    match (tables(old), tables(new)) {
        (Ok(old), Ok(new)) => grew(&old, &new).map_or_else(Growth::Broke, |grew| match grew {
            true => Growth::Grew,
            false => Growth::Same,
        }),
        (Err(line), _) | (_, Err(line)) => Growth::Broke(format!("not a line of a surface: {line}")),
    }
}

fn grew(old: &[Table<'_>], new: &[Table<'_>]) -> Result<bool, String> {
    let mut grew = new.len() > old.len();
    for before in old {
        let Some(after) = new.iter().find(|table| table.name == before.name) else {
            return Err(format!("{} is gone", before.name));
        };
        grew |= table_grew(before, after)?;
    }
    Ok(grew)
}

fn table_grew(old: &Table<'_>, new: &Table<'_>) -> Result<bool, String> {
    let name = old.name;
    for (at, before) in old.members.iter().enumerate() {
        match new.members.get(at) {
            Some(after) if after.name == before.name && after.shape == before.shape => {}
            Some(after) if after.name == before.name => {
                return Err(format!("{name}.{}: {} became {}", before.name, before.shape, after.shape));
            }
            Some(after) => return Err(displaced(old, new, before, after)),
            None => return Err(format!("{name}.{} is gone", before.name)),
        }
    }
    if old.align != new.align {
        return Err(format!("{name}: its alignment {} became {}", old.align, new.align));
    }
    let Some(first) = new.members.get(old.members.len()) else {
        return if old.size == new.size {
            Ok(false)
        } else {
            Err(format!("{name}: its size {} became {}", old.size, new.size))
        };
    };
    if !old.members.iter().any(|member| member.name == SIZE) {
        return Err(format!("{name}.{}: a table without {SIZE} can never grow", first.name));
    }
    // In what was padding, it would seem to be there in a table that was made without it.
    if first.offset < old.size {
        return Err(format!("{name}.{} lies within the {} bytes of the older table", first.name, old.size));
    }
    Ok(true)
}

/// Another member stands where `before` stood.
fn displaced(old: &Table<'_>, new: &Table<'_>, before: &Member<'_>, after: &Member<'_>) -> String {
    let has = |table: &Table<'_>, name: &str| table.members.iter().any(|member| member.name == name);
    let (name, was, is) = (old.name, before.name, after.name);
    match (has(new, was), has(old, is)) {
        (false, _) => format!("{name}.{was} is gone: {is} stands in its place"),
        (true, true) => format!("{name}.{was} is not in its place any more: {is} is"),
        (true, false) => format!("{name}.{is} was inserted before {was}"),
    }
}

/// Reads a surface; the first line that is none.
fn tables(text: &str) -> Result<Vec<Table<'_>>, String> {
    let mut tables: Vec<Table<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let read = match line.split_once(" @") {
            Some(_) => member(line, tables.last_mut()),
            None => table(line).map(|table| tables.push(table)),
        };
        read.ok_or_else(|| line.to_string())?;
    }
    Ok(tables)
}

/// "snooze_event 64:8"
fn table(line: &str) -> Option<Table<'_>> {
    let (name, shape) = line.split_once(' ')?;
    let (size, align) = shape.split_once(':')?;
    Some(Table { name, size: size.parse().ok()?, align: align.parse().ok()?, members: Vec::new() })
}

/// "snooze_event.kind @4 4:4 u32"
fn member<'a>(line: &'a str, table: Option<&mut Table<'a>>) -> Option<()> {
    let table = table?;
    let (path, shape) = line.split_once(' ')?;
    let name = path.strip_prefix(table.name)?.strip_prefix('.')?;
    let offset = shape.strip_prefix('@')?.split(' ').next()?.parse().ok()?;
    table.members.push(Member { name, offset, shape });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "# CloudSnooze ABI surface 1.0\n\
        pair 16:8\npair.key @0 8:8 *const char\npair.value @8 8:8 *const char\n\
        table 24:8\ntable.struct_size @0 4:4 u32\ntable.kind @4 4:4 u32\ntable.call @8 8:8 fn(u32) -> ()\ntable.last @16 4:4 u32\n";

    /// The old text with a part of it changed; the part must be there.
    fn with(from: &str, to: &str) -> String {
        assert!(OLD.contains(from), "{from}");
        OLD.replace(from, to)
    }

    fn broke(new: &str) -> String {
        match compare(OLD, new) {
            Growth::Broke(why) => why,
            other => panic!("{other:?} of {new}"),
        }
    }

    #[test]
    fn a_surface_is_the_same_as_itself_whatever_it_calls_itself() {
        assert_eq!(compare(OLD, OLD), Growth::Same);
        assert_eq!(compare(OLD, &with("1.0", "1.1")), Growth::Same);
    }

    #[test]
    fn members_behind_the_last_and_further_tables_are_growth_and_the_way_back_is_not() {
        let longer = with("table 24:8", "table 32:8") + "table.more @24 8:8 fn() -> ()\n";
        let wider = OLD.to_string() + "other 8:8\nother.struct_size @0 4:4 u32\n";
        assert_eq!((compare(OLD, &longer), compare(OLD, &wider)), (Growth::Grew, Growth::Grew));
        assert_eq!(compare(&longer, OLD), Growth::Broke("table.more is gone".into()));
        assert_eq!(compare(&wider, OLD), Growth::Broke("other is gone".into()));
    }

    #[test]
    fn a_member_that_is_removed_moved_retyped_or_pushed_aside_is_named() {
        let kind = "table.kind @4 4:4 u32\n";
        assert_eq!(broke(&with("table.last @16 4:4 u32\n", "")), "table.last is gone");
        assert_eq!(broke(&with(kind, "")), "table.kind is gone: call stands in its place");
        assert_eq!(broke(&with(kind, "table.sort @4 4:4 u32\n")), "table.kind is gone: sort stands in its place");
        assert_eq!(broke(&with(kind, "table.kind @4 4:4 i32\n")), "table.kind: @4 4:4 u32 became @4 4:4 i32");
        // No size and no offset shows this one.
        assert_eq!(broke(&with("fn(u32)", "fn(u64)")), "table.call: @8 8:8 fn(u32) -> () became @8 8:8 fn(u64) -> ()");
        let inserted = with(kind, "table.flags @4 4:4 u32\ntable.kind @8 4:4 u32\n");
        assert_eq!(broke(&inserted), "table.flags was inserted before kind");
        let two = "table.kind @4 4:4 u32\ntable.call @8 8:8 fn(u32) -> ()\n";
        let swapped = with(two, "table.call @8 8:8 fn(u32) -> ()\ntable.kind @4 4:4 u32\n");
        assert_eq!(broke(&swapped), "table.kind is not in its place any more: call is");
    }

    #[test]
    fn sizes_and_alignments_may_not_change_but_by_growth() {
        assert_eq!(broke(&with("table 24:8", "table 32:8")), "table: its size 24 became 32");
        assert_eq!(broke(&with("table 24:8", "table 24:16")), "table: its alignment 8 became 16");
        assert_eq!(broke(&with("pair 16:8", "pair 24:8")), "pair: its size 16 became 24");
    }

    #[test]
    fn nothing_is_added_where_its_presence_would_not_show() {
        let frozen = with("pair 16:8", "pair 24:8").replace("table 24", "pair.more @16 8:8 usize\ntable 24");
        assert_eq!(broke(&frozen), "pair.more: a table without struct_size can never grow");
        let padded = OLD.to_string() + "table.more @20 4:4 u32\n";
        assert_eq!(broke(&padded), "table.more lies within the 24 bytes of the older table");
    }

    #[test]
    fn what_is_no_surface_is_no_growth() {
        for bad in
            ["table", "table 8", "table.x @0 4:4 u32", "table 8:8\nother.x @0 4:4 u32", "table 8:8\ntable.x @y 4:4 u32"]
        {
            assert!(matches!(compare(bad, bad), Growth::Broke(why) if why.starts_with("not a line")), "{bad}");
        }
    }
}
