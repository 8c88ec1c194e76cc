//! Where everything lies: the geometry of a network and the place of each parameter in its flat arena.
//!
//! All trainable parameters of the trunk live in one slice, block after block, so that one fused operation, one
//! optimiser update and one checkpoint entry serve them all. The names are those of the PyTorch peer's `state_dict`.

use std::borrow::Cow;
use std::ops::Range;

use iresnet_kernels::{BlockShape, ImageShape};

use ndarray::{Array4, ArrayView4};

use crate::config::{ConfigError, ModelConfig, Norm};
use crate::data::Input;

/// One convolution of a block.
#[derive(Clone, Debug)]
pub struct Conv {
    /// `stages.0.blocks.3.conv2`
    pub name: String,
    /// Output channels.
    pub out_channels: usize,
    /// Input channels.
    pub in_channels: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Height of the images it sees.
    pub height: usize,
    /// Width of the images it sees.
    pub width: usize,
    /// Place of the weights, `[out, in, ky, kx]`.
    pub weight: Range<usize>,
    /// Place of the biases, `[out]`.
    pub bias: Range<usize>,
}

/// One BatchNorm of a block.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// `stages.0.blocks.3.norm2`
    pub name: String,
    /// Place of the scales in the trunk's parameters.
    pub scale: Range<usize>,
    /// Place of the shifts in the trunk's parameters.
    pub shift: Range<usize>,
    /// Place in the running statistics.
    pub statistics: Range<usize>,
}

/// One residual block.
#[derive(Clone, Debug)]
pub struct Block {
    /// `stages.0.blocks.3`
    pub name: String,
    /// What the kernels need to know.
    pub shape: BlockShape,
    /// Place of the log-scales and shifts of the ActNorm before it, if there is one.
    pub actnorm: Option<Range<usize>>,
    /// Place of `w1, b1, w2, b2, w3, b3`.
    pub weights: Range<usize>,
    /// The three convolutions.
    pub convs: [Conv; 3],
    /// The three BatchNorms (none without `norm = batch`; the network's first block has no first one).
    pub norms: [Option<BatchNorm>; 3],
    /// Place of scales and shifts behind the weights: `scale, shift` of each norm there is.
    pub affine: Range<usize>,
}

impl Block {
    /// Place of all its parameters.
    pub fn parameters(&self) -> Range<usize> {
        self.actnorm.as_ref().map_or(self.weights.start, |actnorm| actnorm.start)..self.affine.end
    }
}

/// One stage: blocks at one image size.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Size of the images in it.
    pub image: ImageShape,
    /// Middle width of its blocks.
    pub bottleneck: usize,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

/// What a network does next to the images behind its padding.
#[derive(Clone, Copy, Debug)]
pub enum Next<'a> {
    /// Downsamples images of this shape.
    Squeeze(ImageShape),
    /// Scales and shifts the channels of images of this shape by parameters in this place.
    ActNorm(ImageShape, &'a Range<usize>),
    /// Runs a block, which has this number in the network.
    Block(usize, &'a Block),
}

/// The geometry of a whole network.
#[derive(Clone, Debug)]
pub struct Layout {
    /// What the network is fed.
    pub input: Input,
    /// The input behind the injective padding.
    pub padded: ImageShape,
    /// The stages.
    pub stages: Vec<Stage>,
    /// Length of the trunk's parameters.
    pub trunk_len: usize,
    /// Length of the running means (and of the variances) of the trunk's BatchNorms.
    pub statistics_len: usize,
    /// Shape of the latent.
    pub latent: ImageShape,
}

impl Layout {
    /// How many images these are.
    ///
    /// # Panics
    /// If they are not whole.
    pub fn samples(&self, images: &[f32]) -> usize {
        let len = self.input.len();
        assert!(images.len().is_multiple_of(len), "{} values are no whole images of {len}", images.len());
        images.len() / len
    }

    /// Shape of an image before the padding.
    pub fn image(&self) -> ImageShape {
        let Input { channels, height, width, .. } = self.input;
        ImageShape { channels, height, width }
    }

    /// Values of as many images or latents of `shape` as an array.
    pub(crate) fn array(&self, values: Vec<f32>, shape: ImageShape) -> Array4<f32> {
        let n = values.len() / shape.len();
        Array4::from_shape_vec((n, shape.channels, shape.height, shape.width), values).expect("whole samples")
    }

    /// The values of `array`, which must be of `shape`.
    pub(crate) fn checked<'a>(&self, array: ArrayView4<'a, f32>, shape: ImageShape, what: &str) -> Cow<'a, [f32]> {
        let (_, c, h, w) = array.dim();
        let wanted = [shape.channels, shape.height, shape.width];
        assert_eq!([c, h, w], wanted, "channels, height and width of the {what} and of the network");
        match array.to_slice() {
            Some(values) => values.into(),
            None => array.iter().copied().collect::<Vec<f32>>().into(),
        }
    }

    /// A view `[n, channels, height, width]` of images, one after the other.
    ///
    /// # Panics
    /// If these are not whole images.
    pub fn view<'a>(&self, images: &'a [f32]) -> ArrayView4<'a, f32> {
        let Input { channels, height, width, .. } = self.input;
        ArrayView4::from_shape((self.samples(images), channels, height, width), images).expect("whole images")
    }

    /// Latents, one after the other, as an array `[n, C, H, W]`.
    ///
    /// # Panics
    /// If these are not whole latents.
    pub fn latents(&self, values: Vec<f32>) -> Array4<f32> {
        self.array(values, self.latent)
    }

    /// Lays out the network `config` for `input`.
    ///
    /// # Errors
    /// An unusable configuration, or an image size that cannot be halved as often as there are stages.
    pub fn new(config: &ModelConfig, input: Input) -> Result<Self, ConfigError> {
        config.validate()?;
        if input.channels == 0 || input.height == 0 || input.width == 0 || input.classes == 0 {
            let value = format!("{}x{}x{}, {} classes", input.channels, input.height, input.width, input.classes);
            return Err(ConfigError::value("input", value, "at least one channel, pixel and class"));
        }
        let padded =
            ImageShape { channels: config.padded_channels(input.channels), height: input.height, width: input.width };
        let mut cursor = Cursor::default();
        let mut image = padded;
        let mut stages = Vec::new();
        for (s, &num_blocks) in config.blocks.iter().enumerate() {
            if s > 0 {
                if image.height % 2 == 1 || image.width % 2 == 1 {
                    return Err(ConfigError::OddSize {
                        stage: s + 1,
                        height: image.height,
                        width: image.width,
                        factor: 1 << (config.blocks.len() - 1),
                    });
                }
                image = ImageShape { channels: 4 * image.channels, height: image.height / 2, width: image.width / 2 };
            }
            let bottleneck = config.bottleneck_width(s, image.channels);
            let blocks = (0..num_blocks).map(|b| cursor.block(config, image, bottleneck, s, b)).collect();
            stages.push(Stage { image, bottleneck, blocks });
        }
        Ok(Layout {
            input,
            padded,
            stages,
            trunk_len: cursor.parameters,
            statistics_len: cursor.statistics,
            latent: image,
        })
    }

    /// Downsamplings, ActNorms and blocks, in the order of the forward pass.
    pub fn sequence(&self) -> impl Iterator<Item = Next<'_>> {
        let squeezes = std::iter::once(None).chain(self.stages.iter().map(|stage| Some(Next::Squeeze(stage.image))));
        let mut blocks = self.blocks().enumerate();
        let stages = squeezes.zip(&self.stages).map(|(squeeze, stage)| (squeeze, stage.blocks.len()));
        stages.flat_map(move |(squeeze, count)| {
            let blocks = blocks.by_ref().take(count).flat_map(|(i, block)| {
                let actnorm = block.actnorm.as_ref().map(|place| Next::ActNorm(block.shape.image, place));
                actnorm.into_iter().chain([Next::Block(i, block)])
            });
            squeeze.into_iter().chain(blocks).collect::<Vec<_>>()
        })
    }

    /// All blocks, in the order of the forward pass.
    pub fn blocks(&self) -> impl DoubleEndedIterator<Item = &Block> {
        self.stages.iter().flat_map(|stage| &stage.blocks)
    }

    /// Number of residual blocks.
    pub fn num_blocks(&self) -> usize {
        self.stages.iter().map(|stage| stage.blocks.len()).sum()
    }

    /// All convolutions, in the order of the forward pass.
    pub fn convs(&self) -> impl Iterator<Item = &Conv> {
        self.blocks().flat_map(|block| &block.convs)
    }

    /// Length of the head's parameters: BatchNorm scale and shift, linear weights `[classes, channels]` and biases.
    pub fn head_len(&self) -> usize {
        let channels = self.latent.channels;
        2 * channels + self.input.classes * channels + self.input.classes
    }

    /// Number of trainable parameters.
    pub fn num_parameters(&self) -> usize {
        self.trunk_len + self.head_len()
    }
}

/// Hands out places in the parameters and in the running statistics.
#[derive(Default)]
struct Cursor {
    parameters: usize,
    statistics: usize,
}

impl Cursor {
    fn take(&mut self, len: usize) -> Range<usize> {
        let start = self.parameters;
        self.parameters += len;
        start..self.parameters
    }

    fn block(&mut self, config: &ModelConfig, image: ImageShape, bottleneck: usize, s: usize, b: usize) -> Block {
        let first = s == 0 && b == 0;
        let name = format!("stages.{s}.blocks.{b}");
        let widths = [image.channels, bottleneck, bottleneck, image.channels];
        let actnorm = config.actnorm.then(|| self.take(2 * image.channels));
        let start = self.parameters;
        let convs = [0, 1, 2].map(|i| {
            let (in_channels, out_channels, kernel) = (widths[i], widths[i + 1], config.kernels[i]);
            Conv {
                name: format!("{name}.conv{}", i + 1),
                out_channels,
                in_channels,
                kernel,
                height: image.height,
                width: image.width,
                weight: self.take(out_channels * in_channels * kernel * kernel),
                bias: self.take(out_channels),
            }
        });
        let weights = start..self.parameters;
        let norms = [0, 1, 2].map(|i| {
            (config.norm == Norm::Batch && !(first && i == 0)).then(|| {
                let channels = widths[i];
                let statistics = self.statistics..self.statistics + channels;
                self.statistics += channels;
                BatchNorm {
                    name: format!("{name}.norm{}", i + 1),
                    scale: self.take(channels),
                    shift: self.take(channels),
                    statistics,
                }
            })
        });
        Block {
            shape: BlockShape {
                image,
                bottleneck,
                kernels: config.kernels,
                activation: config.activation.kernel(),
                activate_input: !first,
                step: config.step as f32,
            },
            affine: weights.end..self.parameters,
            name,
            actnorm,
            weights,
            convs,
            norms,
        }
    }
}
