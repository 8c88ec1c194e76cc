//! What a network looks like, in numbers: shapes, parameters, Lipschitz budget.

use std::fmt;

use serde::Serialize;

use super::memory::Memory;
use super::network::IResNet;

/// One stage of a summary.
#[derive(Clone, Debug, Serialize)]
pub struct StageSummary {
    /// Residual blocks.
    pub blocks: usize,
    /// Channels, height, width.
    pub image: [usize; 3],
    /// Middle width of its blocks.
    pub bottleneck: usize,
    /// Parameters.
    pub parameters: usize,
}

/// Shapes, parameters and Lipschitz budget of a network; `Display` is a table.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Channels, height, width of the input.
    pub input: [usize; 3],
    /// Channels behind the injective padding.
    pub padded_channels: usize,
    /// Stages.
    pub stages: Vec<StageSummary>,
    /// Parameters of the head.
    pub head_parameters: usize,
    /// All parameters.
    pub parameters: usize,
    /// Bound on Lip(g) of a block that spectral normalisation aims at, in evaluation: `h c^3`.
    pub block_lipschitz: Option<f64>,
    /// The same in training, with dropout's `1 / (1 - p)`.
    pub block_lipschitz_training: Option<f64>,
    /// Images of the training step that the memory is predicted for.
    pub batch: usize,
    /// Predicted peak of a training step in each mode, in bytes, program and data not counted.
    pub step_bytes: Vec<(Memory, u64)>,
}

impl IResNet {
    /// Shapes, parameters, Lipschitz budget, and the memory of a training step of `batch` images.
    pub fn summary(&self, batch: usize) -> Summary {
        let modes = [Memory::Standard, Memory::Checkpoint(self.layout.num_blocks().isqrt().max(1)), Memory::Reversible];
        let modes = modes.into_iter().filter(|memory| self.config.allows(*memory).is_ok());
        let layout = &self.layout;
        let input = layout.input;
        let training = self.config.training_lipschitz_budget();
        Summary {
            input: [input.channels, input.height, input.width],
            padded_channels: layout.padded.channels,
            stages: layout
                .stages
                .iter()
                .map(|stage| StageSummary {
                    blocks: stage.blocks.len(),
                    image: [stage.image.channels, stage.image.height, stage.image.width],
                    bottleneck: stage.bottleneck,
                    parameters: stage.blocks.iter().map(|block| block.parameters().len()).sum(),
                })
                .collect(),
            head_parameters: layout.head_len(),
            parameters: layout.num_parameters(),
            block_lipschitz: training.map(|l| l * (1.0 - self.config.dropout)),
            block_lipschitz_training: training,
            batch,
            step_bytes: modes.map(|memory| (memory, layout.step_bytes(memory, batch))).collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |[c, h, w]: [usize; 3]| format!("{c} x {h} x {w}");
        writeln!(f, "{:<12} {:>16} {:>8} {:>11} {:>12}", "part", "image", "blocks", "bottleneck", "parameters")?;
        writeln!(f, "{:<12} {:>16}", "input", size(self.input))?;
        let padded = [self.padded_channels, self.input[1], self.input[2]];
        writeln!(f, "{:<12} {:>16}", "padding", size(padded))?;
        for (i, stage) in self.stages.iter().enumerate() {
            let (name, image) = (format!("stage {}", i + 1), size(stage.image));
            writeln!(
                f,
                "{name:<12} {image:>16} {:>8} {:>11} {:>12}",
                stage.blocks, stage.bottleneck, stage.parameters
            )?;
        }
        writeln!(f, "{:<12} {:>16} {:>8} {:>11} {:>12}", "head", "", "", "", self.head_parameters)?;
        writeln!(f, "{:<12} {:>16} {:>8} {:>11} {:>12}", "all", "", "", "", self.parameters)?;
        write!(f, "training step of {} images, about", self.batch)?;
        for (i, (memory, bytes)) in self.step_bytes.iter().enumerate() {
            write!(f, "{} {} MiB {memory}", if i > 0 { "," } else { "" }, bytes >> 20)?;
        }
        writeln!(f)?;
        match (self.block_lipschitz, self.block_lipschitz_training) {
            (Some(l), Some(training)) => {
                write!(
                    f,
                    "Lip(h g) of a block: at most {l:.4} by its coefficient, {training:.4} with dropout in training"
                )
            }
            _ => write!(f, "Lip(h g) of a block: not limited by this normalisation"),
        }
    }
}
