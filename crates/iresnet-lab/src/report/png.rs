//! Pictures inside the page: PNG as data URIs.

use base64::prelude::{BASE64_STANDARD, Engine};
use iresnet::data::picture::{self, Picture};

/// The picture as a PNG file.
pub fn png(picture: &Picture) -> Vec<u8> {
    picture::encode(picture).expect("a picture of 1 or 3 channels, into memory")
}

/// `data:image/png;base64,...`
pub fn data_uri(picture: &Picture) -> String {
    format!("data:image/png;base64,{}", BASE64_STANDARD.encode(png(picture)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_keeps_every_pixel() {
        let picture = Picture { shape: [3, 1, 2], pixels: vec![1, 2, 3, 4, 5, 6] };
        let decoded = image::load_from_memory(&png(&picture)).unwrap().into_rgb8();
        assert_eq!(decoded.into_raw(), [1, 3, 5, 2, 4, 6]);
    }
}
