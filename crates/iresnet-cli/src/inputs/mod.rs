//! What commands work on: data sets, and the images that a trained network is shown.

mod images;
mod split;

pub use images::{ImageArgs, Named, SHOWN};
pub use split::{load, load_for_run};
