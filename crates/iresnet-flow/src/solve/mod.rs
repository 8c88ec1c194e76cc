//! Solving `x + g(x) = y` for many samples at once, each to its own accuracy, each with its own outcome.
//!
//! Samples lie side by side in packs of [`LANES`]. A solver ([`Picard`], [`Anderson`]) only makes steps; one loop owns
//! limits, finiteness and convergence, per lane. All arithmetic is per lane: a sample's result is the same, bit for bit,
//! whatever else is in the batch.
//!
//! ```
//! use iresnet_flow::solve::{Branch, Picard, Stop, solve};
//! use iresnet_flow::{Batch, ImageShape, vector};
//!
//! /// `g(x) = x / 2`
//! struct Half;
//!
//! impl Branch<f64> for Half {
//!     fn shape(&self) -> ImageShape {
//!         vector(1)
//!     }
//!     fn value(&self, x: &[f64], out: &mut [f64]) {
//!         out.iter_mut().zip(x).for_each(|(out, x)| *out = x / 2.0);
//!     }
//!     fn lipschitz(&self) -> Option<f64> {
//!         Some(0.5)
//!     }
//! }
//!
//! // x + x / 2 = 3
//! let y = Batch::pack(&[3.0], vector(1));
//! let solved = solve(&Half, &y, &Picard, Stop { tolerance: Some(1e-9), max_iterations: 100 })?;
//! assert!((solved.x.unpack()[0] - 2.0).abs() <= solved.reports[0].error_bar.unwrap());
//! # Ok::<(), iresnet_flow::solve::Contradiction>(())
//! ```
//!
//! # Error bars
//! With `Lip(g) <= L < 1`, for any iterate `x` (from the paper's equation 3):
//! `||x - x*|| <= ||x + g(x) - y|| / (1 - L)`. A step of the plain iteration from `x` has length `||x + g(x) - y||`,
//! so the bar of the new iterate is `L / (1 - L)` times the step. Round-off adds about
//! `eps max(||x||, ||y||) / (1 - L)`, below which no iteration gets. That part is an estimate: sums of many terms that
//! all round the same way can be off by more. The error bars of a certified network ([`crate::proof`]) need no estimate.

mod accuracy;
mod anderson;
mod branch;
pub(crate) mod lanes;
mod picard;
mod refine;
mod report;
mod shares;
mod solver;

pub use crate::LANES;
pub use accuracy::{Solved, solve};
pub use anderson::Anderson;
pub use branch::Branch;
pub use picard::Picard;
pub(crate) use refine::solve_by;
pub use report::{Contradiction, Outcome, SampleReport, ToleranceOn};
pub use shares::tolerance_shares;
pub use solver::{SolveBy, Solver, Stepper, Stop};

#[cfg(test)]
mod tests;
