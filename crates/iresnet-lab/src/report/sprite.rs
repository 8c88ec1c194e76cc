//! Pictures inside the page: PNG as data URIs.

use iresnet::data::picture::{self, Picture};

/// The picture as a PNG file.
pub fn png(picture: &Picture) -> Vec<u8> {
    picture::encode(picture).expect("a picture of 1 or 3 channels, into memory")
}

/// `data:image/png;base64,...`
pub fn data_uri(picture: &Picture) -> String {
    format!("data:image/png;base64,{}", base64(&png(picture)))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0, |group, i| group << 8 | u32::from(*chunk.get(i).unwrap_or(&0)));
        for i in 0..4 {
            let digit = DIGITS[(group >> (18 - 6 * i)) as usize & 63];
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_the_standards() {
        let examples =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")];
        for (plain, coded) in examples {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }

    #[test]
    fn png_keeps_every_pixel() {
        let picture = Picture { shape: [3, 1, 2], pixels: vec![1, 2, 3, 4, 5, 6] };
        let decoded = image::load_from_memory(&png(&picture)).unwrap().into_rgb8();
        assert_eq!(decoded.into_raw(), [1, 3, 5, 2, 4, 6]);
    }
}
