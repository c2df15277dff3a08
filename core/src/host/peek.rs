//! What a library says of itself, read from the bytes of its file before any of its code can run:
//! dlopen runs constructors, this does not.
//!
//! Inputs: the file's bytes. Outputs: the pointer-free head of the entry record, or a refusal. Must
//! never map, execute or trust anything; fuzzed.

use super::refusal::Refusal;
use cloudsnooze_abi as abi;
use object::LittleEndian;
use object::elf;
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _, Sym as _};

/// Largest plugin file accepted, bytes.
pub const PLUGIN_BYTES_MAX: usize = 256 * 1024 * 1024;

const ENTRY_SYMBOL: &[u8] = b"snooze_plugin_entry_v1";
const HEAD_BYTES: usize = 64;

type Header = elf::FileHeader64<LittleEndian>;

/// The first 64 bytes of the entry record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// ABI major the plugin was built against.
    pub major: u16,
    /// ABI minor the plugin was built against.
    pub minor_built: u16,
    /// Lowest minor it can live with.
    pub minor_required: u16,
    /// Layout digest of the header it was built against.
    pub digest: u64,
}

/// Reads the entry record out of a library's bytes and applies the load rule.
///
/// # Errors
/// The first thing that does not fit, as a sentence with both numbers.
pub fn peek(bytes: &[u8]) -> Result<Head, Refusal> {
    let header = elf_header(bytes)?;
    let segments = segments(header, bytes)?;
    check_segments(segments, bytes)?;
    let address = entry_address(header, bytes)?;
    let head = head_bytes(segments, bytes, address)?;
    check_head(head)
}

fn truncated(what: &str) -> impl Fn(object::Error) -> Refusal + '_ {
    move |error| Refusal::Truncated(format!("{what}: {error}"))
}

fn elf_header(bytes: &[u8]) -> Result<&Header, Refusal> {
    if bytes.len() < 4 || bytes[..4] != elf::ELFMAG {
        let start: Vec<String> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
        return Err(Refusal::NotElf(if start.is_empty() { "nothing: it is empty".into() } else { start.join(" ") }));
    }
    let class = bytes.get(4).copied().unwrap_or(0);
    let data = bytes.get(5).copied().unwrap_or(0);
    if class != 2 || data != 1 {
        let found = format!("ELF class {class}, data encoding {data}");
        return Err(Refusal::WrongMachine { found, expected: machine_name(native_machine()) });
    }
    let header = Header::parse(bytes).map_err(truncated("ELF header"))?;
    let machine = header.e_machine(LittleEndian);
    if machine != native_machine() {
        return Err(Refusal::WrongMachine { found: machine_name(machine), expected: machine_name(native_machine()) });
    }
    match header.e_type(LittleEndian) {
        elf::ET_DYN => Ok(header),
        elf::ET_EXEC => Err(Refusal::NotShared("it is a program".into())),
        elf::ET_REL => Err(Refusal::NotShared("it is an object file, not linked yet".into())),
        other => Err(Refusal::NotShared(format!("ELF type {}", other.0))),
    }
}

const fn native_machine() -> elf::Machine {
    if cfg!(target_arch = "aarch64") { elf::EM_AARCH64 } else { elf::EM_X86_64 }
}

fn machine_name(machine: elf::Machine) -> String {
    match machine {
        elf::EM_X86_64 => "x86-64".into(),
        elf::EM_AARCH64 => "aarch64".into(),
        elf::EM_386 => "x86 (32-bit)".into(),
        elf::EM_ARM => "arm (32-bit)".into(),
        elf::EM_RISCV => "risc-v".into(),
        other => format!("ELF machine {}", other.0),
    }
}

fn segments<'a>(header: &Header, bytes: &'a [u8]) -> Result<&'a [elf::ProgramHeader64<LittleEndian>], Refusal> {
    let found = header.program_headers(LittleEndian, bytes).map_err(truncated("program headers"))?;
    if found.is_empty() { Err(Refusal::Truncated("no program headers".into())) } else { Ok(found) }
}

fn check_segments(segments: &[elf::ProgramHeader64<LittleEndian>], bytes: &[u8]) -> Result<(), Refusal> {
    for segment in segments.iter().filter(|s| s.p_type(LittleEndian) == elf::PT_LOAD) {
        let end = segment.p_offset(LittleEndian).checked_add(segment.p_filesz(LittleEndian));
        if end.is_none_or(|end| end > bytes.len() as u64) {
            let end = end.unwrap_or(u64::MAX);
            return Err(Refusal::Truncated(format!("a segment ends at byte {end}, the file at {}", bytes.len())));
        }
    }
    // Without the header the kernel's default is an executable stack (execve of old binaries).
    let stack = segments.iter().find(|s| s.p_type(LittleEndian) == elf::PT_GNU_STACK);
    if stack.is_none_or(|s| s.p_flags(LittleEndian).0 & elf::PF_X.0 != 0) {
        return Err(Refusal::ExecStack);
    }
    for segment in segments {
        let Some(dynamic) = segment.dynamic(LittleEndian, bytes).map_err(truncated("dynamic section"))? else {
            continue;
        };
        let textrel = dynamic.iter().any(|d| {
            let (tag, value) = (d.d_tag(LittleEndian), d.d_val(LittleEndian));
            tag == elf::DT_TEXTREL || (tag == elf::DT_FLAGS && value & elf::DF_TEXTREL.0 != 0)
        });
        if textrel {
            return Err(Refusal::TextRelocations);
        }
    }
    Ok(())
}

fn entry_address(header: &Header, bytes: &[u8]) -> Result<u64, Refusal> {
    let sections = header.sections(LittleEndian, bytes).map_err(truncated("section headers"))?;
    let symbols = sections.symbols(LittleEndian, bytes, elf::SHT_DYNSYM).map_err(truncated("dynamic symbols"))?;
    symbols
        .iter()
        .find(|symbol| {
            symbol.st_shndx(LittleEndian) != elf::SHN_UNDEF
                && symbol.name(LittleEndian, symbols.strings()).is_ok_and(|name| name == ENTRY_SYMBOL)
        })
        .map(|symbol| symbol.st_value(LittleEndian))
        .ok_or(Refusal::NoEntry)
}

fn head_bytes<'a>(
    segments: &[elf::ProgramHeader64<LittleEndian>],
    bytes: &'a [u8],
    address: u64,
) -> Result<&'a [u8], Refusal> {
    let found = segments.iter().filter(|s| s.p_type(LittleEndian) == elf::PT_LOAD).find_map(|s| {
        let inside = address.checked_sub(s.p_vaddr(LittleEndian))?;
        let room = s.p_filesz(LittleEndian).checked_sub(inside)?;
        if room < HEAD_BYTES as u64 {
            return None;
        }
        let start = usize::try_from(s.p_offset(LittleEndian).checked_add(inside)?).ok()?;
        bytes.get(start..start.checked_add(HEAD_BYTES)?)
    });
    found.ok_or_else(|| Refusal::Truncated("the entry record lies outside the file".into()))
}

fn check_head(head: &[u8]) -> Result<Head, Refusal> {
    let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let u32_at = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
    let magic = u64_at(0);
    if magic != abi::SNOOZE_ENTRY_MAGIC {
        return Err(Refusal::BadMagic { found: magic, expected: abi::SNOOZE_ENTRY_MAGIC });
    }
    let read = Head { major: u16_at(8), minor_built: u16_at(10), minor_required: u16_at(12), digest: u64_at(24) };
    if read.major != abi::SNOOZE_ABI_MAJOR {
        return Err(Refusal::Major { plugin: read.major, host: abi::SNOOZE_ABI_MAJOR });
    }
    if read.minor_required > abi::SNOOZE_ABI_MINOR {
        let (plugin, host) = (read.minor_required, abi::SNOOZE_ABI_MINOR);
        return Err(Refusal::NeedsMinor { major: read.major, plugin, host });
    }
    if u16_at(14) != 64 {
        return Err(Refusal::PointerBits(u16_at(14)));
    }
    let size = u32_at(16);
    if (size as usize) < size_of::<abi::snooze_entry>() {
        return Err(Refusal::EntrySize { found: size, expected: size_of::<abi::snooze_entry>() });
    }
    // A newer minor's digest is not known here; its tables are size-prefixed and only grew.
    match abi::DIGEST_OF_MINOR.get(usize::from(read.minor_built)) {
        Some(known) if *known != read.digest => {
            Err(Refusal::Digest { plugin: read.digest, host: *known, major: read.major, minor: read.minor_built })
        }
        _ => Ok(read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_not_elf_is_named_by_its_first_bytes() {
        assert_eq!(peek(b"#!/bin/sh\n"), Err(Refusal::NotElf("23 21 2f 62".into())));
        assert_eq!(peek(b""), Err(Refusal::NotElf("nothing: it is empty".into())));
    }

    #[test]
    fn a_library_without_the_entry_is_refused_and_truncating_it_anywhere_never_panics() {
        let own = std::fs::read(std::env::current_exe().expect("exe")).expect("readable");
        assert_eq!(peek(&own), Err(Refusal::NoEntry));
        for end in (0..own.len()).step_by(own.len() / 97) {
            assert!(peek(&own[..end]).is_err(), "cut at {end}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_behind_a_valid_magic_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 64..2048)) {
            bytes[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
            prop_assert!(peek(&bytes).is_err());
        }
    }
}
