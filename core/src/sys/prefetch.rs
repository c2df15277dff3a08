//! Brings memory into the cache before it is needed.
//!
//! Between two notices lie hours in which other work evicts all that the next one needs; loaded one after the other, as
//! the way goes along, those lines take longer than the way itself. Asked for ahead they come all at the same time,
//! while the notice is still being read.
//!
//! Inputs: values, code. Outputs: none. Must never fault or wait: a prefetch is a hint, whatever the address.
#![allow(unsafe_code)]

/// Bytes of a cache line on every machine this runs on; a larger one is asked for twice.
const LINE: usize = 64;

/// Asks for a value, all of it.
pub fn value<T: ?Sized>(value: &T) {
    stretch((&raw const *value).addr(), size_of_val(value));
}

/// Asks for so many bytes from an address on.
pub fn stretch(start: usize, bytes: usize) {
    (start & !(LINE - 1)..start.saturating_add(bytes)).step_by(LINE).for_each(line);
}

/// Asks for the code between a notice and its handler: the functions in the section `snooze_hot`, where they lie together.
pub fn hot_code() {
    #[cfg(target_os = "linux")]
    {
        // The linker makes these two for every section whose name is an identifier of C (ld(1), `--orphan-handling`).
        unsafe extern "C" {
            #[link_name = "__start_snooze_hot"]
            static START: u8;
            #[link_name = "__stop_snooze_hot"]
            static STOP: u8;
        }
        std::hint::black_box(anchor as fn());
        let (start, stop) = ((&raw const START).addr(), (&raw const STOP).addr());
        stretch(start, stop - start);
    }
}

/// Keeps the section in programs of which the compiler has made all of its other functions a part of their callers: the linker
/// names the ends of a section only where there is one.
#[cfg(target_os = "linux")]
#[inline(never)]
#[unsafe(link_section = "snooze_hot")]
fn anchor() {}

fn line(address: usize) {
    // SAFETY: never faults (Intel SDM volume 2, PREFETCHh; Arm ARM, PRFM).
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    #[test]
    fn anything_may_be_asked_for() {
        super::value(&[1_u8; 1000]);
        super::value("");
        super::stretch(0, 64);
        super::stretch(usize::MAX - 10, 1000);
        super::hot_code();
    }
}
