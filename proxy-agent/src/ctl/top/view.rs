//! What a person looks at, and what keys change of it.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    By,
    order::{self, Order},
};
use crate::ctl::{CtlError, Exit, args::TopArgs};

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// By what is counted.
    pub by: By,
    /// How rows of each are sorted.
    pub orders: [Order; By::ALL.len()],
    /// Text that names of rows have in them.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// So many rows are above the screen.
    pub above: usize,
}

/// What a key asks for beside another view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing.
    Stay,
    /// To end.
    Quit,
}

impl View {
    /// As the command line has it.
    pub fn new(args: &TopArgs) -> Result<Self, CtlError> {
        let mut view = Self {
            by: args.by,
            filter: args.filter.clone().unwrap_or_default(),
            ..Self::default()
        };
        if let Some(word) = &args.sort {
            let heads = args.by.heads();
            let column = order::column(heads, word).ok_or_else(|| {
                CtlError::new(
                    Exit::Usage,
                    format!("`{word}` is no column"),
                    format!("there are {}", heads.join(", ").to_lowercase()),
                )
            })?;
            view.orders[args.by as usize].column = column;
        }
        Ok(view)
    }

    /// How rows are sorted.
    pub const fn order(&self) -> Order {
        self.orders[self.by as usize]
    }

    /// Does what a key says.
    pub fn key(&mut self, key: KeyEvent) -> Asked {
        if key.kind == KeyEventKind::Release {
            return Asked::Stay;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Asked::Quit,
            _ if control => {}
            code if self.typing => self.typed(code),
            KeyCode::Char('q') => return Asked::Quit,
            code => self.command(code),
        }
        Asked::Stay
    }

    fn typed(&mut self, code: KeyCode) {
        self.above = 0;
        match code {
            KeyCode::Char(letter) => self.filter.push(letter),
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Enter => self.typing = false,
            KeyCode::Esc => self.unfilter(),
            _ => {}
        }
    }

    fn unfilter(&mut self) {
        self.filter.clear();
        self.typing = false;
    }

    fn command(&mut self, code: KeyCode) {
        let of_order = matches!(code, KeyCode::Left | KeyCode::Right | KeyCode::Char('r'));
        let of_view = matches!(code, KeyCode::Tab | KeyCode::BackTab | KeyCode::Home);
        if of_order || of_view {
            self.above = 0;
        }
        match code {
            KeyCode::Tab => self.by = self.by.next(1),
            KeyCode::BackTab => self.by = self.by.next(By::ALL.len() - 1),
            KeyCode::Left => self.sort_beside(-1),
            KeyCode::Right => self.sort_beside(1),
            KeyCode::Char('r') => {
                let order = &mut self.orders[self.by as usize];
                order.reversed = !order.reversed;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Esc => self.unfilter(),
            KeyCode::Up => self.above = self.above.saturating_sub(1),
            KeyCode::Down => self.above += 1,
            KeyCode::PageUp => self.above = self.above.saturating_sub(PAGE),
            KeyCode::PageDown => self.above += PAGE,
            _ => {}
        }
    }

    /// Sorts by the column to the left or right; beyond the last one is the first.
    fn sort_beside(&mut self, step: isize) {
        let columns = self.by.heads().len();
        let order = &mut self.orders[self.by as usize];
        let beside = order.column.checked_add_signed(step);
        order.column = beside.unwrap_or(columns - 1) % columns;
    }
}

/// Rows that a page key goes on by.
const PAGE: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn press(view: &mut View, keys: &[KeyCode]) -> Asked {
        let mut asked = Asked::Stay;
        for key in keys {
            asked = view.key(KeyEvent::from(*key));
        }
        asked
    }

    #[test]
    fn keys_choose_view_order_and_filter() {
        let mut view = View::default();
        press(
            &mut view,
            &[KeyCode::Tab, KeyCode::Right, KeyCode::Char('r')],
        );
        assert_eq!(view.by, By::Pod);
        let order = |column, reversed| Order { column, reversed };
        assert_eq!(view.order(), order(2, true));
        press(&mut view, &[KeyCode::BackTab]);
        assert_eq!((view.by, view.order()), (By::Service, order(1, false)));
        press(&mut view, &[KeyCode::Left, KeyCode::Left]);
        assert_eq!(view.order().column, By::Service.heads().len() - 1);
        press(&mut view, &[KeyCode::Right]);
        assert_eq!(view.order().column, 0);
        press(
            &mut view,
            &[KeyCode::BackTab, KeyCode::PageDown, KeyCode::Up],
        );
        assert_eq!((view.by, view.above), (By::Drop, PAGE - 1));

        let typed = [KeyCode::Char('/'), KeyCode::Char('q'), KeyCode::Char('x')];
        assert_eq!(press(&mut view, &typed), Asked::Stay);
        press(&mut view, &[KeyCode::Backspace]);
        assert_eq!(
            (view.filter.as_str(), view.typing, view.above),
            ("q", true, 0)
        );
        press(&mut view, &[KeyCode::Enter, KeyCode::Tab]);
        assert_eq!((view.filter.as_str(), view.by), ("q", By::Service));
        press(&mut view, &[KeyCode::Esc]);
        assert_eq!(view.filter, "");
        assert_eq!(press(&mut view, &[KeyCode::Char('q')]), Asked::Quit);
    }

    #[test]
    fn control_c_ends_it_while_a_filter_is_typed_too() {
        let mut view = View::default();
        press(&mut view, &[KeyCode::Char('/')]);
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(view.key(key), Asked::Quit);
        assert_eq!(view.filter, "");
    }
}
