//! `iresnet certify`: the proof, and what it is good for.

mod args;
mod command;
mod finalize;
mod margin;
mod proof;

pub use args::CertifyArgs;
pub use command::run;
pub use proof::certify;
