//! A list that mostly holds one thing.

use std::ops::Deref;

/// A list that mostly holds one thing, which then takes no memory of its own, and that hardly ever changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Few<T> {
    /// The only one.
    One(T),
    /// Several, or none.
    Many(Box<[T]>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<'a, T> IntoIterator for &'a Few<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> From<Vec<T>> for Few<T> {
    fn from(list: Vec<T>) -> Self {
        match <[T; 1]>::try_from(list) {
            Ok([one]) => Self::One(one),
            Err(many) => Self::Many(many.into()),
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(list: I) -> Self {
        list.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Few;

    #[test]
    fn it_holds_what_it_was_given() {
        for count in 0..4 {
            let list: Vec<usize> = (0..count).collect();
            assert_eq!(*Few::from(list.clone()), *list);
        }
        assert!(Few::<u8>::default().is_empty());
        assert_eq!(size_of::<Few<Arc<u8>>>(), size_of::<Box<[u8]>>());
    }
}
