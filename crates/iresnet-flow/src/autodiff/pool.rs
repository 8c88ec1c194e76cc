//! Buffers that passes reuse.

use std::sync::Mutex;

/// Buffers of past steps: mapping and clearing fresh memory costs more than a narrow block.
#[derive(Debug, Default)]
pub struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// A buffer of `len` values; contents are whatever was there.
    ///
    /// # Panics
    /// If a pass that used the pool panicked; so do the other functions.
    pub fn take(&self, len: usize) -> Vec<f32> {
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
    pub fn give(&self, buffer: Vec<f32>) {
        if buffer.capacity() > 0 {
            self.0.lock().expect("no pass panicked").push(buffer);
        }
    }

    /// Values that wait to be used again.
    pub fn kept(&self) -> usize {
        self.0.lock().expect("no pass panicked").iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
