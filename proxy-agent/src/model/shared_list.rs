//! A list that many objects share.

use std::{ops::Deref, sync::Arc};

/// A list that many objects share, as one word in each of them (an `Arc` of a slice takes two).
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SharedList<T>(Arc<Box<[T]>>);

impl<T> SharedList<T> {
    /// Whether both are one and the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether nobody else has it.
    pub fn is_last(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<T> Clone for SharedList<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> Deref for SharedList<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> std::borrow::Borrow<[T]> for SharedList<T> {
    fn borrow(&self) -> &[T] {
        self
    }
}

impl<'a, T> IntoIterator for &'a SharedList<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> From<Vec<T>> for SharedList<T> {
    fn from(list: Vec<T>) -> Self {
        Self(Arc::new(list.into()))
    }
}

impl<T> FromIterator<T> for SharedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(list: I) -> Self {
        list.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    use super::SharedList;

    #[test]
    fn a_copy_is_the_same_list_in_one_word() {
        let list: SharedList<u8> = vec![1, 2, 3].into();
        assert!(list.is_last());
        let copy = list.clone();
        assert!(copy.is(&list) && !list.is_last());
        assert_eq!(*copy, [1, 2, 3]);
        assert_eq!(size_of_val(&copy), size_of::<usize>());
    }
}
