//! Layouts as debugging information tells them: what the C compiler really did, read by programs that know nothing of this
//! project. Inputs: a C compiler, the headers, what pahole prints. Outputs: a library, layouts. It must never read the Rust types.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{must, source};

/// One member of a struct: name, offset and size in bytes.
pub type Member = (String, usize, usize);

/// Builds `c/all_tables.c` with debugging information against the headers in `include`.
///
/// # Panics
/// When the compiler fails.
pub fn build(compiler: &str, include: &Path, folder: &Path) -> PathBuf {
    let library = folder.join(format!("all-tables-{compiler}.so"));
    let mut command = Command::new(compiler);
    command.args(["-g", "-O0", "-fPIC", "-shared", "-Wno-missing-field-initializers", "-I"]).arg(include);
    must(command.arg(source("all_tables.c")).arg("-o").arg(&library));
    library
}

/// Name, size in bytes and members of every struct that `pahole` prints.
///
/// # Panics
/// When a line that tells of a member is not understood: a layout half read would prove nothing.
pub fn structs(pahole: &str) -> Vec<(String, usize, Vec<Member>)> {
    let mut structs = Vec::new();
    let mut open: Option<(String, Vec<Member>)> = None;
    for line in pahole.lines() {
        if let Some(name) = line.strip_prefix("struct ").and_then(|rest| rest.strip_suffix(" {")) {
            open = Some((name.to_owned(), Vec::new()));
        } else if let Some(rest) = line.trim().strip_prefix("/* size: ") {
            let size = rest.split(',').next().and_then(|size| size.parse().ok());
            let (name, members) = open.take().unwrap_or_else(|| panic!("a size without a struct: {line}"));
            structs.push((name, size.unwrap_or_else(|| panic!("no size: {line}")), members));
        } else if let (Some((_, members)), Some((declaration, place))) =
            (&mut open, line.split_once("; /*").or(line.split_once(";  ")))
        {
            members.push(member(declaration, place).unwrap_or_else(|| panic!("no member: {line}")));
        }
    }
    structs
}

/// "uint32_t (*log_enabled)(...)" or "uint8_t id[16]", and "    24     8 */".
fn member(declaration: &str, place: &str) -> Option<Member> {
    let name = match declaration.split_once("(*") {
        Some((_, rest)) => rest.split(')').next()?,
        None => declaration.split('[').next()?.split([' ', '*']).next_back()?,
    };
    let mut numbers = place.split(|c: char| !c.is_ascii_digit()).filter(|word| !word.is_empty()).map(str::parse);
    Some((name.to_owned(), numbers.next()?.ok()?, numbers.next()?.ok()?))
}
