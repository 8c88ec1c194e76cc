//! Checksums.

use sha2::{Digest, Sha256};

/// SHA-256 of all parts together, in hexadecimal digits.
pub fn sha256(parts: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let mut hash = Sha256::new();
    parts.into_iter().for_each(|part| hash.update(part));
    hex(&hash.finalize())
}

/// Two hexadecimal digits a byte.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn parts_are_hashed_as_one() {
        // The first example of FIPS 180-4: SHA-256 of "abc".
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::sha256(["abc"]), expected);
        assert_eq!(super::sha256(["a", "", "bc"]), expected);
    }
}
