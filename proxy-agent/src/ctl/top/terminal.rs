//! The terminal: taken for a while, and given back as it was.

use std::{
    io::{self, Write as _},
    thread,
};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    event::{self, Event},
    queue,
    style::{Attribute, Print, SetAttribute},
    terminal::{
        self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate,
        EnterAlternateScreen, LeaveAlternateScreen,
    },
};
use tokio::sync::mpsc::{Receiver, channel};

use super::screen::{Line, Look};

/// A terminal that is ours until this is dropped.
#[derive(Debug)]
pub struct Terminal(());

impl Terminal {
    /// Takes it.
    pub fn take() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let taken = Self(());
        let mut out = io::stdout().lock();
        queue!(out, EnterAlternateScreen, Hide)?;
        out.flush()?;
        Ok(taken)
    }

    /// Width and height.
    pub fn size() -> io::Result<(usize, usize)> {
        let (width, height) = terminal::size()?;
        Ok((width.into(), height.into()))
    }

    /// Shows these lines and nothing else.
    pub fn show(&self, lines: &[Line]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for (row, line) in (0_u16..).zip(lines) {
            let look = match line.look {
                Look::Plain => Attribute::Reset,
                Look::Bold => Attribute::Bold,
                Look::Reversed => Attribute::Reverse,
            };
            queue!(
                out,
                MoveTo(0, row),
                SetAttribute(look),
                Print(&line.text),
                SetAttribute(Attribute::Reset)
            )?;
            // Behind a line that fills its row the cursor stands on the last sign.
            let (width, _) = Self::size()?;
            if line.text.chars().count() < width {
                queue!(out, Clear(ClearType::UntilNewLine))?;
            }
        }
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // A terminal that is gone needs nothing back.
        drop(queue!(out, Show, LeaveAlternateScreen).and_then(|()| out.flush()));
        drop(terminal::disable_raw_mode());
    }
}

/// Keys, and changes of the size, as they come. Who reads them waits for ever, and ends with the process.
pub fn events() -> Receiver<io::Result<Event>> {
    let (tell, told) = channel(64);
    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if tell.blocking_send(event).is_err() || is_last {
                return;
            }
        }
    });
    told
}
