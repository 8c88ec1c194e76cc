//! Packing and the downsampling on packs.

use iresnet_kernels::*;
use proptest::prelude::*;

use crate::common::*;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn packing_and_shuffling_are_undone(c in 1..6usize, h in 1..5usize, w in 1..5usize, n in 1..40usize) {
        let large = ImageShape { channels: c, height: 2 * h, width: 2 * w };
        let small = ImageShape { channels: 4 * c, height: h, width: w };
        let images = values(n * large.len(), 3);
        let mut packs = vec![1.0; n.div_ceil(LANES) * large.pack_len()];
        pack(&images, large, &mut packs);
        let (mut down, mut up) = (vec![0.0; packs.len()], vec![0.0; packs.len()]);
        pixel_unshuffle(&packs, large, &mut down);
        pixel_shuffle(&down, large, &mut up);
        prop_assert_eq!(&up, &packs);
        let mut unshuffled = vec![0.0; images.len()];
        unpack(&down, small, &mut unshuffled);
        // PyTorch's definition: out[4 c + 2 dy + dx, y, x] = in[c, 2 y + dy, 2 x + dx].
        for (at, value) in unshuffled.iter().enumerate() {
            let (image, rest) = (at / small.len(), at % small.len());
            let (channel, y, x) = (rest / (h * w), rest / w % h, rest % w);
            let (dy, dx) = (channel / 2 % 2, channel % 2);
            let from = (channel / 4 * 2 * h + 2 * y + dy) * 2 * w + 2 * x + dx;
            prop_assert_eq!(*value, images[image * large.len() + from]);
        }
    }
}
