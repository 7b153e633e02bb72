//! Labels of objects.

use std::{collections::BTreeMap, fmt};

use arcstr::ArcStr;

/// Behind each key and each value: no label has it in it.
const END: char = '\0';

/// Labels of an object, as one shared text: a copy costs no memory, and most pods have the labels of others.
/// Sorted by key; no key or value holds a NUL.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(ArcStr);

impl Labels {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (found, value) = self.iter().find(|(k, _)| *k >= key)?;
        (found == key).then_some(value)
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut texts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((texts.next()?, texts.next()?)))
    }

    /// Sets one.
    pub fn set(&mut self, key: &str, value: &str) {
        let others = self.iter().filter(|(k, _)| *k != key);
        *self = others.chain([(key, value)]).collect();
    }

    /// Whether both are one and the same.
    pub fn is(&self, other: &Self) -> bool {
        ArcStr::ptr_eq(&self.0, &other.0)
    }

    /// Whether nobody else has them.
    pub fn is_last(&self) -> bool {
        ArcStr::strong_count(&self.0) == Some(1)
    }

    /// Whether such a text can be told from others.
    pub fn takes(text: &str) -> bool {
        !text.contains(END)
    }
}

/// What does not fit (see [`Labels::takes`]) is left out.
impl<K: AsRef<str>, V: AsRef<str>> FromIterator<(K, V)> for Labels {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(labels: I) -> Self {
        let labels: Vec<(K, V)> = labels.into_iter().collect();
        let labels = labels.iter().map(|(k, v)| (k.as_ref(), v.as_ref()));
        let sorted: BTreeMap<&str, &str> = labels
            .filter(|(k, v)| Self::takes(k) && Self::takes(v))
            .collect();
        let texts = sorted
            .iter()
            .flat_map(|(key, value)| [*key, "\0", *value, "\0"]);
        Self(texts.collect::<String>().into())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::Labels;

    #[test]
    fn they_are_what_was_put_in() {
        let given = [("b", ""), ("a", "x"), ("c", "y")];
        let mut labels: Labels = given.into_iter().collect();
        let all: Vec<_> = labels.iter().collect();
        assert_eq!(all, [("a", "x"), ("b", ""), ("c", "y")]);
        assert_eq!(labels, given.into_iter().rev().collect());
        labels.set("a", "z");
        labels.set("d", "w");
        let values = ["a", "b", "d", "x", ""].map(|key| labels.get(key));
        assert_eq!(values, [Some("z"), Some(""), Some("w"), None, None]);
        assert_eq!(Labels::default().iter().next(), None);
        assert_eq!(Labels::default().get(""), None);
    }

    #[test]
    fn a_copy_is_the_same_text_in_one_word() {
        let labels: Labels = [("a", "b")].into_iter().collect();
        assert!(labels.is_last());
        let copy = labels.clone();
        assert!(copy.is(&labels) && !labels.is_last());
        assert_eq!(size_of::<Labels>(), size_of::<usize>());
    }
}
