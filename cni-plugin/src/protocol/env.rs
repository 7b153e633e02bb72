//! The environment of a call: `CNI_*`.
//!
//! libcni sets every variable, with an empty value where a verb has none: empty counts as missing.

use super::error::{Error, code};
use crate::rpc::{Key, PodRef};

/// Verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Wire a container.
    Add,
    /// Undo that.
    Del,
    /// Is it as ADD left it?
    Check,
    /// Drop what belongs to no container of a list.
    Gc,
    /// Could ADD be served?
    Status,
    /// Which versions are spoken?
    Version,
}

impl Verb {
    /// As in `CNI_COMMAND`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }

    fn parse(text: &str) -> Result<Self, Error> {
        [
            Self::Add,
            Self::Del,
            Self::Check,
            Self::Gc,
            Self::Status,
            Self::Version,
        ]
        .into_iter()
        .find(|v| v.as_str() == text)
        .ok_or_else(|| Error::new(code::ENVIRONMENT, format!("unknown CNI_COMMAND: {text}")))
    }

    /// Variables without which the verb makes no sense. (`CNI_PATH` is of no use to us.)
    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc | Self::Status | Self::Version => &[],
        }
    }
}

/// A parsed environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID` and `CNI_IFNAME`; empty for verbs without a container.
    pub key: Key,
    /// `CNI_NETNS`.
    pub netns: Option<String>,
    /// The pod, from `CNI_ARGS`.
    pub pod: PodRef,
}

impl Call {
    /// Reads the environment through `get`. `None`: there is no `CNI_COMMAND`, a person started us.
    pub fn parse(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, Error> {
        let get = |name: &str| get(name).filter(|v| !v.is_empty());
        let Some(verb) = get("CNI_COMMAND") else {
            return Ok(None);
        };
        let verb = Verb::parse(&verb)?;
        let missing: Vec<_> = verb
            .required()
            .iter()
            .filter(|name| get(name).is_none())
            .copied()
            .collect();
        if !missing.is_empty() {
            return Err(Error::new(
                code::ENVIRONMENT,
                format!("required env variables [{}] missing", missing.join(",")),
            ));
        }
        let key = Key {
            container_id: get("CNI_CONTAINERID").unwrap_or_default(),
            ifname: get("CNI_IFNAME").unwrap_or_default(),
        };
        if !verb.required().is_empty() {
            check_container_id(&key.container_id)?;
            check_ifname(&key.ifname)?;
        }
        Ok(Some(Self {
            verb,
            key,
            netns: get("CNI_NETNS"),
            pod: pod_of(&get("CNI_ARGS").unwrap_or_default()),
        }))
    }
}

/// Names of containers and networks: `^[a-zA-Z0-9][a-zA-Z0-9_.\-]*$`. Bounded, because it becomes the name
/// of a file.
pub fn is_identifier(text: &str) -> bool {
    text.len() <= 200
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn check_container_id(id: &str) -> Result<(), Error> {
    if is_identifier(id) {
        return Ok(());
    }
    Err(Error::new(code::ENVIRONMENT, "invalid characters in containerID").because(id))
}

fn check_ifname(name: &str) -> Result<(), Error> {
    let fault = if name.len() > 15 {
        "interface name is too long: CNI_IFNAME may have 15 bytes"
    } else if name == "." || name == ".." {
        "interface name is . or ..: CNI_IFNAME"
    } else if name.contains(['/', ':']) || name.contains(char::is_whitespace) {
        "interface name contains / or : or whitespace characters: CNI_IFNAME"
    } else {
        return Ok(());
    };
    Err(Error::new(code::ENVIRONMENT, fault).because(name))
}

fn pod_of(args: &str) -> PodRef {
    let mut pod = PodRef::default();
    for (key, value) in args.split(';').filter_map(|a| a.split_once('=')) {
        match key {
            "K8S_POD_NAMESPACE" => value.clone_into(&mut pod.namespace),
            "K8S_POD_NAME" => value.clone_into(&mut pod.name),
            "K8S_POD_UID" => value.clone_into(&mut pod.uid),
            _ => {}
        }
    }
    pod
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(vars: &[(&str, &str)]) -> Result<Option<Call>, Error> {
        let vars: Vec<(String, String)> = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        Call::parse(|name| vars.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()))
    }

    #[test]
    fn an_empty_variable_is_a_missing_one() {
        let error = call(&[
            ("CNI_COMMAND", "ADD"),
            ("CNI_NETNS", ""),
            ("CNI_IFNAME", "e"),
        ])
        .unwrap_err();
        assert_eq!(
            error.msg,
            "required env variables [CNI_CONTAINERID,CNI_NETNS] missing"
        );
        assert_eq!(error.code, code::ENVIRONMENT);
        assert_eq!(call(&[("CNI_COMMAND", "")]).unwrap(), None);
    }

    #[test]
    fn names_that_would_leave_the_folder_are_refused() {
        for id in ["../x", "a/b", "", "-a", ".a", "a:b", &"a".repeat(201)] {
            assert!(!is_identifier(id), "{id:?}");
        }
        for name in ["a/b", "a:b", "a b", ".", "..", "0123456789abcdef"] {
            let error = call(&[
                ("CNI_COMMAND", "DEL"),
                ("CNI_CONTAINERID", "x"),
                ("CNI_IFNAME", name),
            ])
            .unwrap_err();
            assert_eq!(
                (error.code, error.details.as_str()),
                (code::ENVIRONMENT, name)
            );
        }
    }

    #[test]
    fn the_pod_is_read_from_the_arguments_in_any_order() {
        let call = call(&[
            ("CNI_COMMAND", "DEL"),
            ("CNI_CONTAINERID", "x"),
            ("CNI_IFNAME", "eth0"),
            (
                "CNI_ARGS",
                "K8S_POD_NAME=n;IgnoreUnknown=1;K8S_POD_UID=u;K8S_POD_NAMESPACE=s;odd",
            ),
        ])
        .unwrap()
        .unwrap();
        assert_eq!(
            (call.pod.to_string(), call.pod.uid),
            ("s/n".into(), "u".into())
        );
    }
}
