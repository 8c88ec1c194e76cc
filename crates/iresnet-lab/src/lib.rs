//! iresnet-lab
