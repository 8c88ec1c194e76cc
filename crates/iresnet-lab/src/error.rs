//! Why a table or figure could not be made.

use iresnet::flow::line::LineError;
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
    /// The caller asked to stop.
    #[error("stopped; the same command goes on where it was")]
    Stopped,
}
