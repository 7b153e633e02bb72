//! UIDs of objects.

use std::fmt::{self, Write as _};

/// Where a UUID has its dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// A UID. The API server's are UUIDs, and then it takes no memory of its own; one of a manifest may be any text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Form);

/// A text has one form only.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    Uuid([u8; 16]),
    Text(Box<str>),
}

impl Uid {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Form::Text(text) if text.is_empty())
    }
}

impl Default for Uid {
    fn default() -> Self {
        Self(Form::Text(Box::default()))
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        Self(uuid(text).map_or_else(|| Form::Text(text.into()), Form::Uuid))
    }
}

/// Its bytes, if it is one as the API server writes it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    if text.len() != 36 {
        return None;
    }
    let (mut bytes, mut digits) = ([0; 16], 0);
    for (at, letter) in text.bytes().enumerate() {
        if DASHES.contains(&at) {
            if letter != b'-' {
                return None;
            }
            continue;
        }
        let value = match letter {
            b'0'..=b'9' => letter - b'0',
            b'a'..=b'f' => letter - b'a' + 10,
            _ => return None,
        };
        bytes[digits / 2] = bytes[digits / 2] << 4 | value;
        digits += 1;
    }
    Some(bytes)
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = match &self.0 {
            Form::Text(text) => return f.write_str(text),
            Form::Uuid(bytes) => bytes,
        };
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_char('-')?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{Form, Uid};

    #[test]
    fn every_text_comes_back_and_is_equal_to_itself_only() {
        let texts = [
            "",
            "new",
            "0d57a7c2-4f4c-4a1c-9c6f-0123456789ab",
            "0D57A7C2-4F4C-4A1C-9C6F-0123456789AB",
            "0d57a7c2-4f4c-4a1c-9c6f-0123456789ag",
            "0d57a7c24-f4c-4a1c-9c6f-0123456789ab",
            "0d57a7c24f4c4a1c9c6f0123456789ab",
        ];
        let uids = texts.map(Uid::from);
        assert_eq!(uids.each_ref().map(ToString::to_string), texts);
        for (i, one) in uids.iter().enumerate() {
            assert!(
                uids.iter()
                    .enumerate()
                    .all(|(j, other)| (one == other) == (i == j))
            );
        }
        let short = uids.iter().filter(|uid| matches!(uid.0, Form::Uuid(_)));
        assert_eq!(short.count(), 1);
        assert_eq!(size_of::<Uid>(), 24);
    }
}
