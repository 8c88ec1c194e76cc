//! Buffers that passes reuse: allocating them once a call costs more than a narrow block.

use std::cell::RefCell;

use crate::lane::{LANES, V, vectors_mut};

/// Bytes of a cache line; a vector that straddles two costs two loads.
const LINE: usize = 64;

/// Vectors that begin at a cache line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer(Vec<f32>);

impl Buffer {
    /// `len` vectors; contents are whatever was there.
    pub(crate) fn sized(&mut self, len: usize) -> &mut [V] {
        let values = (len + 1) * LANES;
        if self.0.len() < values {
            self.0 = vec![0.0; values];
        }
        let skip = self.0.as_ptr().align_offset(LINE);
        vectors_mut(&mut self.0[skip..skip + len * LANES])
    }
}

/// Buffers of one convolution.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// A bordered input.
    pub plane: Buffer,
    /// Tiles of Winograd's transforms.
    pub transforms: Buffer,
}

/// Buffers of one thread, grown on demand.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// Outputs of the first two convolutions.
    pub(crate) hidden: Buffer,
    /// Cotangents, or tangents, on the way.
    pub(crate) cotangents: [Buffer; 2],
    /// Sums of weight gradients, one a convolution.
    pub(crate) sums: [Buffer; 3],
    pub(crate) scratch: Scratch,
}

/// Runs `f` with this thread's own workspace.
///
/// # Panics
/// If `f` calls this again, or waits for tasks of the thread pool that do.
pub fn with_workspace<T>(f: impl FnOnce(&mut Workspace) -> T) -> T {
    thread_local! {
        static WORKSPACE: RefCell<Workspace> = RefCell::default();
    }
    WORKSPACE.with_borrow_mut(f)
}
