//! Where images come from.

use std::path::PathBuf;

use clap::Args;

/// Where data sets are looked for.
#[derive(Args, Clone, Debug, Default)]
pub struct DataDir {
    /// Folder of the data sets [default: that of the variable IRESNET_DATA, else the user's cache folder]
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl DataDir {
    /// The folder.
    pub fn path(&self) -> PathBuf {
        let variable = || std::env::var_os("IRESNET_DATA").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.data_dir.clone().or_else(variable).unwrap_or_else(iresnet::data::default_dir)
    }
}

/// The images of a trained network: those it learnt from, or others.
#[derive(Args, Clone, Debug)]
pub struct RunData {
    /// Data set, or folder of images, in place of the one the network was trained on
    #[arg(long)]
    pub data: Option<String>,
    #[command(flatten)]
    pub dir: DataDir,
}
