//! Keeps functions for C that the libraries bring (those of crc-fast) from being exported: the daemon and other plugins are in the
//! same process.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,--exclude-libs,ALL");
}
