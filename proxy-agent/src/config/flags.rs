//! Flags of `proxy-agent`: `--config`, `--set` for every setting, and those that settings have of their own.

use std::path::PathBuf;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, error::Result as ClapResult,
    value_parser,
};

use super::definition::{DEFINITION, Setting};

/// What the command line told.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// The file.
    pub config: Option<PathBuf>,
    /// Single values, in the order in which they were told.
    pub told: Vec<Told>,
}

/// A single value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The flag, with what of it belongs to its name.
    pub flag: String,
    /// Path of the setting; it need not exist.
    pub path: String,
    /// The value.
    pub text: String,
}

const CONFIG: &str = "config";
const SET: &str = "set";

impl Flags {
    /// Adds what `--set PATH=VALUE` would.
    #[must_use]
    pub fn set(mut self, path: &str, text: &str) -> Self {
        self.told.push(Told::set(path, text));
        self
    }

    /// Of this file.
    #[must_use]
    pub fn of_file(path: impl Into<PathBuf>) -> Self {
        Self {
            config: Some(path.into()),
            told: Vec::new(),
        }
    }
}

impl Told {
    fn set(path: &str, text: &str) -> Self {
        Self {
            flag: format!("--set {path}"),
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}

fn with_flags() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    let settings = DEFINITION.settings.iter();
    settings.filter_map(|setting| Some((setting, setting.flag.as_deref()?)))
}

fn argument(setting: &'static Setting, flag: &'static str) -> Arg {
    Arg::new(flag)
        .long(flag)
        .value_name(setting.word.as_str())
        .help(format!("{} [{}]", setting.doc, setting.path))
        .global(true)
        .action(ArgAction::Append)
}

/// A path and a value, as `--set` takes them.
pub fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(path, value)| (path.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| "not PATH=VALUE, such as node.links.include=eth*".to_owned())
}

impl Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command = command
            .arg(
                Arg::new(CONFIG)
                    .long(CONFIG)
                    .value_name("FILE")
                    .env("WEIR_CONFIG")
                    .value_parser(value_parser!(PathBuf))
                    .global(true)
                    .help("File of `kind: AgentConfiguration`"),
            )
            .arg(
                Arg::new(SET)
                    .long(SET)
                    .value_name("PATH=VALUE")
                    .value_parser(pair)
                    .global(true)
                    .action(ArgAction::Append)
                    .help(
                        "Any setting of the file, such as node.links.include=eth*; lists by commas",
                    ),
            );
        with_flags().fold(command, |command, (setting, flag)| {
            command.arg(argument(setting, flag))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> ClapResult<Self> {
        let mut told = Vec::new();
        let indexes = |id: &str| matches.indices_of(id).into_iter().flatten();
        let sets = matches.get_many::<(String, String)>(SET);
        let sets = sets.into_iter().flatten();
        told.extend(indexes(SET).zip(sets.map(|(path, text)| Told::set(path, text))));
        for (setting, flag) in with_flags() {
            let texts = matches.get_many::<String>(flag).into_iter().flatten();
            let one = |text: &String| Told {
                flag: format!("--{flag}"),
                path: setting.path.clone(),
                text: text.clone(),
            };
            told.extend(indexes(flag).zip(texts.map(one)));
        }
        told.sort_by_key(|(index, _)| *index);
        Ok(Self {
            config: matches.get_one(CONFIG).cloned(),
            told: told.into_iter().map(|(_, told)| told).collect(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> ClapResult<()> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> ClapResult<Flags> {
        let command = Flags::augment_args(Command::new("proxy-agent"));
        let words = ["proxy-agent"].iter().chain(words);
        Flags::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn the_command_line_is_sound() {
        Flags::augment_args(Command::new("proxy-agent")).debug_assert();
    }

    #[test]
    fn values_come_in_the_order_of_the_command_line() {
        let words = [
            "--map-size",
            "small",
            "--set",
            "maps.size=large",
            "--link",
            "a=b",
        ];
        let flags = parsed(&words).unwrap();
        let told: Vec<_> = flags
            .told
            .iter()
            .map(|told| (told.flag.as_str(), told.path.as_str(), told.text.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("--map-size", "maps.size", "small"),
                ("--set maps.size", "maps.size", "large"),
                ("--link", "node.links.include", "a=b"),
            ]
        );
        let wrong = parsed(&["--set", "maps.size"]).unwrap_err().to_string();
        assert!(wrong.contains("not PATH=VALUE"), "{wrong}");
    }
}
