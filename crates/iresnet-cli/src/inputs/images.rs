//! The images that commands show a trained network.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use iresnet::data::picture::{self, Picture};
use iresnet::train::RunRecord;

use super::split::load_for_run;
use crate::error::UsageError;
use crate::options::RunData;

#[derive(Args, Debug)]
pub struct ImageArgs {
    /// Image files, or folders that are searched for them [default: 16 of the run's test images, at even distances]
    #[arg(long, num_args = 1.., value_name = "PATH", conflicts_with = "data")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    data: RunData,
}

/// Images shown when none are named.
pub const SHOWN: usize = 16;

/// Images by name, and as the network takes them.
pub struct Named {
    pub names: Vec<String>,
    /// `[n, channels, height, width]`
    pub values: Vec<f32>,
}

impl ImageArgs {
    /// The named pictures, or test images at even distances; sizes are checked.
    pub fn load(&self, record: &RunRecord) -> Result<Named> {
        let (names, pictures) = self.pictures(record)?;
        let mut values = Vec::new();
        pictures.iter().for_each(|picture| record.normalization.apply(&picture.pixels, &mut values));
        Ok(Named { names, values })
    }

    fn pictures(&self, record: &RunRecord) -> Result<(Vec<String>, Vec<Picture>)> {
        let input = record.input;
        let shape = [input.channels, input.height, input.width];
        if self.images.is_empty() {
            let all = load_for_run(record, &self.data)?.split.test;
            let chosen = all.spread_indices(SHOWN).map(|i| {
                let picture = Picture { shape, pixels: all.image(i).to_vec() };
                (format!("{} test image {i}", record.data_name), picture)
            });
            return Ok(chosen.unzip());
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        for path in &self.images {
            if path.is_dir() {
                paths.extend(picture::list_all(path)?);
            } else {
                paths.push(path.clone());
            }
        }
        if paths.is_empty() {
            return Err(UsageError("--images names no .png, .jpg or .jpeg file".into()).into());
        }
        let mut pictures = Vec::new();
        for path in &paths {
            let mut picture = picture::read(path)?;
            if input.channels == 3 {
                picture = picture.into_rgb();
            }
            if picture.shape != shape {
                let show = |[c, h, w]: [usize; 3]| format!("{w}x{h} with {c} channels");
                let (found, wanted) = (show(picture.shape), show(shape));
                return Err(UsageError(format!("{} is {found}; this network takes {wanted}", path.display())).into());
            }
            // Digits count from 0 to 16, files from 0 to 255.
            let largest = u32::from(record.white());
            picture.pixels.iter_mut().for_each(|p| *p = ((u32::from(*p) * largest + 127) / 255) as u8);
            pictures.push(picture);
        }
        Ok((paths.iter().map(|p| p.display().to_string()).collect(), pictures))
    }
}
