//! Which program this is.

/// Version, and the commit that it was made from.
pub const VERSION: &str = env!("IRESNET_VERSION");
