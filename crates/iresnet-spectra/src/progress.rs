//! How far a piece of work is.

/// Called with units done and units in all, from any thread; `None` where nobody listens.
pub type Progress<'a> = Option<&'a (dyn Fn(usize, usize) + Sync)>;

/// Tells whoever listens.
pub fn tell(progress: Progress<'_>, done: usize, all: usize) {
    if let Some(listener) = progress {
        listener(done, all);
    }
}
