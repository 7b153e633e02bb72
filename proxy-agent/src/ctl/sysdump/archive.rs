//! The file: bounded in size, without secrets, and with a list of what is in it and what could not be had.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use tar::{Builder, Header};

use super::{MIB, redact::Redactor};

/// Bytes of one file.
const FILE: usize = 4 * MIB;
/// The folder in it.
const ROOT: &str = "weir-sysdump/";
/// Name of the list.
const LIST: &str = "contents.txt";

/// What is kept of a file that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// Its beginning.
    Beginning,
    /// Its end, as of logs.
    End,
}

/// A compressed archive of text files.
pub(super) struct Archive<W: Write> {
    tar: Builder<GzEncoder<W>>,
    redactor: Redactor,
    left: usize,
    list: String,
}

impl<W: Write> Archive<W> {
    /// One that holds so many bytes, before they are compressed.
    pub(super) fn new(to: W, redactor: Redactor, limit: usize) -> Self {
        Self {
            tar: Builder::new(GzEncoder::new(to, Compression::default())),
            redactor,
            left: limit,
            list: String::new(),
        }
    }

    /// One that begins with what another has, made with the same limit; without the files of these names.
    pub(super) fn after(
        made: &[u8],
        to: W,
        redactor: Redactor,
        (limit, without): (usize, &[&str]),
    ) -> io::Result<Self> {
        let mut archive = Self::new(to, redactor, limit);
        for entry in tar::Archive::new(GzDecoder::new(made)).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            let name = path.strip_prefix(ROOT).unwrap_or(&path);
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            if name == LIST {
                archive.list = without_lines_of(&text, without);
            } else if !without.contains(&name) {
                archive.left = archive.left.saturating_sub(text.len());
                archive.write(name, &text)?;
            }
        }
        Ok(archive)
    }

    /// Adds a file, or notes why there is none.
    pub(super) fn add(
        &mut self,
        name: &str,
        keep: Keep,
        got: Result<Vec<u8>, String>,
    ) -> io::Result<()> {
        let bytes = match got {
            Ok(bytes) => bytes,
            Err(why) => {
                let why = self.redactor.clean(&why);
                return self.note(&format!("{name}: not collected: {}", why.trim()));
            }
        };
        // First of all: the rest of a secret that is cut in two would not be known for one.
        let clean = self.redactor.clean(&String::from_utf8_lossy(&bytes));
        let room = FILE.min(self.left);
        let kept = cut(&clean, keep, room);
        self.left -= kept.len();
        self.write(name, kept)?;
        let lost = clean.len() - kept.len();
        let which = match (lost, keep) {
            (0, _) => String::new(),
            (_, Keep::Beginning) => format!(", without its last {lost} bytes"),
            (_, Keep::End) => format!(", without its first {lost} bytes"),
        };
        self.note(&format!("{name}: {} bytes{which}", kept.len()))
    }

    /// Writes the list, and gives back where all went.
    pub(super) fn finish(mut self) -> io::Result<W> {
        let list = std::mem::take(&mut self.list);
        self.write(LIST, &list)?;
        self.tar.into_inner()?.finish()
    }

    fn write(&mut self, name: &str, text: &str) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_cksum();
        let path = format!("{ROOT}{name}");
        self.tar.append_data(&mut header, path, text.as_bytes())
    }

    fn note(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.list, "{line}").map_err(io::Error::other)
    }
}

/// A list without what it says of some names.
fn without_lines_of(list: &str, names: &[&str]) -> String {
    let is_of = |line: &str| {
        let name = line.split_once(": ").map(|(name, _)| name);
        name.is_some_and(|name| names.contains(&name))
    };
    let lines = list.split_inclusive('\n').filter(|line| !is_of(line));
    lines.collect()
}

/// As much of a text as there is room for.
fn cut(text: &str, keep: Keep, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    match keep {
        Keep::Beginning => &text[..text.floor_char_boundary(room)],
        Keep::End => &text[text.ceil_char_boundary(text.len() - room)..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_letters() {
        assert_eq!(cut("añb", Keep::Beginning, 2), "a");
        assert_eq!(cut("añb", Keep::End, 2), "b");
        assert_eq!(cut("añb", Keep::End, 4), "añb");
    }

    #[test]
    fn more_is_added_to_what_another_has_made() {
        let got = |text: &str| Ok(text.as_bytes().to_vec());
        let redactor = || Redactor::new(Vec::new(), Vec::new());
        let mut first = Archive::new(Vec::new(), redactor(), 10);
        first.add("a", Keep::Beginning, got("1234")).unwrap();
        first.add("b", Keep::End, Err("absent".to_owned())).unwrap();
        let made = first.finish().unwrap();
        let mut second = Archive::after(&made, Vec::new(), redactor(), (10, &["b", "c"])).unwrap();
        second.add("b", Keep::End, got("12345678")).unwrap();
        assert_eq!(
            second.list,
            "a: 4 bytes\nb: 6 bytes, without its first 2 bytes\n"
        );
        let made = second.finish().unwrap();
        let mut archive = tar::Archive::new(GzDecoder::new(&made[..]));
        let names = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            entry.path().unwrap().display().to_string()
        });
        let names: Vec<String> = names.collect();
        assert_eq!(names, ["a", "b", LIST].map(|name| format!("{ROOT}{name}")));
    }

    #[test]
    fn no_more_than_the_limit_is_written() {
        let redactor = Redactor::new(Vec::new(), Vec::new());
        let mut archive = Archive::new(Vec::new(), redactor, 10);
        let got = || Ok(b"1234567".to_vec());
        archive.add("a", Keep::Beginning, got()).unwrap();
        archive.add("b", Keep::End, got()).unwrap();
        archive
            .add("c", Keep::End, Err("absent".to_owned()))
            .unwrap();
        assert_eq!(
            archive.list,
            "a: 7 bytes\nb: 3 bytes, without its first 4 bytes\nc: not collected: absent\n"
        );
        assert!(!archive.finish().unwrap().is_empty());
    }
}
