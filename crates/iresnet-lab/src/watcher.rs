//! Who is told while a report is made.

use iresnet::model::Norm;
use iresnet::train::{Observer, RunError};

/// Told what goes on; results from the cache are not told of.
pub trait Watcher: Sync {
    /// The observer of what is left of a network's training, number `place` of [`crate::networks::MODELS`], if anything is.
    /// Other trainings have `later` epochs to make after it.
    fn training(&self, place: usize, norm: Norm, later: usize) -> impl Observer;
    /// A network's loss stopped being a number.
    fn diverged(&self, _norm: Norm, _error: &RunError) {}
    /// `done` units of `all` of the work `what` are done; the first call has none done.
    fn work(&self, _what: &str, _done: usize, _all: usize) {}
    /// The work `what` is done.
    fn made(&self, _what: &str) {}
}

impl Watcher for () {
    fn training(&self, _place: usize, _norm: Norm, _later: usize) -> impl Observer {}
}
