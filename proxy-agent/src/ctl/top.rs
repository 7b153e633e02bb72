//! `proxyctl top`: what happens per second, by Service port, by pod or by reason of drops.
//!
//! All of it is what the kernel has anyway: the table of flows, looked at twice, and the counters of drops. Packets and bytes
//! of Services and pods nobody counts. A [`sample`] is a look, [`count`] and [`rows`] make rates of two, [`order`] sorts and
//! filters them, [`screen`] makes lines of them: values, all of them. What is done is here and in [`terminal`].

pub mod count;
pub mod order;
pub mod rows;
pub mod sample;
pub mod screen;
pub mod sheet;
pub mod terminal;
pub mod view;

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use crossterm::event::Event;
use tokio::{
    signal::{
        self,
        unix::{SignalKind, signal},
    },
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    Context, CtlError, Exit,
    args::TopArgs,
    live::{self, Naming},
    output::{Format, Output, Row as _},
};
use rows::{DropRate, PodRate, ServiceRate};
use sample::{Known, Sample};
use sheet::Looks;
use terminal::Terminal;
use view::{Asked, View};

/// By what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Service ports
    #[default]
    Service,
    /// Pods of this node, and the node itself
    Pod,
    /// Reasons of drops
    Drop,
}

impl By {
    /// In the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Service, Self::Pod, Self::Drop];

    /// What a person calls them.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Service => "Services",
            Self::Pod => "Pods",
            Self::Drop => "Drops",
        }
    }

    /// The columns.
    pub const fn heads(self) -> &'static [&'static str] {
        match self {
            Self::Service => ServiceRate::COLUMNS,
            Self::Pod => PodRate::COLUMNS,
            Self::Drop => DropRate::COLUMNS,
        }
    }

    /// So many further on.
    const fn next(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

/// Looks again and again.
struct Watcher<'a> {
    context: &'a Context,
    naming: Naming,
    known: Known,
    before: Sample,
    after: Sample,
}

impl<'a> Watcher<'a> {
    async fn begin(context: &'a Context, raw: bool) -> Result<Self, CtlError> {
        let reader = live::reader(context)?;
        let naming = Naming::begin(context, raw).await;
        let known = Known::read(reader.maps())?;
        let sample = Sample::look(reader.maps(), &known)?;
        Ok(Self {
            context,
            naming,
            known,
            before: sample.clone(),
            after: sample,
        })
    }

    /// Looks once more. Maps are opened anew: the agent may have exchanged them.
    async fn look(&mut self) -> Result<(), CtlError> {
        let reader = live::reader(self.context)?;
        if self.naming.renew(self.context).await {
            self.known = Known::read(reader.maps())?;
        }
        let sample = Sample::look(reader.maps(), &self.known)?;
        self.before = std::mem::replace(&mut self.after, sample);
        Ok(())
    }

    const fn looks(&self) -> Looks<'_> {
        Looks {
            before: &self.before,
            after: &self.after,
            names: &self.naming.names,
            known: &self.known,
        }
    }
}

/// Shows rates until it is interrupted, or as often as it is told: on a terminal as a screen, else one table after another.
pub async fn run(context: &Context, args: &TopArgs, out: &mut Output) -> Result<Exit, CtlError> {
    let view = View::new(args)?;
    let watcher = Watcher::begin(context, args.raw).await?;
    let mut ticks = interval_at(Instant::now() + args.interval, args.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let is_for_people = matches!(out.format, Format::Table | Format::Wide);
    if is_for_people && io::stdout().is_terminal() && io::stdin().is_terminal() {
        let wide = out.format == Format::Wide;
        return on_screen(watcher, view, (ticks, args.count), wide).await;
    }
    print(watcher, &view, (ticks, args.count), out).await
}

async fn print(
    mut watcher: Watcher<'_>,
    view: &View,
    (mut ticks, count): (Interval, Option<u32>),
    out: &mut Output,
) -> Result<Exit, CtlError> {
    let mut printed = 0;
    while count.is_none_or(|count| printed < count) {
        tokio::select! {
            _ = ticks.tick() => {}
            interrupted = signal::ctrl_c() => {
                interrupted?;
                return Ok(Exit::Ok);
            }
        }
        watcher.look().await?;
        watcher.looks().print(view, printed == 0, out)?;
        out.flush()?;
        printed = printed.saturating_add(1);
    }
    Ok(Exit::Ok)
}

async fn on_screen(
    mut watcher: Watcher<'_>,
    mut view: View,
    (mut ticks, count): (Interval, Option<u32>),
    wide: bool,
) -> Result<Exit, CtlError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let terminal = Terminal::take()?;
    let mut events = terminal::events();
    let mut shown = 0;
    loop {
        let (looks, size) = (watcher.looks(), Terminal::size()?);
        let sheet = looks.sheet(&view, wide);
        view.above = view.above.min(screen::last(&sheet, size.1));
        terminal.show(&screen::draw(&view, &sheet, looks.over(), size)?)?;
        if count.is_some_and(|count| shown >= count) {
            return Ok(Exit::Ok);
        }
        let event = tokio::select! {
            _ = ticks.tick() => None,
            event = events.recv() => event.transpose()?,
            _ = terminate.recv() => return Ok(Exit::Ok),
        };
        match event {
            None => {
                watcher.look().await?;
                shown = shown.saturating_add(1);
            }
            Some(Event::Key(key)) if view.key(key) == Asked::Quit => return Ok(Exit::Ok),
            // Another size, or a key that has been obeyed.
            Some(_) => {}
        }
    }
}
