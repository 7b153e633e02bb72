//! The words of errors; those of command lines in the shape of all others: what is wrong, then a hint.

use std::{error::Error, iter::successors};

use clap::error::ErrorKind;
use kube::core::Status;

/// How clap ends what it says of an error.
const MORE: &str = "For more information, try '--help'.";

/// What to print, and whether it is an error; else it is help or a version, which goes to standard output.
pub(crate) fn told(error: &clap::Error, program: &str) -> (String, bool) {
    let text = error.render().to_string();
    let is_help = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    if is_help {
        return (text, false);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let hint = format!("hint: name one of these; {program} help VERB says more");
        return (format!("error: no verb\n\n{text}\n{hint}\n"), true);
    }
    let text = text.trim_end();
    let text = text.strip_suffix(MORE).unwrap_or(text).trim_end();
    let hint = format!("hint: {program} --help says what there is, for a verb too");
    (format!("{text}\n{hint}\n"), true)
}

/// An error with all its causes. Many name their cause themselves: nothing is said twice.
pub(crate) fn in_full(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in causes(error.as_ref()).map(words) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// An error with its causes.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = words(error);
    for reason in causes(error).skip(1).map(words) {
        if !text.contains(&reason) {
            text.push_str(": ");
            text.push_str(&reason);
        }
    }
    text
}

/// An error and its causes, down to an API server's refusal: it has said what there is to say.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let next = |error: &&'a (dyn Error + 'static)| -> Option<&'a (dyn Error + 'static)> {
        let error = *error;
        let more = refusal(error).is_none();
        more.then(|| error.source()).flatten()
    };
    successors(Some(error), next)
}

/// The API server's answer, if that is the error.
fn refusal<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Status> {
    match error.downcast_ref()? {
        kube::Error::Api(status) => Some(status),
        _ => None,
    }
}

/// What an error says. Of an API server's refusal its message alone: kube adds all fields of the answer, as they stand in the code.
fn words(error: &(dyn Error + 'static)) -> String {
    let text = error.to_string();
    let Some((error, status)) = causes(error).find_map(|error| Some((error, refusal(error)?)))
    else {
        return text;
    };
    let mut said = [&status.message, &status.reason].into_iter();
    let said = said.find(|said| !said.is_empty());
    let said = said.map_or_else(|| format!("HTTP status {}", status.code), Clone::clone);
    text.replace(&error.to_string(), &said)
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::{chain, in_full, told};

    #[test]
    fn of_a_refusal_the_message_is_said_and_not_how_it_is_kept() {
        for (message, reason, said) in [
            ("pods is forbidden", "Forbidden", "pods is forbidden"),
            ("", "Forbidden", "Forbidden"),
            ("", "", "HTTP status 403"),
        ] {
            let refusal = || {
                let status = serde_json::json!({
                    "status": "Failure", "message": message, "reason": reason, "code": 403,
                });
                kube::Error::Api(serde_json::from_value(status).unwrap())
            };
            assert_eq!(chain(&refusal()), said);
            let watch = kube::runtime::watcher::Error::InitialListFailed(refusal());
            let outer = anyhow::Error::from(watch).context("list pods");
            for text in [in_full(&outer), chain(outer.as_ref())] {
                assert!(text.starts_with("list pods: "), "{text}");
                assert!(text.ends_with(said) && !text.contains('{'), "{text}");
            }
        }
    }

    #[test]
    fn a_cause_that_an_error_names_itself_is_not_said_twice() {
        let cause = std::io::Error::other("address in use");
        let error = anyhow::anyhow!("listen on 1: {cause}");
        let twice = anyhow::Error::from(cause).context("listen on 1: address in use");
        assert_eq!(in_full(&twice), "listen on 1: address in use");
        assert_eq!(in_full(&error), "listen on 1: address in use");
        let once = error.context("start");
        assert_eq!(in_full(&once), "start: listen on 1: address in use");
    }

    fn said(words: &[&str]) -> (String, bool) {
        let command = Command::new("it")
            .version("1")
            .arg_required_else_help(true)
            .arg(Arg::new("size").long("size").value_parser(["small"]));
        told(&command.try_get_matches_from(words).unwrap_err(), "it")
    }

    #[test]
    fn errors_begin_alike_and_end_in_a_hint() {
        for words in [&["it", "--sise"][..], &["it", "--size", "huge"], &["it"]] {
            let (text, is_error) = said(words);
            assert!(is_error && text.starts_with("error: "), "{text}");
            let last = text.lines().last().unwrap();
            assert!(last.starts_with("hint: "), "{text}");
        }
        assert_eq!(said(&["it", "--version"]), ("it 1\n".to_owned(), false));
    }
}
