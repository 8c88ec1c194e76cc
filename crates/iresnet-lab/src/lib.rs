//! The paper's tables and figures: one file each, a function from trained networks to a typed, serialisable result.
//!
//! [`mod@reproduce`] makes a [`report`] of them: [`networks`] trains what is missing, [`kept`] saves results so that nothing
//! is computed twice. A report is rendered as HTML, Markdown and JSON.

pub mod chart;
pub mod figure1;
pub mod figure2;
pub mod figure3;
pub mod figure4;
pub mod inversion;
pub mod kept;
pub mod networks;
pub mod report;
pub mod reproduce;
pub mod table1;
pub mod timing;

use iresnet::residual::LineError;
use iresnet::solve::Contradiction;
use iresnet::train::RunError;

/// Why a table or figure could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A run failed, or a file could not be read or written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A solver refuted a certificate.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// The one-dimensional networks could not be trained.
    #[error(transparent)]
    Line(#[from] LineError),
    /// It was asked to stop.
    #[error("stopped; the same command goes on where it was")]
    Stopped,
}

/// Told how far a piece of work is: units done, units in all.
pub type Progress<'a> = &'a dyn Fn(usize, usize);
