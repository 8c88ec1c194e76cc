//! Tests that need what this machine lacks pass, and say so.

use std::io::Write;

/// Says that a test was skipped, and what is missing.
pub fn skipped(missing: &str) {
    // `eprintln` of a test that passes is not shown; this is.
    std::io::stderr().write_all(format!("skipped: {missing}\n").as_bytes()).unwrap();
}
