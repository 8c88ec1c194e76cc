//! iresnet
