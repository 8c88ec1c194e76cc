//! How a command ended.

/// How a command ended, as an exit code.
pub enum Verdict {
    /// Done: 0.
    Done,
    /// A checked claim does not hold, an image was not inverted, or a training diverged: 3.
    ClaimFails,
    /// Ctrl-C, with all work saved: 130, as shells have it.
    Stopped,
}

impl Verdict {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Verdict::Done => 0,
            Verdict::ClaimFails => 3,
            Verdict::Stopped => 130,
        }
    }
}
