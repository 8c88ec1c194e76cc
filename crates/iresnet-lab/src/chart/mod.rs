//! Line charts as SVG: [`Chart::svg`] follows the colours of the page that it is part of, [`Chart::file`] stands alone.
//!
//! In a page axes and text take `currentColor`, and the colours of the series are CSS variables `--series-0` and so on,
//! with values behind them that hold where the page does not define them.
//!
//! | file | what |
//! | --- | --- |
//! | `colour` | colours that stay apart |
//! | `plot` | a chart, its series, and where a point lies in the picture |
//! | `ticks` | round numbers along an axis |
//! | `svg` | the picture |

mod colour;
mod plot;
mod svg;
mod ticks;

pub use colour::{COLOURS, Colour};
pub use plot::{Chart, Series, Stroke};
