//! Latents in files: `latent [n, C, H, W]` and `logits [n, classes]`, float32, as `.safetensors`, for other software to look
//! at and to change.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::layout::Layout;
use crate::bytes;

/// A file that holds no latents of this network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{path}: {message}")]
pub struct LatentsError {
    /// The file.
    pub path: PathBuf,
    /// What was wrong, and what would be right.
    pub message: String,
}

const LATENT: &str = "latent";
const LOGITS: &str = "logits";

impl Layout {
    /// Latents and logits of as many images as the bytes of a `.safetensors` file.
    ///
    /// # Panics
    /// If these are not whole images, or of unequal numbers.
    pub fn latents_to_safetensors(&self, latents: &[f32], logits: &[f32]) -> Vec<u8> {
        let (shape, classes) = (self.latent, self.input.classes);
        let n = latents.len() / shape.len();
        assert_eq!((latents.len(), logits.len()), (n * shape.len(), n * classes), "latents and logits of {n} images");
        let (latents, logits) = (bytes::of_floats(latents), bytes::of_floats(logits));
        let view = |shape, bytes| TensorView::new(Dtype::F32, shape, bytes).expect("shape and bytes agree");
        let tensors = [
            (LATENT, view(vec![n, shape.channels, shape.height, shape.width], &latents)),
            (LOGITS, view(vec![n, classes], &logits)),
        ];
        safetensors::serialize(tensors, None).expect("names are unique")
    }

    /// The latents `[n, C, H, W]` of such a file; what else it holds is not looked at.
    ///
    /// # Errors
    /// A file that cannot be read, without a float32 tensor `latent` of this network's shape, or with values that are not
    /// finite.
    pub fn latents_of_file(&self, path: &Path) -> Result<Vec<f32>, LatentsError> {
        let error = |message: String| LatentsError { path: path.into(), message };
        let read = std::fs::read(path).map_err(|source| error(format!("cannot be read: {source}")))?;
        let file = SafeTensors::deserialize(&read)
            .map_err(|source| error(format!("is not a complete .safetensors file: {source}")))?;
        let wanted = [self.latent.channels, self.latent.height, self.latent.width];
        let [c, h, w] = wanted;
        let expected = format!("this network's are F32 [n, {c}, {h}, {w}], in a tensor {LATENT}");
        let view = file.tensor(LATENT).map_err(|_| error(format!("holds no latents; {expected}")))?;
        let (dtype, shape) = (view.dtype(), view.shape());
        if dtype != Dtype::F32 || shape.len() != 4 || shape[1..] != wanted || shape[0] == 0 {
            return Err(error(format!("holds latents {dtype:?} {shape:?}; {expected}")));
        }
        let mut values = vec![0.0; view.data().len() / 4];
        bytes::to_floats(view.data(), &mut values);
        match values.iter().position(|value| !value.is_finite()) {
            Some(at) => Err(error(format!("holds {} at position {at} of {LATENT}; values must be finite", values[at]))),
            None => Ok(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Input, ModelConfig};

    #[test]
    fn latents_come_back_and_others_are_refused() {
        let config = ModelConfig { blocks: vec![1, 1], ..ModelConfig::preset("digits").unwrap() };
        let layout = |size| {
            let input = Input { channels: 1, height: size, width: size, classes: 10 };
            super::Layout::new(&config, input).unwrap()
        };
        let (ours, other) = (layout(8), layout(16));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents.safetensors");
        let mut latents: Vec<f32> = (0..2 * ours.latent.len()).map(|i| i as f32).collect();
        std::fs::write(&path, ours.latents_to_safetensors(&latents, &[0.0; 20])).unwrap();
        assert_eq!(ours.latents_of_file(&path).unwrap(), latents);
        let message = other.latents_of_file(&path).unwrap_err().to_string();
        assert!(message.contains("holds latents F32 [2, 32, 4, 4]; this network's are F32 [n, 32, 8, 8]"), "{message}");
        latents[3] = f32::NAN;
        std::fs::write(&path, ours.latents_to_safetensors(&latents, &[0.0; 20])).unwrap();
        let message = ours.latents_of_file(&path).unwrap_err().to_string();
        assert!(message.contains("holds NaN at position 3 of latent"), "{message}");
        std::fs::write(&path, "{}").unwrap();
        assert!(ours.latents_of_file(&path).unwrap_err().to_string().contains("not a complete .safetensors file"));
    }
}
