//! How far a piece of work is.

pub use iresnet::Progress;

/// Tells whoever listens.
pub(crate) fn tell(progress: Progress<'_>, done: usize, all: usize) {
    if let Some(listener) = progress {
        listener(done, all);
    }
}
