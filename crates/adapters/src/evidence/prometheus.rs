//! The Prometheus text format, as far as a scraper needs it: samples with their labels and values.
//!
//! One line that can't be read makes the whole exposition unreadable: a series that is left out would look like one that
//! is not there.

use std::collections::BTreeMap;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: f64,
}

/// Which line can't be read, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct Unreadable {
    line: usize,
    problem: &'static str,
}

/// Reads an exposition; only samples of `name` are kept.
pub(super) fn samples(text: &str, name: &str) -> Result<Vec<Sample>, Unreadable> {
    let mut samples = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let sample = sample(line).map_err(|problem| Unreadable { line: index + 1, problem })?;
        if sample.name == name {
            samples.push(sample);
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Result<Sample, &'static str> {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':')).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("the name of a metric expected");
    }
    let mut labels = BTreeMap::new();
    rest = rest.trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let equals = rest.find('=').ok_or("`=` expected after a label")?;
            let label = rest[..equals].trim();
            if label.is_empty() || !label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err("the name of a label expected");
            }
            let quoted = rest[equals + 1..].trim_start().strip_prefix('"').ok_or("a quote expected after `=`")?;
            let (value, after) = label_value(quoted)?;
            if labels.insert(label.to_owned(), value).is_some() {
                return Err("a label stands twice");
            }
            rest = after.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.starts_with('}') => rest,
                None => return Err("`,` or `}` expected after a label"),
            };
        }
    }
    // Behind the value may stand a time and, in OpenMetrics, an exemplar.
    let mut fields = rest.split_whitespace();
    let value = fields.next().ok_or("a value expected")?;
    match fields.next() {
        None | Some("#") => {}
        Some(time) if time.parse::<f64>().is_ok() => {}
        Some(_) => return Err("a time expected after the value"),
    }
    // What the format writes as `+Inf` and `NaN` Rust reads as well.
    let value = value.parse().map_err(|_| "the value is not a number")?;
    Ok(Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quote, and what follows.
fn label_value(text: &str) -> Result<(String, &str), &'static str> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                _ => return Err("an unknown escape in a label"),
            },
            c => value.push(c),
        }
    }
    Err("a label's quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(Vec<(String, String)>, f64)> {
        let samples = samples(text, "m").unwrap();
        samples.into_iter().map(|sample| (sample.labels.into_iter().collect(), sample.value)).collect()
    }

    #[test]
    fn samples_are_read_with_escapes_times_and_exemplars() {
        let text = "# HELP m what\n# TYPE m counter\nm 1\nm{} 2 1700000000000\nm{a=\"x\\\"y\\\\z\\n\", b=\"{,}\",} +Inf\nother{q=\"1\"} NaN\nm{c=\"d\"} 5e2 # {trace=\"1\"} 1\n# EOF";
        let read = read(text);
        assert_eq!(read[0], (vec![], 1.0));
        assert_eq!(read[1], (vec![], 2.0));
        assert_eq!(read[2].0, [("a".into(), "x\"y\\z\n".into()), ("b".into(), "{,}".into())]);
        assert!(read[2].1.is_infinite());
        assert_eq!(read[3], (vec![("c".into(), "d".into())], 500.0));
        assert_eq!(read.len(), 4);
    }

    #[test]
    fn one_bad_line_makes_all_unreadable_and_is_named() {
        for bad in [
            "m{",
            "m{a=\"b\" 1",
            "m{a=b} 1",
            "m",
            "m x",
            "<html>",
            "m{a=\"1\",a=\"2\"} 1",
            "m 1 soon",
            "9m 1",
            "m{a=\"\\q\"} 1",
        ] {
            let error = samples(&format!("m 1\n{bad}\n"), "m").unwrap_err();
            assert_eq!(error.line, 2, "{bad}");
        }
    }

    #[test]
    fn nothing_makes_the_parser_panic() {
        // Every prefix and every single-byte change of a rich line.
        let line = "metric_1:x{label=\"a\\\\b\\n\\\"c é\",l2=\"\"} -1.5e-3 170000 # {x=\"y\"} 2";
        for end in (0..=line.len()).filter(|end| line.is_char_boundary(*end)) {
            let _ = samples(&line[..end], "metric_1:x");
        }
        for at in 0..line.len() {
            for byte in [b'{', b'}', b'"', b'\\', b',', b' ', b'=', b'#', 0] {
                let mut changed = line.as_bytes().to_vec();
                changed[at] = byte;
                let _ = samples(&String::from_utf8_lossy(&changed), "metric_1:x");
            }
        }
    }
}
