//! Exit codes and errors of `proxyctl`: what, object, cause, then a hint.

use std::io::{self, Write};

use crate::api::client::ClientError;

/// Declares the exit codes once.
macro_rules! exits {
    ($($name:ident = $code:literal, $meaning:literal;)+) => {
        /// Exit codes. Scripts rely on them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Exit {
            $(#[doc = $meaning] $name = $code,)+
        }

        impl Exit {
            /// Every code with what it means.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $meaning)),+];

            /// By its number; none if another program ended so.
            pub const fn of(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

exits! {
    Ok = 0, "All is well.";
    Failed = 1, "Something is wrong, or differs.";
    Usage = 2, "The command line is wrong.";
    Unreachable = 3, "The agent, or the pinned state, cannot be reached.";
    TimedOut = 4, "Waiting took too long.";
    Undecided = 5, "What was asked can only be told elsewhere.";
}

/// Why a verb could not be done.
#[derive(Debug)]
pub struct CtlError {
    /// The exit code; [`Exit::Ok`] only if the reader of our output went away.
    pub exit: Exit,
    /// What went wrong, with what, and why.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl CtlError {
    /// A failure, and what to do about it.
    pub fn new(exit: Exit, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Tells a person, and gives the exit code.
    pub fn report(&self, to: &mut impl Write) -> Exit {
        if self.exit != Exit::Ok {
            // If stderr is closed there is nobody left to tell.
            drop(writeln!(to, "error: {}", self.message));
            drop(writeln!(to, "hint: {}", self.hint));
        }
        self.exit
    }

    /// What to do about an agent that does not answer.
    pub const fn hint_for(error: &ClientError) -> &'static str {
        match error {
            ClientError::Unreachable { .. } => {
                "is the DaemonSet running on this node? try: kubectl -n kube-system get pods -l app.kubernetes.io/name=weir -o wide; where it runs, proxyctl check says whether its folder is there; if its runDir is another folder, name that by --run-dir"
            }
            ClientError::Timeout { .. } => "the agent is busy or stuck: see its log",
            ClientError::Refused { .. } => {
                "the agent says why; is it of another version? try: proxyctl version"
            }
            ClientError::Broken { .. } => "did the agent end meanwhile? see its log",
        }
    }
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        // `proxyctl dump services | head`: the reader has seen enough.
        let exit = if error.kind() == io::ErrorKind::BrokenPipe {
            Exit::Ok
        } else {
            Exit::Failed
        };
        let message = format!("write output: {error}");
        Self::new(exit, message, "has the place that it goes to room left?")
    }
}

impl From<ClientError> for CtlError {
    fn from(error: ClientError) -> Self {
        let exit = match error {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Timeout { .. } => Exit::TimedOut,
            ClientError::Refused { .. } | ClientError::Broken { .. } => Exit::Failed,
        };
        let hint = Self::hint_for(&error);
        Self::new(exit, error.to_string(), hint)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{CtlError, Exit};
    use crate::api::client::ClientError;

    fn told(error: &CtlError) -> (Exit, String) {
        let mut text = Vec::new();
        let exit = error.report(&mut text);
        (exit, String::from_utf8(text).unwrap())
    }

    #[test]
    fn says_what_object_cause_and_hint() {
        let source = io::Error::from_raw_os_error(libc::ENOENT);
        let error = ClientError::Unreachable {
            socket: "/run/weir/agent.sock".into(),
            source,
        };
        let (exit, text) = told(&error.into());
        assert_eq!(exit, Exit::Unreachable);
        assert_eq!(
            text,
            "error: cannot reach the agent on /run/weir/agent.sock: No such file or directory (os error 2)\n\
             hint: is the DaemonSet running on this node? try: kubectl -n kube-system get pods -l app.kubernetes.io/name=weir -o wide; where it runs, proxyctl check says whether its folder is there; if its runDir is another folder, name that by --run-dir\n"
        );
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let (exit, text) = told(&io::Error::from(io::ErrorKind::BrokenPipe).into());
        assert_eq!((exit, text.as_str()), (Exit::Ok, ""));
    }
}
