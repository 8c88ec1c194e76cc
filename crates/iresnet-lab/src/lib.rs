//! The paper's tables and figures: one file each, a function from configuration to a typed, serialisable result.
//! [`report`] renders the results as HTML, Markdown and JSON.

pub mod figure2;
pub mod report;
pub mod table1;
