//! What is linked into which program: the daemon has nothing of the crate that works out what interruptions say and are worth.

use harness::paths;
use harness::require::missing_means_skip;
use object::{Object, ObjectSymbol, SymbolKind};

/// Names of crates in symbols: what works out, and what draws it.
const CRATES: [&str; 4] = ["cloudsnooze_insight", "plotters", "ab_glyph", "nalgebra"];

/// Four texts that say where a machine runs: the history names its rows by them, and they are all that the daemon has.
const POOL: [&str; 2] = ["pool..Pool", "4pool4Pool"];

/// What frees a value. The compiler merges those that do the same: the one that frees a pool's text has the names of all others like it.
const FREES: &str = "drop_in_place";

/// Symbols of a program that are of a crate; None where it has no symbols any more.
fn symbols_of_crate(program: &str, name_of_crate: &str) -> Option<usize> {
    let directory = paths::bin_dir().expect("built programs");
    let bytes = std::fs::read(paths::program(&directory, program).expect("the program")).expect("readable");
    let file = object::File::parse(&*bytes).expect("ELF");
    // The names of files stand there too, also of those of which nothing is left.
    let code = file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text);
    let names: Vec<&str> = code.filter_map(|symbol| symbol.name().ok()).collect();
    let has_symbols = names.iter().any(|name| name.contains("cloudsnooze"));
    has_symbols.then(|| {
        let is_pool = |name: &str| POOL.iter().any(|pool| name.contains(pool));
        let counts = |name: &&&str| name.contains(name_of_crate) && !is_pool(name) && !name.contains(FREES);
        names.iter().filter(counts).count()
    })
}

#[test]
fn the_daemon_links_nothing_of_insight_nor_of_its_pictures_and_the_command_line_does() {
    for name in CRATES {
        let both = (symbols_of_crate("snoozed", name), symbols_of_crate("snooze", name));
        let (Some(daemon), Some(command_line)) = both else {
            missing_means_skip("what is linked: the programs are stripped of their symbols");
            return;
        };
        assert!(command_line > 0, "snooze has no symbol of {name}: this test looks for the wrong name");
        assert_eq!(daemon, 0, "snoozed links {name}");
    }
}
