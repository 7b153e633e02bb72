//! Addresses of a pod.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Addresses of a pod, in their order: one of a family each takes no memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIps(Form);

/// A list has one form only.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    V4(Ipv4Addr),
    V6(Ipv6Addr),
    V4First(Ipv4Addr, Ipv6Addr),
    V6First(Ipv6Addr, Ipv4Addr),
    Other(Box<[IpAddr]>),
}

impl PodIps {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<'_> {
        let (first, second, others): (_, _, &[IpAddr]) = match &self.0 {
            Form::V4(v4) => (Some((*v4).into()), None, &[]),
            Form::V6(v6) => (Some((*v6).into()), None, &[]),
            Form::V4First(v4, v6) => (Some((*v4).into()), Some((*v6).into()), &[]),
            Form::V6First(v6, v4) => (Some((*v6).into()), Some((*v4).into()), &[]),
            Form::Other(all) => (None, None, all),
        };
        [first, second]
            .into_iter()
            .flatten()
            .chain(others.iter().copied())
    }
}

impl Default for PodIps {
    fn default() -> Self {
        Self(Form::Other(Box::default()))
    }
}

impl From<Vec<IpAddr>> for PodIps {
    fn from(all: Vec<IpAddr>) -> Self {
        Self(match *all {
            [IpAddr::V4(v4)] => Form::V4(v4),
            [IpAddr::V6(v6)] => Form::V6(v6),
            [IpAddr::V4(v4), IpAddr::V6(v6)] => Form::V4First(v4, v6),
            [IpAddr::V6(v6), IpAddr::V4(v4)] => Form::V6First(v6, v4),
            _ => Form::Other(all.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::PodIps;

    #[test]
    fn they_are_what_was_put_in() {
        let [a, b] = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let lists = [
            vec![],
            vec![a],
            vec![b],
            vec![a, b],
            vec![b, a],
            vec![a, a],
            vec![a, b, a],
        ];
        for list in lists {
            assert_eq!(PodIps::from(list.clone()).iter().collect::<Vec<_>>(), list);
        }
        assert_eq!(PodIps::default(), Vec::new().into());
        assert_eq!(size_of::<PodIps>(), 24);
    }
}
