//! The lanes of a pack: one value of each of sixteen images.

/// Images side by side in one pack.
pub const LANES: usize = 16;

/// One value of each of the [`LANES`] images.
pub(crate) type V = [f32; LANES];

/// A flat slice as vectors.
pub(crate) fn vectors(slice: &[f32]) -> &[V] {
    let (vectors, rest) = slice.as_chunks::<LANES>();
    assert!(rest.is_empty(), "a pack has a multiple of {LANES} values");
    vectors
}

/// A flat slice as vectors, mutable.
pub(crate) fn vectors_mut(slice: &mut [f32]) -> &mut [V] {
    let (vectors, rest) = slice.as_chunks_mut::<LANES>();
    assert!(rest.is_empty(), "a pack has a multiple of {LANES} values");
    vectors
}
