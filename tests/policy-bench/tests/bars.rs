//! The bars on the public data, thinned so that a debug build takes seconds; `make bench-policies` runs all of it.

use policy_bench::policies::{missed, table_3};
use policy_bench::{Figure, markets, saves};
use std::io::Write;
use std::path::PathBuf;

/// Where the public sets are; None, loudly, where nobody says.
fn data() -> Option<PathBuf> {
    let data = std::env::var_os("CLOUDSNOOZE_DATA").map(PathBuf::from);
    if data.is_none() {
        // The sets are nobody's to install, so that their lack is no failure; not through eprintln!, which the runner keeps to itself.
        let _printed = writeln!(
            std::io::stderr().lock(),
            "NOT RUN: bars on public data: CLOUDSNOOZE_DATA does not name their directory"
        );
    }
    data
}

fn broken(figures: &[Figure]) -> Vec<&Figure> {
    figures.iter().filter(|figure| !figure.is_kept()).collect()
}

#[test]
fn no_policy_that_keeps_deadlines_misses_one_on_the_published_traces() {
    let Some(data) = data() else { return };
    let (lines, _) = table_3(&data, 30).expect("the data");
    assert!(missed(&lines).is_kept(), "{lines:?}");
}

#[test]
fn saves_and_prices_are_as_published() {
    let Some(data) = data() else { return };
    let mut figures = saves::saves(&data, 4_000).expect("the data");
    figures.extend(markets::markets(&data).expect("the data"));
    assert!(broken(&figures).is_empty(), "{:?}", broken(&figures));
}
