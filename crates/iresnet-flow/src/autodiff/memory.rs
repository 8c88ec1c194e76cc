//! What a training pass keeps of its activations.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a training pass keeps of every segment (layers of one shape) for its backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Memory {
    /// Everything the backward pass needs: the input of every block and what happened inside.
    #[default]
    Standard,
    /// The input of every K-th block; the blocks between are run again (Chen et al. 2016).
    Checkpoint(usize),
    /// The segment's input and output; the layers' inputs are recovered by the inverse (Gomez et al. 2017), which needs
    /// layers that contract.
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

impl Memory {
    /// Whether the input of the layer at this place in its segment is kept.
    pub(super) fn keeps_input(self, place: usize) -> bool {
        match self {
            Memory::Standard => true,
            Memory::Checkpoint(every) => place.is_multiple_of(every),
            Memory::Reversible => place == 0,
        }
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
}
