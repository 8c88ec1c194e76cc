//! What a training pass keeps of its activations, what that costs, and how to choose.

use std::fmt;
use std::str::FromStr;
use std::sync::Mutex;

use iresnet_kernels::LANES;
use serde::{Deserialize, Serialize};

use super::config::{ModelConfig, Norm};
use super::layout::Layout;

/// What a training pass keeps of every stage for its backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Memory {
    /// Everything the backward pass needs: the input of every block and what happened inside.
    #[default]
    Standard,
    /// The input of every K-th block; the blocks between are run again (Chen et al. 2016).
    Checkpoint(usize),
    /// The stage's input and output; the blocks' inputs are recovered by the inverse (Gomez et al. 2017), which needs
    /// spectral normalisation.
    Reversible,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Memory::Standard => f.write_str("standard"),
            Memory::Checkpoint(every) => write!(f, "checkpoint={every}"),
            Memory::Reversible => f.write_str("reversible"),
        }
    }
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let checkpoint = || text.strip_prefix("checkpoint=")?.parse().ok().filter(|every| *every > 0);
        match text {
            "standard" => Ok(Memory::Standard),
            "reversible" => Ok(Memory::Reversible),
            _ => checkpoint()
                .map(Memory::Checkpoint)
                .ok_or_else(|| format!("{text} is not standard, checkpoint=K with K at least 1, or reversible")),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> String {
        memory.to_string()
    }
}

/// Reversible training of a network that need not have an inverse.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "reversible training recovers activations by the inverse, which {norm} networks need not have; use checkpoint=K or \
     standard"
)]
pub struct NotInvertible {
    /// What the normalisation is called.
    pub norm: String,
}

impl Memory {
    /// Whether the input of the block at this place in its stage is kept.
    pub(crate) fn keeps_input(self, place: usize) -> bool {
        match self {
            Memory::Standard => true,
            Memory::Checkpoint(every) => place.is_multiple_of(every),
            Memory::Reversible => place == 0,
        }
    }

    /// Checks that a network can be trained this way.
    ///
    /// # Errors
    /// `Reversible` without spectral normalisation: the inverse need not exist.
    pub fn check(self, config: &ModelConfig) -> Result<(), NotInvertible> {
        match (self, config.norm) {
            (Memory::Reversible, Norm::Spectral { .. }) | (Memory::Standard | Memory::Checkpoint(_), _) => Ok(()),
            (Memory::Reversible, norm) => Err(NotInvertible { norm: norm.label() }),
        }
    }

    /// The first of standard, reversible (where the network has an inverse) or checkpoint=√blocks that is predicted to
    /// fit `available` bytes, else the thriftiest.
    pub fn choose(config: &ModelConfig, layout: &Layout, batch: usize, available: Option<u64>) -> Memory {
        let thrifty = match config.norm {
            Norm::Spectral { .. } => Memory::Reversible,
            _ => Memory::Checkpoint(layout.num_blocks().isqrt().max(1)),
        };
        let fits = |bytes: u64| available.is_none_or(|available| bytes <= available / 10 * 8);
        if fits(Memory::Standard.predicted_bytes(layout, batch)) { Memory::Standard } else { thrifty }
    }

    /// Predicted peak of a training step with batches of `batch` images, in bytes, program and data not counted.
    pub fn predicted_bytes(self, layout: &Layout, batch: usize) -> u64 {
        let packs = batch.div_ceil(LANES);
        let activation = (packs * layout.padded.pack_len()) as u64;
        let hidden = |i: usize| (packs * layout.stages[i].blocks[0].shape.hidden_len()) as u64;
        let kept: u64 = layout
            .stages
            .iter()
            .enumerate()
            .map(|(i, stage)| {
                let blocks = stage.blocks.len() as u64;
                match self {
                    Memory::Standard => blocks * (activation + hidden(i)),
                    Memory::Checkpoint(every) => blocks.div_ceil(every as u64) * activation,
                    Memory::Reversible => activation,
                }
            })
            .sum();
        let largest = (0..layout.stages.len()).map(hidden).max().unwrap_or(0);
        let again = match self {
            Memory::Standard => 0,
            Memory::Checkpoint(every) => every as u64 * (activation + largest),
            Memory::Reversible => 2 * activation + largest,
        };
        // Weights, momentum, gradients; in flight, a few activations in the trunk and about ten of the head's.
        let parameters = 3 * layout.num_parameters() as u64;
        4 * (kept + again + parameters + 14 * activation)
    }
}

/// What a backward pass had to make again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Blocks whose input was recovered by the inverse.
    pub recovered: usize,
    /// Evaluations of branches that took, over blocks and packs of 16 images.
    pub evaluations: usize,
    /// Blocks whose inverse did not converge, so that they were computed again from the nearest kept activation.
    pub recomputed: usize,
}

/// Bytes that this process may still allocate: free memory, or what a control group or `ulimit -v` leaves of it.
/// `None` where the system does not say.
pub fn available_bytes() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let free = read("/proc/meminfo").and_then(|text| bytes_of(&text, "MemAvailable:"));
    // The group and all those above it, by the names of version 2 and of version 1. Pages of files that could be dropped
    // count as used, so that what is left is an under-estimate.
    let group = || -> Option<u64> {
        let groups = read("/proc/self/cgroup")?;
        let own = groups.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            match controllers {
                "" => Some((format!("/sys/fs/cgroup{path}"), "memory.max", "memory.current")),
                _ if controllers.split(',').any(|c| c == "memory") => {
                    Some((format!("/sys/fs/cgroup/memory{path}"), "memory.limit_in_bytes", "memory.usage_in_bytes"))
                }
                _ => None,
            }
        });
        let (folder, limit, used) = own?;
        let number = |path: &std::path::Path| -> Option<u64> { read(path.to_str()?)?.trim().parse().ok() };
        let left = |folder: &std::path::Path| -> Option<u64> {
            Some(number(&folder.join(limit))?.saturating_sub(number(&folder.join(used))?))
        };
        std::path::Path::new(&folder).ancestors().filter_map(left).min()
    };
    let address_space = || -> Option<u64> {
        let limits = read("/proc/self/limits")?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
        let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(limit.saturating_sub(bytes_of(&read("/proc/self/status")?, "VmSize:")?))
    };
    [free, group(), address_space()].into_iter().flatten().min()
}

/// Largest resident memory of this process so far, in bytes; 0 where the system does not say.
pub fn peak_resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    bytes_of(&status, "VmHWM:").unwrap_or(0)
}

/// The value of a line `key   123 kB` of a file in `/proc`.
fn bytes_of(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Buffers of past steps: mapping and clearing fresh memory costs more than a narrow block.
#[derive(Debug, Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// A buffer of `len` values; contents are whatever was there.
    pub(crate) fn take(&self, len: usize) -> Vec<f32> {
        let mut kept = self.0.lock().expect("no pass panicked");
        // The smallest that is large enough, so that the last, smaller batch of an epoch uses the others' buffers.
        let fits = (0..kept.len()).filter(|&i| kept[i].capacity() >= len);
        match fits.min_by_key(|&i| kept[i].capacity()) {
            Some(i) => {
                let mut buffer = kept.swap_remove(i);
                buffer.resize(len, 0.0);
                buffer
            }
            None => vec![0.0; len],
        }
    }

    /// Keeps a buffer for later.
    pub(crate) fn give(&self, buffer: Vec<f32>) {
        self.0.lock().expect("no pass panicked").push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_they_are_written() {
        for memory in [Memory::Standard, Memory::Checkpoint(4), Memory::Reversible] {
            assert_eq!(memory.to_string().parse(), Ok(memory));
        }
        for wrong in ["checkpoint", "checkpoint=0", "checkpoint=x", "", "Standard"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_choice_is_what_fits() {
        use crate::model::Input;
        let input = Input { channels: 3, height: 32, width: 32, classes: 10 };
        let config = |norm| ModelConfig { norm, ..ModelConfig::preset("paper-cifar10").unwrap() };
        let choose = |norm, available| {
            let config = config(norm);
            let layout = Layout::new(&config, input).unwrap();
            Memory::choose(&config, &layout, 128, available)
        };
        let spectral = Norm::Spectral { coeff: 0.9 };
        assert_eq!(choose(spectral, None), Memory::Standard);
        assert_eq!(choose(spectral, Some(4 << 30)), Memory::Standard);
        assert_eq!(choose(spectral, Some(1 << 28)), Memory::Reversible);
        assert_eq!(choose(Norm::Batch, Some(1 << 28)), Memory::Checkpoint(7));
    }

    #[test]
    fn buffers_are_used_again() {
        let pool = Pool::default();
        pool.give(vec![0.0; 100]);
        pool.give(vec![0.0; 50]);
        assert_eq!(pool.take(40).capacity(), 50);
        assert_eq!(pool.take(40).len(), 40);
        assert_eq!(pool.take(40).capacity(), 40, "nothing was left");
    }
}
