//! That the models are as good as is promised, on the public data: where these are.

use harness::require::missing_means_skip;
use insight_bench::{Data, report};
use std::path::PathBuf;

/// Names the directory of the public data; docs/insight.md says where they are from.
const DATA: &str = "CLOUDSNOOZE_DATA";

#[test]
fn every_bar_is_kept_on_the_public_data() {
    let Some(directory) = std::env::var_os(DATA).map(PathBuf::from) else {
        missing_means_skip(&format!("the scores on public data: {DATA} names no directory that holds them"));
        return;
    };
    let report = report::all(&Data::open(&directory).unwrap()).unwrap();
    assert!(report.is_good(), "{}", report.text());
}
