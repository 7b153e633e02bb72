//! What the owner of an object should know.

use super::{Kind, ObjectName};

/// Something about an object of the cluster, for as long as it is so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Notice {
    /// Kind of the object.
    pub kind: Kind,
    /// Its name.
    pub object: ObjectName,
    /// Why, in one word of `CamelCase`.
    pub reason: &'static str,
    /// What about it.
    pub note: String,
}
