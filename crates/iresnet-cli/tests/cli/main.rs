//! The command line as a user meets it: results, exit codes, and messages for everything that can go wrong.

mod bench;
mod certificates;
mod common;
mod files;
mod output;
mod reproduce;
mod runs;
mod training;
mod usage;
