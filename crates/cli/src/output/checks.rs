//! Checks as people read them: one line for all that are alike, and what to do about those that are not green.

use anstyle::{AnsiColor, Style};
use keyroll_engine::{Check, Colour};

/// The checks, worst last, so that they stand at the prompt.
pub(crate) fn checks(checks: &[Check]) -> String {
    let mut sorted: Vec<&Check> = checks.iter().collect();
    sorted.sort_by_key(|check| match check.colour {
        Colour::Green => 0,
        Colour::Advice => 1,
        Colour::Unknown => 2,
        Colour::Red => 3,
    });
    let mut text = String::new();
    let mut rest = sorted.as_slice();
    while let Some(check) = rest.first() {
        // What is the same of many members is said once.
        let (same, others): (Vec<&Check>, Vec<&Check>) = rest.iter().partition(|other| alike(check, other));
        let (mark, colour) = match check.colour {
            Colour::Green => ("ok      ", AnsiColor::Green),
            Colour::Advice => ("note    ", AnsiColor::Blue),
            Colour::Unknown => ("unknown ", AnsiColor::Yellow),
            Colour::Red => ("FAILED  ", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let objects = objects(&same);
        text.push_str(&format!("{style}{mark}{style:#}{}{objects}: {}\n", check.name, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("        fix: {fix}\n"));
        }
        sorted = others;
        rest = sorted.as_slice();
    }
    text
}

fn alike(one: &Check, other: &Check) -> bool {
    (&one.name, one.colour, &one.found, &one.fix) == (&other.name, other.colour, &other.found, &other.fix)
}

/// Whom it is about, as far as that fits a line. JSON names them all.
fn objects(checks: &[&Check]) -> String {
    let names: Vec<&str> = checks.iter().filter_map(|check| check.object.as_deref()).collect();
    match names.len() {
        0 => String::new(),
        few if few <= MOST_NAMES => format!(" [{}]", names.join(", ")),
        many => format!(" [{} and {} more]", names[..MOST_NAMES].join(", "), many - MOST_NAMES),
    }
}

const MOST_NAMES: usize = 5;
