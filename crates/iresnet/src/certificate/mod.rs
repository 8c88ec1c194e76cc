//! What certificates are good for: radii within which a class cannot change, and the smallest repair of a network without
//! one.

mod finalize;
mod margin;

pub use finalize::{Finalized, NoRescaling, RescaledLayer, finalize};
pub use iresnet_flow::proof::{BlockBound, Certificate, LayerBound, Refused, Statement};
pub use margin::{Margins, Prediction, certified_accuracy, predictions};
