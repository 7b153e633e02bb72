//! A terminal for a program that wants one, and what it shows.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZeroU16,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use nix::pty::{Winsize, openpty};
use vt100::Parser;
use weir_world::until;

const PATIENCE: Duration = Duration::from_secs(30);

/// A program on a terminal.
pub struct Pty {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Parser>>,
}

impl Pty {
    /// Starts a program whose standard streams and controlling terminal are one terminal of this size. `command` is
    /// `setsid`, as which place it ever runs in.
    pub fn start(
        mut command: Command,
        words: &[&str],
        (rows, columns): (u16, u16),
    ) -> Result<Self> {
        let whole = |number| NonZeroU16::new(number).context("a terminal without room");
        let parser = Parser::new(whole(rows)?, whole(columns)?, 0);
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let ends = openpty(&size, None).context("open a terminal")?;
        command.args(["--ctty", "--wait"]).args(words);
        command
            .env("TERM", "xterm-256color")
            .stdin(ends.slave.try_clone()?)
            .stdout(ends.slave.try_clone()?)
            .stderr(ends.slave);
        let child = command.spawn().context("start a program on a terminal")?;
        // With it the terminal's other end is closed here: reading ends when the program does.
        drop(command);
        let keyboard = File::from(ends.master);
        let mut picture = keyboard.try_clone()?;
        let screen = Arc::new(Mutex::new(parser));
        let shown = Arc::clone(&screen);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = picture.read(&mut bytes) {
                lock(&shown).process(&bytes[..count]);
            }
        });
        Ok(Self {
            child,
            keyboard,
            screen,
        })
    }

    /// What is on the screen.
    pub fn text(&self) -> String {
        lock(&self.screen).screen().contents()
    }

    /// Whether a program has the whole screen to itself.
    pub fn is_taken(&self) -> bool {
        lock(&self.screen).screen().alternate_screen()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keyboard.write_all(keys.as_bytes()).context("type")
    }

    /// Waits until the screen is so; gives it.
    pub fn eventually(&self, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
        until(what, PATIENCE, || {
            let text = self.text();
            Ok(is(&text).then_some(text))
        })
        .with_context(|| format!("the screen is\n{}", self.text()))
    }

    /// Waits for the program's end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        until("the program to end", PATIENCE, || {
            Ok(self.child.try_wait()?)
        })
        .with_context(|| format!("the screen is\n{}", self.text()))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It has ended, or a test has failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lock(screen: &Mutex<Parser>) -> MutexGuard<'_, Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
