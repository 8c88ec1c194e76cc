//! What training passes of a network may keep, what that costs, and how to choose.

use iresnet_flow::LANES;
pub use iresnet_flow::autodiff::{Memory, MemoryReport};

use super::layout::Layout;
use crate::config::{ModelConfig, Norm};

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

impl ModelConfig {
    /// Checks that a network can be trained with this memory.
    ///
    /// # Errors
    /// `Reversible` without spectral normalisation: the inverse need not exist.
    pub fn allows(&self, memory: Memory) -> Result<(), NotInvertible> {
        match (memory, self.norm) {
            (Memory::Reversible, Norm::Spectral { .. }) | (Memory::Standard | Memory::Checkpoint(_), _) => Ok(()),
            (Memory::Reversible, norm) => Err(NotInvertible { norm: norm.label() }),
        }
    }
}

impl Layout {
    /// The first of standard, reversible (where the network `config` has an inverse) or checkpoint=√blocks that is predicted
    /// to fit `available` bytes, else the thriftiest.
    pub fn choose_memory(&self, config: &ModelConfig, batch: usize, available: Option<u64>) -> Memory {
        let thrifty = match config.norm {
            Norm::Spectral { .. } => Memory::Reversible,
            _ => Memory::Checkpoint(self.num_blocks().isqrt().max(1)),
        };
        let fits = |bytes: u64| available.is_none_or(|available| bytes <= available / 10 * 8);
        if fits(self.step_bytes(Memory::Standard, batch)) { Memory::Standard } else { thrifty }
    }

    /// Predicted peak of a training step with batches of `batch` images, in bytes, program and data not counted.
    pub fn step_bytes(&self, memory: Memory, batch: usize) -> u64 {
        let packs = batch.div_ceil(LANES);
        let activation = (packs * self.padded.pack_len()) as u64;
        let hidden = |i: usize| (packs * self.stages[i].blocks[0].shape.hidden_len()) as u64;
        let kept: u64 = self
            .stages
            .iter()
            .enumerate()
            .map(|(i, stage)| {
                let blocks = stage.blocks.len() as u64;
                match memory {
                    Memory::Standard => blocks * (activation + hidden(i)),
                    Memory::Checkpoint(every) => blocks.div_ceil(every as u64) * activation,
                    Memory::Reversible => activation,
                }
            })
            .sum();
        let largest = (0..self.stages.len()).map(hidden).max().unwrap_or(0);
        let again = match memory {
            Memory::Standard => 0,
            Memory::Checkpoint(every) => every as u64 * (activation + largest),
            Memory::Reversible => 2 * activation + largest,
        };
        // Weights, momentum, gradients; in flight, a few activations in the trunk and about ten of the head's.
        let parameters = 3 * self.num_parameters() as u64;
        4 * (kept + again + parameters + 14 * activation)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Input;

    #[test]
    fn the_choice_is_what_fits() {
        let input = Input { channels: 3, height: 32, width: 32, classes: 10 };
        let config = |norm| ModelConfig { norm, ..ModelConfig::preset("paper-cifar10").unwrap() };
        let choose = |norm, available| {
            let config = config(norm);
            let layout = Layout::new(&config, input).unwrap();
            layout.choose_memory(&config, 128, available)
        };
        let spectral = Norm::Spectral { coeff: 0.9 };
        assert_eq!(choose(spectral, None), Memory::Standard);
        assert_eq!(choose(spectral, Some(4 << 30)), Memory::Standard);
        assert_eq!(choose(spectral, Some(1 << 28)), Memory::Reversible);
        assert_eq!(choose(Norm::Batch, Some(1 << 28)), Memory::Checkpoint(7));
    }
}
