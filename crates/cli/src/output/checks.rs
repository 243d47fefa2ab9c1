//! Checks as people read them: one line each, and what to do about those that are not green.

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
    for check in sorted {
        let (mark, colour) = match check.colour {
            Colour::Green => ("ok      ", AnsiColor::Green),
            Colour::Advice => ("note    ", AnsiColor::Blue),
            Colour::Unknown => ("unknown ", AnsiColor::Yellow),
            Colour::Red => ("FAILED  ", AnsiColor::Red),
        };
        let style = Style::new().fg_color(Some(colour.into()));
        let object = check.object.as_deref().map(|object| format!(" [{object}]")).unwrap_or_default();
        text.push_str(&format!("{style}{mark}{style:#}{}{object}: {}\n", check.name, check.found));
        if let Some(fix) = &check.fix {
            text.push_str(&format!("        fix: {fix}\n"));
        }
    }
    text
}
