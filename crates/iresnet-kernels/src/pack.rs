//! Images in NCHW to packs and back, and the 2x2 downsampling on packs.

use rayon::prelude::*;

use crate::lane::LANES;
use crate::shape::ImageShape;

/// Images in NCHW become packs `[c][y][x][16]`; unused lanes are zero.
///
/// # Panics
/// If the slices do not hold whole images and `ceil(n / 16)` packs.
pub fn pack<T: Copy + Default + Send + Sync>(images: &[T], shape: ImageShape, packs: &mut [T]) {
    let len = shape.len();
    assert_eq!(images.len() % len, 0, "whole images of {len} values");
    assert_eq!(packs.len(), (images.len() / len).div_ceil(LANES) * shape.pack_len(), "values of the packs");
    packs.par_chunks_mut(shape.pack_len()).zip(images.par_chunks(LANES * len)).for_each(|(pack, images)| {
        let vectors = pack.as_chunks_mut::<LANES>().0;
        if images.len() < LANES * len {
            vectors.fill([T::default(); LANES]);
        }
        for (lane, image) in images.chunks_exact(len).enumerate() {
            for (vector, value) in vectors.iter_mut().zip(image) {
                vector[lane] = *value;
            }
        }
    });
}

/// Packs become images in NCHW; unused lanes are dropped.
///
/// # Panics
/// If the slices do not hold whole images and `ceil(n / 16)` packs.
pub fn unpack<T: Copy + Send + Sync>(packs: &[T], shape: ImageShape, images: &mut [T]) {
    let len = shape.len();
    assert_eq!(images.len() % len, 0, "whole images of {len} values");
    assert_eq!(packs.len(), (images.len() / len).div_ceil(LANES) * shape.pack_len(), "values of the packs");
    images.par_chunks_mut(LANES * len).zip(packs.par_chunks(shape.pack_len())).for_each(|(images, pack)| {
        for (lane, image) in images.chunks_exact_mut(len).enumerate() {
            for (value, vector) in image.iter_mut().zip(pack.as_chunks::<LANES>().0) {
                *value = vector[lane];
            }
        }
    });
}

/// 2x2 space to depth on packs, in PyTorch's channel order `4 c + 2 dy + dx`; `shape` is the larger image.
///
/// # Panics
/// If height or width is odd.
pub fn pixel_unshuffle<T: Copy + Send + Sync>(packs: &[T], shape: ImageShape, out: &mut [T]) {
    move_pixels(packs, shape, out, |large, small| (small, large));
}

/// Inverse and adjoint of [`pixel_unshuffle`]; `shape` is the larger image.
///
/// # Panics
/// If height or width is odd.
pub fn pixel_shuffle<T: Copy + Send + Sync>(packs: &[T], shape: ImageShape, out: &mut [T]) {
    move_pixels(packs, shape, out, |large, small| (large, small));
}

/// Moves every value to a place in `out` from one in `packs`, which `between` names by those in the larger and in the smaller
/// image.
fn move_pixels<T: Copy + Send + Sync>(
    packs: &[T],
    shape: ImageShape,
    out: &mut [T],
    between: impl Fn(usize, usize) -> (usize, usize) + Sync,
) {
    assert!(
        shape.height.is_multiple_of(2) && shape.width.is_multiple_of(2),
        "2x2 blocks need even sizes, not {shape:?}"
    );
    assert_eq!(packs.len(), out.len(), "values of both");
    let moves = out.par_chunks_mut(shape.pack_len()).zip(packs.par_chunks(shape.pack_len()));
    moves.for_each(|(out, pack)| {
        let (to, from) = (out.as_chunks_mut::<LANES>().0, pack.as_chunks::<LANES>().0);
        each_pixel(shape, |large, small| {
            let (place, origin) = between(large, small);
            to[place] = from[origin];
        });
    });
}

/// Calls `visit` with the place of each value in the larger and in the smaller image.
fn each_pixel(shape: ImageShape, mut visit: impl FnMut(usize, usize)) {
    let (height, width) = (shape.height / 2, shape.width / 2);
    for c in 0..shape.channels {
        for y in 0..shape.height {
            for x in 0..shape.width {
                let channel = 4 * c + 2 * (y % 2) + x % 2;
                visit((c * shape.height + y) * shape.width + x, (channel * height + y / 2) * width + x / 2);
            }
        }
    }
}
