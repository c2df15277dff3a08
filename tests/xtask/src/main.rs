//! `xtask generate` writes every generated file that is stale; `xtask check` names them and fails.
#![allow(clippy::print_stdout)]

use anyhow::{Result, bail};
use std::path::Path;

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    match std::env::args().nth(1).as_deref() {
        Some("generate") => {
            for path in xtask::generate(&root)? {
                println!("wrote {path}");
            }
        }
        Some("check") => {
            let stale = xtask::stale(&root)?;
            if !stale.is_empty() {
                bail!("stale generated files (run `make generate` and commit): {}", stale.join(", "));
            }
            println!("generated files are fresh");
        }
        _ => bail!("usage: xtask generate | check"),
    }
    Ok(())
}
