//! What a command puts out: lines on standard output and standard error, and folders for files.
//!
//! A failed write never ends the work: `main` asks at the end what went wrong on standard output. Standard error is for
//! people, and nobody is told that it is closed.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, anyhow};
use serde::Serialize;

/// A line of results on standard output.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::write(format_args!("{}\n", format_args!($($text)*))) };
}

/// A line for people on standard error.
macro_rules! say {
    ($($text:tt)*) => { $crate::output::write_error(format_args!("{}\n", format_args!($($text)*))) };
}

pub(crate) use {out, say};

/// The first failure of a write to standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Remembers a failed write to standard output; nothing is written after one.
pub fn remember(written: io::Result<()>) {
    let mut failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    if failure.is_none() {
        *failure = written.err();
    }
}

/// Writes to standard output, unless that failed before.
pub fn write(text: Arguments) {
    let failed = FAILURE.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    if !failed {
        remember(io::stdout().lock().write_fmt(text));
    }
}

/// Writes to standard error, in one piece.
pub fn write_error(text: Arguments) {
    _ = io::stderr().lock().write_all(text.to_string().as_bytes());
}

/// Prints one line of JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    out!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Ends the output.
///
/// # Errors
/// What could not be written, but for a reader that has seen enough, such as `head`.
pub fn finish() -> io::Result<()> {
    remember(io::stdout().lock().flush());
    let failure = FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take();
    failure.filter(|error| error.kind() != ErrorKind::BrokenPipe).map_or(Ok(()), Err)
}

/// Makes the folder for a command's results.
pub fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| anyhow!("cannot make the folder {}: {error}", path.display()))
}
