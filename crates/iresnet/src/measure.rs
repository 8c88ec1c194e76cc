//! A measured number that may be infinite, which JSON cannot hold.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A float64 that is written to JSON as a number, or as the text `inf` or `undefined` (NaN).
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Measure(pub f64);

impl Measure {
    /// Two digits and an exponent, `inf` or `undefined`.
    pub fn scientific(self) -> String {
        if self.0.is_finite() { format!("{:.1e}", self.0) } else { self.word().into() }
    }

    fn word(self) -> &'static str {
        if self.0.is_nan() { "undefined" } else { "inf" }
    }
}

impl Serialize for Measure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.serialize_str(self.word()) }
    }
}

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(value) => Ok(Measure(value)),
            Written::Text(text) if text == "inf" => Ok(Measure(f64::INFINITY)),
            Written::Text(text) if text == "undefined" => Ok(Measure(f64::NAN)),
            Written::Text(text) => Err(serde::de::Error::custom(format!(
                "{text:?} is no number; `inf` and `undefined` are the only words"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinity_survives_json() {
        let values = [Measure(1.5e-7), Measure(f64::INFINITY), Measure(0.0), Measure(1e300)];
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<[Measure; 4]>(&text).unwrap(), values);
        assert_eq!(serde_json::to_string(&Measure(f64::NAN)).unwrap(), "\"undefined\"");
        assert!(serde_json::from_str::<Measure>("\"undefined\"").unwrap().0.is_nan());
        assert!(serde_json::from_str::<Measure>("\"large\"").unwrap_err().to_string().contains("large"));
    }
}
