//! Names the commit that the program is made from, where there is one.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    // Looking must not touch the index, which would make this run again.
    let output = Command::new("git")
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_string())
}

fn main() {
    let version = std::env::var("CARGO_PKG_VERSION").expect("cargo sets it");
    // A commit only of this project, not of one that it lies in.
    let inside = git(&["ls-files", "--error-unmatch", "build.rs"]).is_some();
    let commit = git(&["rev-parse", "--short=7", "HEAD"]).filter(|_| inside);
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| !changes.is_empty());
    let version = match commit {
        Some(commit) if changed => format!("{version} ({commit}, changed)"),
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo:rustc-env=IRESNET_VERSION={version}");
    for file in ["logs/HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    // All crates, and what is compiled into them.
    for path in ["..", "../../configs", "../../Cargo.toml", "../../Cargo.lock"] {
        println!("cargo:rerun-if-changed={path}");
    }
}
