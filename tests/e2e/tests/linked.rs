//! What is linked into which program: the daemon has nothing of the crate that works out what interruptions say and are worth.

use harness::paths;
use harness::require::missing_means_skip;
use object::{Object, ObjectSymbol, SymbolKind};

/// The crate's name in symbols.
const CRATE: &str = "cloudsnooze_insight";

/// Symbols of a program that are of the crate; None where it has no symbols any more.
fn symbols_of_crate(program: &str) -> Option<usize> {
    let directory = paths::bin_dir().expect("built programs");
    let bytes = std::fs::read(paths::program(&directory, program).expect("the program")).expect("readable");
    let file = object::File::parse(&*bytes).expect("ELF");
    // Names of object files stay behind also where nothing of them is linked.
    let is_there = |symbol: &object::Symbol<'_, '_>| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data);
    let names: Vec<&str> = file.symbols().filter(is_there).filter_map(|symbol| symbol.name().ok()).collect();
    let has_symbols = names.iter().any(|name| name.contains("cloudsnooze"));
    has_symbols.then(|| names.iter().filter(|name| name.contains(CRATE)).count())
}

#[test]
fn the_daemon_links_nothing_of_insight_and_the_command_line_does() {
    let (Some(daemon), Some(command_line)) = (symbols_of_crate("snoozed"), symbols_of_crate("snooze")) else {
        missing_means_skip("what is linked: the programs are stripped of their symbols");
        return;
    };
    assert!(command_line > 0, "snooze has no symbol of {CRATE}: this test looks for the wrong name");
    assert_eq!(daemon, 0, "snoozed links {CRATE}");
}
