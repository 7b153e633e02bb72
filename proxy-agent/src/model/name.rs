//! Names of objects.

use std::fmt;

use arcstr::ArcStr;

/// Between namespace and name: less than all that may be in them, so that names sort by namespace first.
const SEPARATOR: char = '\0';

/// Namespace and name of an object, as one shared text: a copy costs no memory, and at ten thousand Services
/// there are many copies.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(ArcStr);

impl ObjectName {
    /// A name in a namespace, which is empty for cluster-scoped objects.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        Self([namespace, name].join("\0").into())
    }

    /// Namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        self.parts().0
    }

    /// Name.
    pub fn name(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        self.0.split_once(SEPARATOR).unwrap_or(("", &self.0))
    }
}

impl Default for ObjectName {
    fn default() -> Self {
        Self::new("", "")
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            ("", name) => f.write_str(name),
            (namespace, name) => write!(f, "{namespace}/{name}"),
        }
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectName({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::ObjectName;

    #[test]
    fn names_sort_by_namespace_first() {
        let names = [
            ("", "z"),
            ("a", "a-b"),
            ("a", "b"),
            ("a-b", "a"),
            ("a.b", "a"),
        ];
        let names = names.map(|(namespace, name)| ObjectName::new(namespace, name));
        assert!(names.is_sorted());
        assert_eq!((names[1].namespace(), names[1].name()), ("a", "a-b"));
        let texts = names.map(|name| name.to_string());
        assert_eq!(texts, ["z", "a/a-b", "a/b", "a-b/a", "a.b/a"]);
    }
}
