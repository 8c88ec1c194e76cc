//! The report: one self-contained HTML file, Markdown, JSON and the figures as files.
//!
//! | file | what |
//! | --- | --- |
//! | `content` | what is in a report, which is also its JSON |
//! | `tables` | its tables as text |
//! | `captions` | how every number was obtained, in words |
//! | `html`, `markdown` | both pages |
//! | `files` | all files of a report |
//! | `words`, `png` | lists and numbers in sentences, pictures inside a page |

mod captions;
mod content;
mod files;
mod html;
mod markdown;
mod png;
mod tables;
mod words;

pub use content::Report;
pub use files::File;
