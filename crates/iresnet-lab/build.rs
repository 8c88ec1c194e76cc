//! Tells the crate, as `IRESNET_SOURCES`, the checksum of the source code that its results depend on.

use std::path::Path;

#[path = "src/sources.rs"]
mod sources;

fn main() {
    let package = std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package lies");
    let crates = Path::new(&package).parent().expect("a package lies in a folder");
    // Present in the workspace only. A crate that joins it changes this file, so that the folders are listed anew.
    let lock = crates.with_file_name("Cargo.lock");
    let folders = sources::folders(crates).unwrap_or_else(|error| panic!("cannot list {}: {error}", crates.display()));
    let lock_if_any = lock.is_file().then_some(&lock);
    for path in folders.iter().chain(lock_if_any) {
        println!("cargo::rerun-if-changed={}", path.display());
    }
    let checksum = sources::checksum(crates, &lock)
        .unwrap_or_else(|error| panic!("cannot read the sources in {}: {error}", crates.display()));
    println!("cargo::rustc-env=IRESNET_SOURCES={checksum}");
}
