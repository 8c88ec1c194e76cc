//! `iresnet data`

use anyhow::Result;
use clap::{Args, Subcommand};
use iresnet::data::{self, OFFICIAL};

use super::verdict::Verdict;
use crate::options::DataDir;
use crate::output::out;
use crate::terminal::download_bar;

#[derive(Args, Debug)]
pub struct DataArgs {
    #[command(subcommand)]
    action: DataAction,
    #[command(flatten)]
    data_dir: DataDir,
}

#[derive(Subcommand, Debug)]
pub enum DataAction {
    /// The data sets and where they are
    List,
    /// Download what is missing, checked by checksum
    Fetch {
        /// `mnist` or `cifar10`
        name: String,
    },
    /// Check the files that are there
    Verify {
        /// `mnist` or `cifar10`
        name: String,
    },
}

pub fn run(args: DataArgs) -> Result<Verdict> {
    let dir = args.data_dir.path();
    match args.action {
        DataAction::List => {
            out!("digits   embedded, 1,797 images of 8x8");
            for set in OFFICIAL {
                match set.find(&dir) {
                    Some(folder) => out!("{:<8} in {}", set.name, folder.display()),
                    None => out!("{:<8} not there; `iresnet data fetch {}` downloads it", set.name, set.name),
                }
            }
            out!("any folder with train/<class>/*.png|jpg and test/<class>/*.png|jpg");
        }
        DataAction::Fetch { name } => {
            let folder = data::fetch(&name, &dir, Some(&download_bar(&name)))?;
            out!("{name} is in {}", folder.display());
        }
        DataAction::Verify { name } => data::verify(&name, &dir)?.iter().for_each(|line| out!("{line}")),
    }
    Ok(Verdict::Done)
}
