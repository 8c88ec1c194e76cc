//! The paper's tables and figures: one file each, a function from trained networks to a typed, serialisable result.
//!
//! [`mod@reproduce`] makes a [`report`] of them: [`networks`] trains what is missing, [`result_cache`] saves results so
//! that nothing is computed twice. A report is rendered as HTML, Markdown and JSON.
//!
//! | module | what |
//! | --- | --- |
//! | [`networks`] | the six networks, trained where they are missing |
//! | [`table1`] | error, reconstruction error and guarantee |
//! | [`figure1`] | trajectories on the line |
//! | [`figure2`] | norms of all convolutions |
//! | [`figure3`], [`figure4`] | reconstructions, and their errors against iterations |
//! | [`timing`] | seconds of a forward pass and of inverses |
//! | [`round_trip`] | images to latents and back, which the figures and times share |
//! | [`mod@reproduce`], [`watcher`] | all of them in one call, and who is told meanwhile |
//! | [`result_cache`] | results on disk, each with what it was made from |
//! | [`report`], [`chart`] | how results are shown |

pub mod chart;
mod error;
pub mod figure1;
pub mod figure2;
pub mod figure3;
pub mod figure4;
mod markup;
pub mod networks;
mod progress;
pub mod report;
pub mod reproduce;
pub mod result_cache;
pub mod round_trip;
#[cfg(test)]
mod sources;
pub mod table1;
pub mod timing;
pub mod watcher;

pub use error::LabError;
pub use progress::Progress;
