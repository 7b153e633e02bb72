//! Whether the manifests put the plugin where this node's runtime looks for it.

use crate::{
    config::{Configuration, Platform},
    model::Node,
};

/// What is wrong with the manifests' platform, said once.
#[derive(Debug, Default)]
pub struct Misplaced(Option<String>);

impl Misplaced {
    /// Looks at the Node, which says what the node is.
    pub fn look(&mut self, here: Option<&Node>, config: &Configuration) {
        let found = here.and_then(|node| {
            let [kubelet, image] = &node.kubelet_and_image;
            Platform::detect(kubelet, image)
        });
        let misplaced = found.and_then(|(name, found)| config.platform.mistake(name, found));
        let misplaced = misplaced.filter(|_| config.cni.install);
        if let Some(why) = misplaced
            .as_ref()
            .filter(|why| self.0.as_ref() != Some(*why))
        {
            tracing::warn!(why, "another platform");
        }
        self.0 = misplaced;
    }

    /// What is wrong.
    pub fn why(&self) -> Option<&str> {
        self.0.as_deref()
    }
}
