//! `iresnet bench`: a subcommand for each thing that is timed, with the options that mean something to it.

mod block;
mod command;
mod forward;
mod inverse;
mod network;
mod norms;
mod step;
mod timing;

pub use command::{BenchArgs, run};
