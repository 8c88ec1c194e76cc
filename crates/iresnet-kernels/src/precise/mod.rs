//! One residual branch in float64, with a bound on its own rounding: what proofs about float32 results rest on.
//!
//! A bound on the rounding of a float32 evaluation that holds for every network would have to assume that all terms of a
//! sum are rounded the same way, which makes it a thousand times too large to be of use. In float64 such a bound is far
//! below float32's last place, so one evaluation here says what an evaluation there is off by.
//!
//! | module | what |
//! |---|---|
//! | `block` | the branch, and products with its Jacobian |
//! | `rounding` | the scale at which a stage rounds |
//! | `conv` | the convolution |

mod block;
mod conv;
mod rounding;

pub use block::PreciseBlock;
