//! A training set and a test set.

use crate::dataset::Dataset;
use crate::input::Input;
use crate::normalization::Normalization;

/// Ends the name of an image folder's data.
pub const FOLDER: &str = " (image folder)";

/// A training set, a test set and what belongs to both.
#[derive(Clone, Debug)]
pub struct Split {
    /// `digits`, `mnist`, `cifar10`, or the folder's name followed by `(image folder)`.
    pub name: String,
    /// For training.
    pub train: Dataset,
    /// For testing.
    pub test: Dataset,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// How bytes become the network's input.
    pub normalization: Normalization,
}

impl Split {
    /// What a network for these images is fed.
    pub fn input(&self) -> Input {
        let [channels, height, width] = self.train.shape;
        Input { channels, height, width, classes: self.classes.len() }
    }
}
