//! The scalar float64 reference is validated by known identities and finite differences, then every kernel against it,
//! on every level that this processor has.

use iresnet_kernels::reference::{NETWORK_BLOCKS, branch, convolve};
use iresnet_kernels::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

/// Pseudo-random values in [-1, 1).
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

/// `|a - b| / |b|`
fn relative(a: &[f32], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: f64 = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    let size: f64 = b.iter().map(|b| b * b).sum();
    (difference / size.max(1e-30)).sqrt()
}

#[derive(Clone, Debug)]
struct Case {
    shape: BlockShape,
    samples: usize,
    weights: Vec<f32>,
    affine: Option<[(Vec<f32>, Vec<f32>); 3]>,
    mask: Option<Vec<u16>>,
    images: Vec<f32>,
}

const KEPT: f32 = 1.0 / 0.9;

impl Case {
    fn new(shape: BlockShape, samples: usize, seed: u64, affine: bool, mask: bool) -> Self {
        let mut weights = values(shape.num_weights(), seed);
        for i in 0..3 {
            let fan_in = (shape.channels()[i].0 * shape.kernels[i] * shape.kernels[i]) as f32;
            weights[shape.places()[2 * i].clone()].iter_mut().for_each(|w| *w *= (3.0 / fan_in).sqrt());
        }
        let affine = affine.then(|| {
            [0, 1, 2].map(|i| {
                let channels = shape.channels()[i].0;
                let scale = values(channels, seed + 10 + i as u64).iter().map(|s| 1.0 + 0.5 * s).collect();
                (scale, values(channels, seed + 20 + i as u64))
            })
        });
        let positions = shape.bottleneck * shape.image.height * shape.image.width * samples.div_ceil(LANES);
        let mask = mask.then(|| values(positions, seed + 30).iter().map(|v| (v.abs() * 65535.0) as u16).collect());
        let images = values(samples * shape.image.len(), seed + 1);
        Case { shape, samples, weights, affine, mask, images }
    }

    fn packs(&self, images: &[f32]) -> Vec<f32> {
        let mut packs = vec![0.0; self.samples.div_ceil(LANES) * self.shape.image.pack_len()];
        pack(images, self.shape.image, &mut packs);
        packs
    }

    fn images(&self, packs: &[f32]) -> Vec<f32> {
        let mut images = vec![0.0; self.images.len()];
        unpack(packs, self.shape.image, &mut images);
        images
    }

    fn affine(&self) -> Option<[Affine<'_>; 3]> {
        self.affine.as_ref().map(|maps| maps.each_ref().map(|(scale, shift)| Affine { scale, shift }))
    }

    fn plan(&self, level: Level) -> BlockPlan {
        BlockPlan::with_level(&self.shape, &self.weights, self.affine(), Purpose::Training, level)
    }

    fn dropout(&self) -> Option<DropoutMask<'_>> {
        self.mask.as_ref().map(|bits| DropoutMask { bits, scale: KEPT })
    }

    /// A forward pass that keeps what the backward pass needs, and that one.
    fn backward(&self, plan: &BlockPlan, gradient: &mut [f32], weights: &mut [f32]) {
        let x = self.packs(&self.images);
        let (mut y, mut hidden) =
            (x.clone(), vec![0.0; x.len() / self.shape.image.pack_len() * self.shape.hidden_len()]);
        plan.forward(&x, &mut y, Some(&mut hidden), self.dropout());
        plan.backward(&x, &hidden, gradient, self.dropout(), weights);
    }

    /// `g` of all images in float64, with other weights or images.
    fn branch_at(&self, weights: &[f64], images: &[f64]) -> Vec<f64> {
        let affine = self.affine.as_ref().map(|maps| maps.each_ref().map(|(s, t)| (wide(s), wide(t))));
        let positions = self.shape.bottleneck * self.shape.image.height * self.shape.image.width;
        let one = |(n, image): (usize, &[f64])| {
            let mask: Option<Vec<f64>> = self.mask.as_ref().map(|bits| {
                let words = &bits[n / LANES * positions..][..positions];
                words.iter().map(|w| if w >> (n % LANES) & 1 == 1 { f64::from(KEPT) } else { 0.0 }).collect()
            });
            branch(&self.shape, weights, affine.as_ref(), mask.as_deref(), image)
        };
        images.chunks_exact(self.shape.image.len()).enumerate().flat_map(one).collect()
    }

    fn branch(&self) -> Vec<f64> {
        self.branch_at(&wide(&self.weights), &wide(&self.images))
    }
}

fn any_shape() -> impl Strategy<Value = (BlockShape, usize)> {
    let kernels = prop::sample::select(vec![[3, 1, 3], [3, 1, 3], [3, 3, 3], [1, 1, 1], [5, 1, 3], [1, 3, 5]]);
    let activations =
        prop::sample::select(vec![Activation::Relu, Activation::Elu, Activation::Softplus, Activation::LipSwish]);
    // Up to 18 channels: more than a vector's, and every kind of register tile.
    (1..19usize, 1..19usize, 1..11usize, 1..11usize, kernels, activations, any::<bool>(), 1..20usize).prop_map(
        |(channels, bottleneck, height, width, kernels, activation, activate_input, samples)| {
            let image = ImageShape { channels, height, width };
            (BlockShape { image, bottleneck, kernels, activation, activate_input, step: 0.75 }, samples)
        },
    )
}

fn config(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

/// float32 with float64 as the truth: rounding of sums of at most 13 * 25 products, three layers deep, and F(4x4)'s own.
const TOLERANCE: f64 = 3e-6;

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn forward_matches_the_reference((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool, mask: bool) {
        let case = Case::new(shape, samples, seed, affine, mask);
        let g = case.branch();
        let expected: Vec<f64> = g.iter().zip(&case.images).map(|(g, x)| f64::from(*x) + 0.75 * g).collect();
        for level in Level::available() {
            let plan = case.plan(level);
            let mut out = case.packs(&vec![0.0; case.images.len()]);
            plan.forward(&case.packs(&case.images), &mut out, None, case.dropout());
            prop_assert!(relative(&case.images(&out), &expected) < TOLERANCE, "{level:?}");
        }
    }

    #[test]
    fn branch_and_fixed_point_match_the_reference((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples.min(LANES), seed, affine, false);
        let g = case.branch();
        let y = values(case.images.len(), seed + 2);
        for level in Level::available() {
            let plan = case.plan(level);
            let (x, y_packs) = (case.packs(&case.images), case.packs(&y));
            let (mut out, mut workspace) = (vec![0.0; x.len()], Workspace::default());
            plan.branch_pack(&x, &mut out, &mut workspace);
            prop_assert!(relative(&case.images(&out), &g) < TOLERANCE, "{level:?}");
            let expected: Vec<f64> = g.iter().zip(&y).map(|(g, y)| f64::from(*y) - 0.75 * g).collect();
            let mut moved = x.clone();
            let steps = plan.fixed_point_pack(&y_packs, &mut moved, None, None, &mut workspace);
            prop_assert!(relative(&case.images(&moved), &expected) < TOLERANCE, "{level:?}");
            let len = shape.image.len();
            for (lane, step) in steps.iter().enumerate().take(case.samples) {
                let at = lane * len..(lane + 1) * len;
                let truth: f64 =
                    expected[at.clone()].iter().zip(&case.images[at]).map(|(n, o)| (n - f64::from(*o)).powi(2)).sum();
                prop_assert!((f64::from(*step) - truth).abs() <= 1e-4 * truth + 1e-9, "{level:?}: {step} {truth}");
            }
        }
    }

    #[test]
    fn float64_keeps_its_bounds((shape, samples) in any_shape(), seed in 0u64..1000, affine: bool) {
        let case = Case::new(shape, samples, seed, affine, false);
        let double = DoubleBlock::new(&shape, &case.weights, case.affine());
        let x = wide(&case.packs(&case.images));
        let mut out = x.clone();
        double.branch(&x, &mut out);
        let (g, len, pack) = (case.branch(), shape.image.len(), shape.image.pack_len());
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
        for n in 0..samples {
            let at = n * len..(n + 1) * len;
            let size = length(&mut wide(&case.images[at.clone()]).into_iter());
            let found = |i: usize| out[n / LANES * pack + i * LANES + n % LANES];
            // The reference rounds as well, in another order.
            let bound = 2.0 * double.rounding(size);
            let apart = length(&mut g[at.clone()].iter().enumerate().map(|(i, g)| found(i) - 0.75 * g));
            prop_assert!(apart <= bound, "{apart:e} {bound:e}");
            let magnitude = double.magnitude(size);
            prop_assert!(length(&mut g[at].iter().map(|g| 0.75 * g)) <= magnitude * (1.0 + 1e-12));
            prop_assert!(bound <= 1e-12 * magnitude, "of use beside float32");
        }
    }

    #[test]
    fn products_with_the_jacobian_are_adjoint_and_match_differences(
        (shape, samples) in any_shape(), seed in 0u64..1000, affine: bool,
    ) {
        let case = Case::new(shape, samples.min(LANES), seed, affine, false);
        let (v, c) = (values(case.images.len(), seed + 3), values(case.images.len(), seed + 4));
        // Central differences in float64; around a kink of ReLU they see both sides, hence the loose bound there.
        let eps = 1e-6;
        let moved = |sign: f64| -> Vec<f64> {
            let at: Vec<f64> = case.images.iter().zip(&v).map(|(x, v)| f64::from(*x) + sign * eps * f64::from(*v)).collect();
            case.branch_at(&wide(&case.weights), &at)
        };
        let difference: Vec<f64> =
            moved(1.0).iter().zip(&moved(-1.0)).map(|(a, b)| (a - b) / (2.0 * eps)).collect();
        for level in Level::available() {
            let plan = case.plan(level);
            let mut workspace = Workspace::default();
            let x = case.packs(&case.images);
            let (mut jv, mut jc) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            plan.jvp_pack(&x, &case.packs(&v), &mut jv, &mut workspace);
            plan.vjp_input_pack(&x, &case.packs(&c), &mut jc, &mut workspace);
            prop_assert!(relative(&case.images(&jv), &difference) < 1e-3, "{level:?}");
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let (one, other) = (dot(&case.images(&jv), &c), dot(&case.images(&jc), &v));
            let size = dot(&case.images(&jv), &case.images(&jv)).sqrt() * dot(&c, &c).sqrt();
            prop_assert!((one - other).abs() <= 1e-5 * size + 1e-9, "{level:?}: {one} {other}");
        }
    }

    #[test]
    fn weight_gradients_match_differences((shape, samples) in any_shape(), seed in 0u64..1000, mask: bool) {
        let case = Case::new(shape, samples, seed, false, mask);
        let c = values(case.images.len(), seed + 5);
        let direction = values(case.weights.len(), seed + 6);
        let eps = 1e-6;
        let loss = |sign: f64| -> f64 {
            let w: Vec<f64> =
                case.weights.iter().zip(&direction).map(|(w, d)| f64::from(*w) + sign * eps * f64::from(*d)).collect();
            0.75 * case.branch_at(&w, &wide(&case.images)).iter().zip(&c).map(|(g, c)| g * f64::from(*c)).sum::<f64>()
        };
        let difference = (loss(1.0) - loss(-1.0)) / (2.0 * eps);
        for level in Level::available() {
            let plan = case.plan(level);
            let mut gradient = case.packs(&c);
            let mut weights = vec![0.0; case.weights.len()];
            case.backward(&plan, &mut gradient, &mut weights);
            let along: f64 = weights.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let size: f64 = weights.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            prop_assert!((along - difference).abs() <= 1e-3 * size + 1e-6, "{level:?}: {along} {difference}");
        }
    }

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

    #[test]
    fn power_iteration_finds_the_norm(cin in 1..5usize, cout in 1..5usize, k in 0..3usize, h in 1..6usize, w in 1..6usize) {
        let shape = ConvShape { in_channels: cin, out_channels: cout, kernel: 2 * k + 1, height: h, width: w };
        let weight = values(cin * cout * (2 * k + 1) * (2 * k + 1), 4);
        let (mut u, mut v) = (values(shape.left_len(), 5), values(shape.right_len(), 6));
        let mut jobs =
            [PowerJob { weight: &weight, shape, u: &mut u, v: &mut v, iterations: 30, sigma: 0.0 }];
        power_iterations(&mut jobs);
        let sigma = f64::from(jobs[0].sigma);
        // u . (W * v) in float64 by the plain definition is the same number.
        let (eh, ew) = if k == 0 { (1, 1) } else { (h, w) };
        let wv = convolve(&wide(&v), &wide(&weight), &vec![0.0; cout], cin, cout, 2 * k + 1, eh, ew);
        let rayleigh: f64 = wv.iter().zip(&u).map(|(a, b)| a * f64::from(*b)).sum();
        prop_assert!((sigma - rayleigh).abs() < 1e-5 * rayleigh, "{sigma} {rayleigh}");
        // And it is <W, P>.
        let mut p = vec![0.0; weight.len()];
        outer_correlation(&u, &v, &shape, &mut p);
        let inner: f64 = weight.iter().zip(&p).map(|(w, p)| f64::from(*w) * f64::from(*p)).sum();
        prop_assert!((inner - rayleigh).abs() < 1e-5 * rayleigh, "{inner} {rayleigh}");
    }
}

fn block(channels: usize, bottleneck: usize, size: usize) -> BlockShape {
    BlockShape::paper(ImageShape { channels, height: size, width: size }, bottleneck)
}

#[test]
fn presets_are_accurate() {
    // The issue asks for 3e-6 relative L2.
    for (channels, bottleneck, size) in NETWORK_BLOCKS {
        let case = Case::new(block(channels, bottleneck, size), 2, 11, false, false);
        let expected = case.branch();
        let mut out = case.packs(&vec![0.0; case.images.len()]);
        let plan = case.plan(Level::current());
        plan.branch_pack(&case.packs(&case.images), &mut out, &mut Workspace::default());
        let error = relative(&case.images(&out), &expected);
        assert!(error < 3e-6, "{channels}/{bottleneck} at {size}: {error:e}");
    }
}

/// dL/d(input of a convolution) and dL/dw, dL/db from dL/d(its output), in float64 by the definition.
fn convolution_gradients(
    a: &[f64],
    d: &[f64],
    w: &[f64],
    (cin, cout): (usize, usize),
    k: usize,
    image: ImageShape,
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (h, width, half) = (image.height as isize, image.width as isize, (k / 2) as isize);
    let (mut da, mut dw) = (vec![0.0; a.len()], vec![0.0; w.len()]);
    let area = image.height * image.width;
    for o in 0..cout {
        for i in 0..cin {
            for tap in 0..k * k {
                let (ky, kx) = ((tap / k) as isize - half, (tap % k) as isize - half);
                let at = (o * cin + i) * k * k + tap;
                for y in 0.max(-ky)..h.min(h - ky) {
                    for x in 0.max(-kx)..width.min(width - kx) {
                        let out = o * area + (y * width + x) as usize;
                        let input = i * area + ((y + ky) * width + x + kx) as usize;
                        dw[at] += d[out] * a[input];
                        da[input] += d[out] * w[at];
                    }
                }
            }
        }
    }
    (da, dw, d.chunks_exact(area).map(|channel| channel.iter().sum()).collect())
}

/// Gradients of `sum of c . (x + h g(x))` with respect to x and the weights, in float64.
fn reference_gradients(case: &Case, c: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let (shape, places) = (&case.shape, case.shape.places());
    let (weights, kind) = (wide(&case.weights), case.shape.activation);
    let slope = |z: f64| match kind {
        Activation::Elu if z > 0.0 => 1.0,
        Activation::Elu => z.exp(),
        Activation::Softplus => 1.0 / (1.0 + (-z).exp()),
        other => unreachable!("{other:?} is not smooth or not used here"),
    };
    let (mut dx, mut dw) = (Vec::new(), vec![0.0; weights.len()]);
    for (image, c) in case.images.chunks_exact(shape.image.len()).zip(c.chunks_exact(shape.image.len())) {
        let mut z = vec![wide(image)];
        let activate = |z: &[f64]| z.iter().map(|z| reference::activate(kind, *z)).collect::<Vec<f64>>();
        for i in 0..2 {
            let (cin, cout) = shape.channels()[i];
            let (w, b) = (&weights[places[2 * i].clone()], &weights[places[2 * i + 1].clone()]);
            let (k, h, width) = (shape.kernels[i], shape.image.height, shape.image.width);
            z.push(convolve(&activate(&z[i]), w, b, cin, cout, k, h, width));
        }
        let mut d: Vec<f64> = c.iter().map(|c| f64::from(*c) * f64::from(shape.step)).collect();
        for i in (0..3).rev() {
            let w = &weights[places[2 * i].clone()];
            let (da, part, bias) =
                convolution_gradients(&activate(&z[i]), &d, w, shape.channels()[i], shape.kernels[i], shape.image);
            dw[places[2 * i].clone()].iter_mut().zip(&part).for_each(|(to, from)| *to += from);
            dw[places[2 * i + 1].clone()].iter_mut().zip(&bias).for_each(|(to, from)| *to += from);
            d = da.iter().zip(&z[i]).map(|(da, z)| da * slope(*z)).collect();
        }
        dx.extend(d.iter().zip(c).map(|(d, c)| d + f64::from(*c)));
    }
    (dx, dw)
}

#[test]
fn presets_have_accurate_gradients() {
    // Smooth activations: float32 and float64 disagree on which side of ReLU's kink a value as small as their rounding
    // lies, and one such value is a thousandth of a gradient.
    for (channels, bottleneck, size) in NETWORK_BLOCKS {
        for activation in [Activation::Elu, Activation::Softplus] {
            let shape = BlockShape { activation, ..block(channels, bottleneck, size) };
            let case = Case::new(shape, 2, 21, false, false);
            let c = values(case.images.len(), 22);
            let (dx, dw) = reference_gradients(&case, &c);
            let plan = case.plan(Level::current());
            let (mut gradient, mut weights) = (case.packs(&c), vec![0.0; case.weights.len()]);
            case.backward(&plan, &mut gradient, &mut weights);
            let (input, all) = (relative(&case.images(&gradient), &dx), relative(&weights, &dw));
            // What the issue asks for.
            assert!(input < 3e-6 && all < 3e-6, "{channels}/{bottleneck} at {size}: {input:e} {all:e}");
        }
    }
}

#[test]
fn gradients_are_the_first_term_of_taylors_series() {
    let shape = BlockShape { activation: Activation::Softplus, step: 0.75, ..block(16, 8, 6) };
    let case = Case::new(shape, 3, 23, false, true);
    let c = values(case.images.len(), 24);
    let plan = case.plan(Level::current());
    let (mut gradient, mut weights) = (case.packs(&c), vec![0.0; case.weights.len()]);
    case.backward(&plan, &mut gradient, &mut weights);
    let direction = wide(&values(case.weights.len(), 25));
    let along: f64 = weights.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
    let loss = |eps: f64| -> f64 {
        let w: Vec<f64> = case.weights.iter().zip(&direction).map(|(w, d)| f64::from(*w) + eps * d).collect();
        0.75 * case.branch_at(&w, &wide(&case.images)).iter().zip(&c).map(|(g, c)| g * f64::from(*c)).sum::<f64>()
    };
    // What is left falls with the square of the step, as long as it is above float32's rounding.
    let rest = |eps: f64| (loss(eps) - loss(0.0) - eps * along).abs();
    for eps in [4e-2, 2e-2, 1e-2] {
        let order = (rest(eps) / rest(eps / 2.0)).log2();
        assert!((order - 2.0).abs() < 0.2, "at {eps}: {order}");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_neighbours() {
    let case = Case::new(block(16, 4, 14), 37, 12, false, false);
    let plan = case.plan(Level::current());
    let mut together = case.packs(&vec![0.0; case.images.len()]);
    plan.forward(&case.packs(&case.images), &mut together, None, None);
    let together = case.images(&together);
    let len = case.shape.image.len();
    for n in [0, 15, 16, 36] {
        let alone = Case { samples: 1, images: case.images[n * len..(n + 1) * len].to_vec(), ..case.clone() };
        let mut out = alone.packs(&vec![0.0; len]);
        plan.forward(&alone.packs(&alone.images), &mut out, None, None);
        assert_eq!(alone.images(&out), together[n * len..(n + 1) * len], "sample {n}, bit for bit");
    }
}

#[test]
fn gradients_do_not_depend_on_the_number_of_threads() {
    // Direct and transformed weight gradients.
    for (channels, bottleneck, size) in [(16, 4, 14), (24, 12, 7)] {
        let case = Case::new(block(channels, bottleneck, size), 100, 13, false, true);
        let plan = case.plan(Level::current());
        let affine: Vec<f32> = values(2 * (channels + 2 * bottleneck), 15).iter().map(|v| 1.0 + 0.3 * v).collect();
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (mut gradient, mut weights) = (case.packs(&case.images), vec![0.0; case.weights.len()]);
                case.backward(&plan, &mut gradient, &mut weights);
                let x = case.packs(&case.images);
                let (mut y, mut through, mut dw, mut da) = (x.clone(), x.clone(), weights.clone(), affine.clone());
                let tape = plan.forward_batchnorm(&x, &mut y, case.samples, &affine, case.dropout());
                plan.backward_batchnorm(&x, &tape, &affine, &mut through, case.dropout(), &mut dw, &mut da);
                (gradient, weights, y, through, dw, da)
            })
        };
        assert_eq!(run(1), run(3));
    }
}

#[test]
fn batch_norm_gradients_match_differences() {
    for activate_input in [true, false] {
        let shape = BlockShape { activate_input, activation: Activation::Elu, ..block(5, 3, 6) };
        let case = Case::new(shape, 19, 14, false, true);
        let first = if activate_input { 0 } else { 1 };
        let len: usize = shape.channels()[first..].iter().map(|c| 2 * c.0).sum();
        let affine: Vec<f32> = values(len, 15).iter().map(|v| 1.0 + 0.3 * v).collect();
        let c = values(case.images.len(), 16);
        // The composition in float64 by the definition: statistics over the batch before every κ.
        let loss = |w: &[f64], affine: &[f64], images: &[f64]| -> f64 {
            let (area, n) = (36, case.samples);
            let mut z: Vec<Vec<f64>> = images.chunks_exact(shape.image.len()).map(<[f64]>::to_vec).collect();
            let mut at = 0;
            for i in 0..3 {
                let (cin, cout) = shape.channels()[i];
                if i >= first {
                    let (gamma, beta) = (&affine[at..at + cin], &affine[at + cin..at + 2 * cin]);
                    at += 2 * cin;
                    for ch in 0..cin {
                        let all = || z.iter().flat_map(|z| &z[ch * area..(ch + 1) * area]);
                        let mean = all().sum::<f64>() / (n * area) as f64;
                        let var = all().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * area) as f64;
                        for z in &mut z {
                            for v in &mut z[ch * area..(ch + 1) * area] {
                                *v = reference::activate(
                                    shape.activation,
                                    (*v - mean) / (var + 1e-5).sqrt() * gamma[ch] + beta[ch],
                                );
                            }
                        }
                    }
                }
                let places = shape.places();
                for (s, z) in z.iter_mut().enumerate() {
                    if i == 2 {
                        let words = &case.mask.as_ref().unwrap()[s / LANES * 3 * area..][..3 * area];
                        for (v, w) in z.iter_mut().zip(words) {
                            *v *= if w >> (s % LANES) & 1 == 1 { f64::from(KEPT) } else { 0.0 };
                        }
                    }
                    *z = convolve(
                        z,
                        &w[places[2 * i].clone()],
                        &w[places[2 * i + 1].clone()],
                        cin,
                        cout,
                        shape.kernels[i],
                        6,
                        6,
                    );
                }
            }
            z.concat().iter().zip(images).zip(&c).map(|((g, x), c)| (x + g) * f64::from(*c)).sum()
        };
        let plan = case.plan(Level::current());
        let x = case.packs(&case.images);
        let mut y = vec![0.0; x.len()];
        let tape = plan.forward_batchnorm(&x, &mut y, case.samples, &affine, case.dropout());
        let value: f64 = case.images(&y).iter().zip(&c).map(|(y, c)| f64::from(*y) * f64::from(*c)).sum();
        let (w, a, p) = (wide(&case.weights), wide(&affine), wide(&case.images));
        assert!((value - loss(&w, &a, &p)).abs() < 1e-3, "{value} {}", loss(&w, &a, &p));
        let mut gradient = case.packs(&c);
        let (mut dw, mut da) = (vec![0.0; w.len()], vec![0.0; a.len()]);
        plan.backward_batchnorm(&x, &tape, &affine, &mut gradient, case.dropout(), &mut dw, &mut da);
        let dx = case.images(&gradient);
        let eps = 1e-6;
        let check = |name: &str, gradient: &[f32], at: &dyn Fn(&[f64]) -> f64| {
            let direction = wide(&values(gradient.len(), 17));
            let along: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(*g) * d).sum();
            let scaled = |s: f64| direction.iter().map(|d| s * d).collect::<Vec<f64>>();
            let difference = (at(&scaled(eps)) - at(&scaled(-eps))) / (2.0 * eps);
            let size = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            assert!((along - difference).abs() < 1e-4 * size + 1e-5, "{name}: {along} {difference}");
        };
        let plus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<f64>>();
        check("weights", &dw, &|d| loss(&plus(&w, d), &a, &p));
        check("affine", &da, &|d| loss(&w, &plus(&a, d), &p));
        check("input", &dx, &|d| loss(&w, &a, &plus(&p, d)));
    }
}
