//! When a node's key changes. A new one is made and kept beside the present one, published, and used once the API server shows it:
//! as long as the others cannot have heard of it they are spoken to with the one that they know.
//!
//! A peer has one key, and its addresses belong to that; so others move when they see the new one, and this node does when it sees
//! it as well. Who is the later of the two finds the other waiting, and both greet at once.

use super::key::PublicKey;

/// What the node has of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// That of the file.
    pub present: Option<PublicKey>,
    /// That which was made to take its place.
    pub next: Option<PublicKey>,
    /// That of the device.
    pub device: Option<PublicKey>,
    /// How long there has been the present one.
    pub age: Age,
}

/// The age of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Age {
    /// It was made a moment ago.
    Young,
    /// Neither.
    #[default]
    Settled,
    /// As old as a key may become.
    Old,
}

/// What the API server shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The key of this node's Node.
    pub own: Option<PublicKey>,
    /// Another Node has the key that is present here.
    pub shared: bool,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the device has the present key, and the next one, else the present one, is to be published.
    Stay,
    /// The node has no key, and nobody expects one: one is made, and used at once.
    Begin,
    /// One is made that is to take the present one's place.
    Prepare,
    /// Somebody has removed the file of a key that is in use: it is written again, until the next one is known.
    Restore,
    /// The next one takes the present one's place.
    Adopt,
}

impl Held {
    /// What is to be done next. Whoever removes the present key's file asks for another one.
    pub fn step(self, shown: Shown) -> Step {
        let is_known = self.next.is_some() && self.next == shown.own;
        match (self.present, self.next, self.device) {
            (None, None, None) => Step::Begin,
            (None, None, Some(_)) => Step::Prepare,
            // The former one is lost: nobody can be spoken to with it.
            (None, Some(_), None) => Step::Adopt,
            (_, Some(_), _) if is_known => Step::Adopt,
            (None, Some(_), Some(_)) => Step::Restore,
            (Some(_), None, _) if self.is_over(shown) => Step::Prepare,
            (Some(_), ..) => Step::Stay,
        }
    }

    /// A key that another node has as well reaches neither; but whoever copies one after the other must not keep this node busy.
    fn is_over(self, shown: Shown) -> bool {
        self.age == Age::Old || shown.shared && self.age != Age::Young
    }
}

#[cfg(test)]
mod tests;
