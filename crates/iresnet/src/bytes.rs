//! Floats as bytes.

/// Little-endian.
pub(crate) fn of_floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Inverse of [`of_floats`], into `values`.
pub(crate) fn to_floats(bytes: &[u8], values: &mut [f32]) {
    for (to, bytes) in values.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *to = f32::from_le_bytes(*bytes);
    }
}
