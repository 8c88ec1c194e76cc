//! How far long work has come.

/// Hears the units done and the units in all, here bytes; `None` for nobody who listens.
pub type Progress<'a> = Option<&'a (dyn Fn(usize, usize) + Sync)>;
