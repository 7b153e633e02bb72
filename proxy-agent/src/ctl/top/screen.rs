//! What the terminal shows: lines of a size, made without one.

use std::{io, time::Duration};

use super::{By, sheet::Sheet, view::View};
use crate::ctl::output::columns;

/// Lines that are no rows: the views, the heads, the keys.
const AROUND: usize = 3;

const KEYS: &str = "tab view  left/right sort  r reverse  / filter  up/down scroll  q quit";

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As all text.
    Plain,
    /// It stands out.
    Bold,
    /// Light and dark exchanged.
    Reversed,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it says.
    pub text: String,
    /// How it looks.
    pub look: Look,
}

/// So many rows are above the screen when its height shows the last ones.
pub fn last(sheet: &Sheet, height: usize) -> usize {
    sheet
        .cells
        .len()
        .saturating_sub(height.saturating_sub(AROUND))
}

/// The lines of a screen of a width and a height.
pub fn draw(
    view: &View,
    sheet: &Sheet,
    over: Duration,
    (width, height): (usize, usize),
) -> io::Result<Vec<Line>> {
    let room = height.saturating_sub(AROUND);
    let above = view.above.min(last(sheet, height));
    let mut lines = vec![line(views(view, sheet, over), Look::Bold)];
    for (number, text) in table(view, sheet)?.into_iter().enumerate() {
        match number {
            0 => lines.push(line(format!("{text:<width$}"), Look::Reversed)),
            number if (above + 1..=above + room).contains(&number) => {
                lines.push(line(text, Look::Plain));
            }
            _ => {}
        }
    }
    lines.resize(height.saturating_sub(1), line(String::new(), Look::Plain));
    lines.push(foot(view));
    lines.truncate(height);
    for line in &mut lines {
        line.text = line.text.chars().take(width).collect();
    }
    Ok(lines)
}

const fn line(text: String, look: Look) -> Line {
    Line { text, look }
}

/// The views, that which is shown in brackets, and what is to be known of it.
fn views(view: &View, sheet: &Sheet, over: Duration) -> String {
    let views = By::ALL.map(|by| {
        if by == view.by {
            format!("[{}]", by.title())
        } else {
            format!(" {} ", by.title())
        }
    });
    let rows = if view.filter.is_empty() {
        format!("{} rows", sheet.all)
    } else {
        format!("{} of {} rows", sheet.cells.len(), sheet.all)
    };
    format!(
        "{}   {rows}   over {:.1}s",
        views.concat(),
        over.as_secs_f64()
    )
}

/// The table as it is printed elsewhere, with a sign at the column by which it is sorted.
fn table(view: &View, sheet: &Sheet) -> io::Result<Vec<String>> {
    let order = view.order();
    let sign = if order.reversed { "^" } else { "v" };
    let heads = sheet.heads.iter().enumerate().map(|(column, head)| {
        if column == order.column {
            format!("{head} {sign}")
        } else {
            (*head).to_owned()
        }
    });
    let heads: Vec<String> = heads.collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let mut text = Vec::new();
    columns(&heads, sheet.cells.iter().cloned(), &mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::to_owned).collect())
}

fn foot(view: &View) -> Line {
    if view.typing {
        return line(format!("filter: {}_", view.filter), Look::Bold);
    }
    if view.filter.is_empty() {
        return line(KEYS.to_owned(), Look::Plain);
    }
    let text = format!("filter: {}  (esc clears it)  {KEYS}", view.filter);
    line(text, Look::Plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(rows: usize) -> Sheet {
        let cells = (1..=rows).map(|n| {
            let row = [format!("shop/web-{n}"), format!("{n}.0"), "0.0".into()];
            [row.to_vec(), vec!["1".to_owned(); 3]].concat()
        });
        Sheet {
            heads: By::Pod.heads().to_vec(),
            cells: cells.collect(),
            all: 7,
        }
    }

    fn text(view: &View, rows: usize, size: (usize, usize)) -> String {
        let lines = draw(view, &sheet(rows), Duration::from_millis(1040), size).unwrap();
        assert_eq!(lines.len(), size.1);
        assert!(lines.iter().all(|line| line.text.chars().count() <= size.0));
        let lines = lines.iter().map(|line| line.text.trim_end());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_screen_has_views_heads_rows_and_keys() {
        let view = View {
            by: By::Pod,
            ..View::default()
        };
        assert_eq!(
            text(&view, 2, (76, 7)),
            " Services [Pods] Drops    7 rows   over 1.0s
POD          ASKED/S v   SERVED/S   ENDED/S   FLOWS   ESTABLISHED
shop/web-1   1.0         0.0        1         1       1
shop/web-2   2.0         0.0        1         1       1


tab view  left/right sort  r reverse  / filter  up/down scroll  q quit"
        );
        let heads = &draw(&view, &sheet(2), Duration::ZERO, (76, 7)).unwrap()[1];
        assert_eq!((heads.look, heads.text.len()), (Look::Reversed, 76));
    }

    #[test]
    fn rows_scroll_as_far_as_there_are_any_and_what_is_too_wide_is_cut() {
        let mut view = View {
            by: By::Pod,
            filter: "web".to_owned(),
            above: 2,
            ..View::default()
        };
        assert_eq!(
            text(&view, 5, (30, 5)),
            " Services [Pods] Drops    5 of
POD          ASKED/S v   SERVE
shop/web-3   3.0         0.0
shop/web-4   4.0         0.0
filter: web  (esc clears it)"
        );
        view.above = 99;
        view.typing = true;
        let end = text(&view, 5, (30, 5));
        assert!(end.contains("web-5") && !end.contains("web-3"), "{end}");
        assert!(end.ends_with("filter: web_"), "{end}");
        for height in 0..AROUND + 2 {
            text(&view, 5, (3, height));
        }
    }
}
