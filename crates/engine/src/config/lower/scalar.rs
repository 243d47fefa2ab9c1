//! Single values: durations, numbers, shares, states, ports, patterns, addresses, paths.

use std::num::{NonZeroU16, NonZeroU32};

use url::Url;

use super::super::error::quoted;
use super::super::forms::{
    DurationText, Many, NumberText, PathText, PatternText, PortText, ShareText, StatusText, Text, UrlText,
};
use super::super::{At, FilePath, NonEmpty, Pattern, Period, PeriodError, Permille, SourceSpan, StatusSet};
use super::Lowering;

impl Lowering<'_> {
    /// A duration, if one is written.
    pub(super) fn period(&mut self, written: Option<At<DurationText>>, field: &str) -> Option<Period> {
        let At { value: DurationText(text), span } = written?;
        match Period::parse(&text) {
            Ok(period) => Some(period),
            Err(error) => {
                let fix = match error {
                    PeriodError::NoUnit => {
                        format!("write the unit, as in `{field}: {0}s`, `{0}m`, `{0}h` or `{0}d`", text.trim())
                    }
                    PeriodError::Calendar => "write days, as in `90d`".to_owned(),
                    _ => "write it as in `3h`, `90d`, `1h 30m` or `15 minutes`".to_owned(),
                };
                self.refuse(span, format!("`{field}`: {} is not a duration", quoted(&text)), error.to_string(), fix);
                None
            }
        }
    }

    pub(super) fn period_or(&mut self, written: Option<At<DurationText>>, field: &str, default: Period) -> Period {
        self.period(written, field).unwrap_or(default)
    }

    /// A time limit: a duration that is not zero.
    pub(super) fn limit_or(&mut self, written: Option<At<DurationText>>, field: &str, default: Period) -> Period {
        let span = written.as_ref().map(|at| at.span).unwrap_or_default();
        let period = self.period_or(written, field, default);
        if period.is_zero() {
            self.refuse(
                span,
                format!("`{field}` is no time at all"),
                "nothing could ever answer within it",
                format!("write a time such as `{default}`, or leave it out"),
            );
        }
        period
    }

    pub(super) fn number(&mut self, written: Option<At<NumberText>>, field: &str) -> Option<At<u32>> {
        let At { value: NumberText(text), span } = written?;
        match text.trim().parse() {
            Ok(value) => Some(At { value, span }),
            Err(_) => {
                self.refuse(
                    span,
                    format!("`{field}`: {} is not a whole number", quoted(&text)),
                    format!("it counts, from 0 to {}", u32::MAX),
                    format!("write it as in `{field}: 3`"),
                );
                None
            }
        }
    }

    pub(super) fn positive(&mut self, written: Option<At<NumberText>>, field: &str, why: &str) -> Option<NonZeroU32> {
        let At { value, span } = self.number(written, field)?;
        let positive = NonZeroU32::new(value);
        if positive.is_none() {
            self.refuse(span, format!("`{field}` is 0"), why, format!("write 1 or more, or leave `{field}` out"));
        }
        positive
    }

    pub(super) fn positive_small(
        &mut self,
        written: Option<At<NumberText>>,
        field: &str,
        why: &str,
    ) -> Option<NonZeroU16> {
        let span = written.as_ref().map(|at| at.span).unwrap_or_default();
        let value = self.positive(written, field, why)?;
        let small = NonZeroU16::try_from(value).ok();
        if small.is_none() {
            self.refuse(
                span,
                format!("`{field}` is {value}"),
                format!("at most {} can be", u16::MAX),
                "write a smaller number",
            );
        }
        small
    }

    pub(super) fn share(&mut self, written: Option<At<ShareText>>, field: &str) -> Option<Permille> {
        let At { value: ShareText(text), span } = written?;
        let share = text.trim().strip_suffix('%').and_then(|number| {
            let (whole, tenths) = match number.trim().split_once('.') {
                Some((whole, tenths)) if tenths.len() == 1 => (whole, tenths),
                Some(_) => return None,
                None => (number.trim(), "0"),
            };
            let (whole, tenths): (u16, u16) = (whole.parse().ok()?, tenths.parse().ok()?);
            Permille::new(whole.checked_mul(10)?.checked_add(tenths)?)
        });
        if share.is_none() {
            self.refuse(
                span,
                format!("`{field}`: {} is not a share", quoted(&text)),
                "a share stands between 0 % and 100 %, with at most one digit behind the point",
                format!("write it as in `{field}: 99.5 %`"),
            );
        }
        share
    }

    /// States; `None` where nothing is written or nothing of it is a state.
    pub(super) fn states(&mut self, written: Option<At<Many<StatusText>>>) -> Option<StatusSet> {
        let At { value, span } = written?;
        let items = match value {
            Many::One(one) => vec![At { value: one, span }],
            Many::List(list) => list,
        };
        self.state_list(items, span)
    }

    pub(super) fn state_list(&mut self, items: Vec<At<StatusText>>, span: SourceSpan) -> Option<StatusSet> {
        if items.is_empty() {
            self.refuse(
                span,
                "the list of states is empty",
                "no answer could ever match it",
                "name at least one, as in `[200]`",
            );
        }
        let ranges: Vec<(u16, u16)> = items.into_iter().filter_map(|item| self.state(&item)).collect();
        (!ranges.is_empty()).then_some(StatusSet(ranges))
    }

    fn state(&mut self, item: &At<StatusText>) -> Option<(u16, u16)> {
        let text = item.value.0.trim();
        let state = |text: &str| text.trim().parse::<u16>().ok().filter(|state| (100..=599).contains(state));
        let range = match text.split_once('-') {
            Some((from, to)) => state(from).zip(state(to)),
            None => match text.to_ascii_lowercase().strip_suffix("xx") {
                Some(class) => {
                    class.parse::<u16>().ok().filter(|class| (1..=5).contains(class)).map(|c| (c * 100, c * 100 + 99))
                }
                None => state(text).map(|state| (state, state)),
            },
        };
        let range = range.filter(|(from, to)| from <= to);
        if range.is_none() {
            self.refuse(
                item.span,
                format!("{} is not an HTTP status", quoted(text)),
                "a status stands between 100 and 599",
                "write `200`, `2xx` or `300-303`",
            );
        }
        range
    }

    pub(super) fn ports(&mut self, written: At<Many<PortText>>) -> Option<NonEmpty<NonZeroU16>> {
        let span = written.span;
        let items = match written.value {
            Many::One(one) => vec![At { value: one, span }],
            Many::List(list) => list,
        };
        let mut ports: Vec<NonZeroU16> = Vec::new();
        for item in items {
            let text = item.value.0.trim();
            let port = |text: &str| text.trim().parse::<NonZeroU16>().ok();
            let range = match text.split_once('-') {
                Some((from, to)) => port(from).zip(port(to)),
                None => port(text).map(|port| (port, port)),
            };
            let Some((from, to)) = range.filter(|(from, to)| from <= to) else {
                self.refuse(
                    item.span,
                    format!("{} is not a port", quoted(text)),
                    format!("a port stands between 1 and {}", u16::MAX),
                    "write `9001`, or `9001-9003`",
                );
                continue;
            };
            for port in (from.get()..=to.get()).filter_map(NonZeroU16::new) {
                if ports.contains(&port) {
                    self.refuse(
                        item.span,
                        format!("port {port} stands here for the second time"),
                        "two processes can't listen on one port",
                        "remove one of them",
                    );
                } else {
                    ports.push(port);
                }
            }
        }
        let ports = NonEmpty::new(ports);
        if ports.is_none() && self.errors.is_empty() {
            self.refuse(span, "`ports` is empty", "there would be no process", "write it as in `ports: 9001-9003`");
        }
        ports
    }

    pub(super) fn pattern(&mut self, written: At<PatternText>) -> Option<Pattern> {
        let At { value: PatternText(text), span } = written;
        match Pattern::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                // The last line of the library's message says what is wrong; the lines above repeat the expression.
                let message = error.to_string();
                let why = message.lines().last().unwrap_or("it does not compile").trim().trim_start_matches("error: ");
                self.refuse(
                    span,
                    format!("{} is not a regular expression", quoted(&text)),
                    why,
                    "correct it; in YAML, single quotes keep backslashes as they are",
                );
                None
            }
        }
    }

    /// A URL that names a member: a scheme, a host, and no credentials.
    pub(super) fn address(&mut self, written: &At<UrlText>) -> Option<Url> {
        let text = &written.value.0;
        let fix = "write it as in `http://10.0.0.5:9000`";
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                self.refuse(written.span, format!("{} is not an address", quoted(text)), error.to_string(), fix);
                return None;
            }
        };
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            self.refuse(
                written.span,
                format!("{} is not an address", quoted(text)),
                "a member is asked over http or https",
                fix,
            );
            return None;
        }
        if !url.username().is_empty() || url.password().is_some() {
            self.refuse_secret(
                written.span,
                "the address holds a user name or a password",
                "secrets stand in this file by reference only",
                "remove them, and give `probe.headers` a reference such as `Authorization: { env: PROBE_AUTH }`",
            );
            return None;
        }
        Some(url)
    }

    pub(super) fn path(&mut self, written: At<PathText>) -> Option<FilePath> {
        let At { value: PathText(text), span } = written;
        if text.is_empty() || text.contains('\0') {
            self.refuse(
                span,
                "the path is empty",
                "it names no file",
                "write a path, relative to this file or absolute",
            );
            return None;
        }
        if let Some(rest) = text.strip_prefix("~/") {
            self.refuse(
                span,
                format!("{} begins with `~`", quoted(&text)),
                "only a shell knows whose home that is, and this file is read by several people and services",
                format!("write it in full, as in `/home/you/{rest}`"),
            );
            return None;
        }
        Some(FilePath::new(text, &self.folder))
    }

    /// The path of a request, on a member's own address.
    pub(super) fn request_path(&mut self, written: At<Text>) -> Option<String> {
        let At { value: Text(text), span } = written;
        if text.starts_with('/') && !text.contains(char::is_whitespace) && !text.contains('#') {
            return Some(text);
        }
        let (why, fix) = if text.contains("://") {
            (
                "each member is asked at its own address, never through a load balancer",
                "leave the scheme and the host out, as in `path: /me`".to_owned(),
            )
        } else {
            (
                "a path begins with `/` and has no spaces",
                format!("write `path: /{}`", text.trim().trim_start_matches('/')),
            )
        };
        self.refuse(span, format!("{} is not a path", quoted(&text)), why, fix);
        None
    }

    pub(super) fn method(&mut self, written: At<Text>) -> Option<String> {
        let At { value: Text(text), span } = written;
        let upper = text.to_ascii_uppercase();
        if METHODS.contains(&upper.as_str()) {
            return Some(upper);
        }
        self.refuse(
            span,
            format!("{} is not a method", quoted(&text)),
            format!("the methods are {}", METHODS.join(", ")),
            "write one of them",
        );
        None
    }

    pub(super) fn header_name(&mut self, name: &str, span: SourceSpan) -> Option<String> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if !name.is_empty() && name.chars().all(legal) {
            return Some(name.to_ascii_lowercase());
        }
        self.refuse(
            span,
            format!("{} is not the name of a header", quoted(name)),
            "such a name has letters, digits and `-` only",
            "write it as in `X-Worker`",
        );
        None
    }
}

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
