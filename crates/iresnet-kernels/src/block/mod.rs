//! One residual block `y = x + h g(x)`, `g = W3 κ(W2 κ(W1 κ(x) + b1) + b2) + b3`.
//!
//! | module | what |
//! |---|---|
//! | `shape` | geometry, and the order of the flat weights |
//! | `plan` | weights packed for many calls |
//! | `forward` | forward passes, the branch, fixed-point steps |
//! | `jacobian` | products with the Jacobian of the branch and with its transpose |
//! | `backward` | gradients of input and weights |

mod backward;
mod forward;
mod jacobian;
mod plan;
mod shape;

pub(crate) use backward::{add_all, partitions};
pub use plan::{Affine, BlockPlan, Purpose};
pub use shape::BlockShape;
