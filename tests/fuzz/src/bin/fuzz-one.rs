//! One target under the engine: which one is said by the environment variable FUZZ_TARGET.
#![no_main]

use std::sync::OnceLock;

/// The target, found at the first input.
static TARGET: OnceLock<fuzz::Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
        fuzz::target(&name).unwrap_or_else(|| panic!("FUZZ_TARGET is '{name}', expected one of {}", fuzz::names()))
    });
    target(data);
});
