//! Both dialects, by table, by random files, and by a real reader.

use std::process::Command;

use keyroll_keyring::{FieldName, Fields, Secret};
use proptest::prelude::*;

use super::{EnvDialect, Variables};
use crate::stores::paired::{Syntax, SyntaxError};
use EnvDialect::{Common, Dotenv, Systemd};

const ALL: [EnvDialect; 3] = [Common, Dotenv, Systemd];

#[test]
fn values_are_read_as_the_dialect_reads_them() {
    // (dialects, line, value)
    let table: &[(&[EnvDialect], &str, &str)] = &[
        (&ALL, "KEY=abc", "abc"),
        (&ALL, "KEY=", ""),
        (&ALL, "KEY=''", ""),
        (&ALL, "KEY=\"\"", ""),
        (&ALL, "  KEY=abc", "abc"),
        (&ALL, "KEY='a b'", "a b"),
        (&ALL, "KEY=\"a b\"", "a b"),
        (&ALL, "KEY='a$b#c`d\"e'", "a$b#c`d\"e"),
        (&ALL, "KEY='a\\b'", "a\\b"),
        (&ALL, "KEY=\"a'b\"", "a'b"),
        (&ALL, "KEY=abc   ", "abc"),
        (&ALL, "KEY = abc", "abc"),
        (&ALL, "KEY=a=b==", "a=b=="),
        (&ALL, "KEY=a(b)&c", "a(b)&c"),
        (&ALL, "KEY=ä", "ä"),
        (&ALL, "KEY='abc'  ", "abc"),
        (&[Dotenv], "export KEY=abc", "abc"),
        (&[Dotenv], "export \t KEY='abc'", "abc"),
        (&[Dotenv], "KEY=abc # note", "abc"),
        (&[Dotenv], "KEY='abc' # it's a note", "abc"),
        (&[Dotenv], "KEY= # note", ""),
        // The examples of systemd.exec(5), and the states of its parser.
        (&[Systemd], "KEY=abc # note", "abc # note"),
        (&[Systemd], "KEY=$abc", "$abc"),
        (&[Systemd], "KEY=a#b", "a#b"),
        (&[Systemd], "KEY=a b  c", "a b  c"),
        (&[Systemd], "KEY=a\\b", "ab"),
        (&[Systemd], "KEY=a\\\\b", "a\\b"),
        (&[Systemd], "KEY=a\\\nb", "ab"),
        (&[Systemd], "KEY=a\\ ", "a "),
        (&[Systemd], "KEY=\"a\\$b\\`c\\\"d\\\\e\"", "a$b`c\"d\\e"),
        (&[Systemd], "KEY=\"a\\nb\"", "a\\nb"),
        (&[Systemd], "KEY=\"a\\\nb\"", "ab"),
        (&[Systemd], "KEY='a\\'", "a\\"),
        (&[Systemd], "KEY='a'b", "ab"),
        (&[Systemd], "KEY='a' 'b'", "ab"),
        (&[Systemd], "KEY=a'b'", "a'b'"),
    ];
    for (dialects, line, value) in table {
        for surroundings in ["{}\n", "{}", "A=1\n{}\nB=2\n", "# c\r\n{}\r\nB=2\r\n", "A='x\ny'\n\n{}\n#KEY=no\n"] {
            let text = surroundings.replace("{}", line);
            for dialect in *dialects {
                match read(*dialect, &text) {
                    Ok(found) => assert_eq!(found.as_deref(), Some(*value), "{dialect:?}: {text:?}"),
                    Err(err) => panic!("{dialect:?}: {text:?}: {err:?}"),
                }
            }
        }
    }
}

#[test]
fn what_readers_take_differently_is_refused_with_its_place_and_without_its_value() {
    // (dialects, text, place)
    let table: &[(&[EnvDialect], &str, &str)] = &[
        (&[Common], "KEY=topsecret # note", "line 1, column 5"),
        (&[Common], "A=1\nexport KEY=topsecret", "line 2"),
        (&[Common, Dotenv], "KEY=topsecret$x", "line 1, column 14"),
        (&[Common, Dotenv], "KEY=topsecret\\x", "line 1, column 14"),
        (&[Common, Dotenv], "KEY=topsecret#x", "line 1, column 14"),
        (&[Common, Dotenv], "KEY=#topsecret", "line 1, column 5"),
        (&[Common, Dotenv], "KEY=topsecret x", "line 1, column 14"),
        (&[Common, Dotenv], "KEY=\"topsecret$x\"", "line 1, column 15"),
        (&[Common, Dotenv], "KEY=\"topsecret\\n\"", "line 1, column 15"),
        (&[Common, Dotenv], "KEY='topsecret\\\\'", "line 1, column 16"),
        (&[Common, Dotenv], "KEY='topsecret\\\\x'", "line 1, column 15"),
        (&[Common, Dotenv], "KEY='topsecret\\'x'", "line 1, column 15"),
        (&[Common, Dotenv], "KEY='topsecret'x", "line 1, column 16"),
        (&[Common, Dotenv], "KEY=`topsecret`", "line 1, column 5"),
        (&[Common, Dotenv], "A=1\n\nKEY: topsecret", "line 3, column 4"),
        (&[Common, Dotenv], "A=x\\\nKEY=topsecret", "line 2, column 1"),
        (&[Common, Dotenv], "\u{FEFF}KEY=topsecret", "line 1, column 1"),
        (&[Common, Dotenv], "A=1\rKEY=topsecret", "line 1, column 4"),
        (&ALL, "A=1\nKEY\n", "line 2, column 4"),
        (&ALL, "KEY='topsecret", "line 1, column 5"),
        (&ALL, "A=\"open\nKEY=topsecret\n", "line 1, column 3"),
        (&ALL, "KEY=\"top\nsecret\"", "line 1"),
        (&ALL, "KEY=topsecret\nB=2\nKEY=topsecret\n", "line 1 and in line 3"),
        (&ALL, "KEY=top\0secret", "line 1, column 8"),
        (&[Systemd], "export KEY=topsecret", "line 1, column 1"),
        (&[Systemd], "# note \\\nKEY=topsecret", "line 2, column 1"),
    ];
    for (dialects, text, place) in table {
        for dialect in *dialects {
            match read(*dialect, text) {
                Err(SyntaxError::Unreadable(reason)) => {
                    assert!(reason.contains(place), "{dialect:?}: {text:?}: {reason}");
                    assert!(!reason.contains("topsecret") && !reason.contains("secret\""), "{reason}");
                }
                other => panic!("{dialect:?}: {text:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn an_owned_variable_that_is_not_there_is_absent() {
    for text in ["", "\n", "# KEY=x\n", "KEYS=x\n", "A='\nKEY=x\n'\n", "MY_KEY=x\n", "KEY.A=1\n"] {
        for dialect in ALL {
            assert_eq!(read(dialect, text), Ok(None), "{dialect:?}: {text:?}");
        }
    }
}

#[test]
fn a_new_value_takes_the_quotes_that_can_hold_it() {
    // (dialects, before, value, after)
    let table: &[(&[EnvDialect], &str, &str, &str)] = &[
        (&ALL, "KEY=old\n", "abc", "KEY=abc\n"),
        (&ALL, "KEY='old'\n", "abc", "KEY='abc'\n"),
        (&ALL, "KEY=\"old\"\n", "abc", "KEY=\"abc\"\n"),
        (&ALL, "KEY=old\n", "a b", "KEY='a b'\n"),
        (&ALL, "KEY=old\n", "a$b", "KEY='a$b'\n"),
        (&ALL, "KEY=old\n", "a#b", "KEY='a#b'\n"),
        (&ALL, "KEY=old\n", "a'b", "KEY=\"a'b\"\n"),
        (&ALL, "KEY=\"old\"\n", "a$b", "KEY='a$b'\n"),
        (&ALL, "KEY='old'\n", "a'b", "KEY=\"a'b\"\n"),
        (&ALL, "KEY=old\n", "a\\b", "KEY='a\\b'\n"),
        (&ALL, "KEY='old'\n", "", "KEY=''\n"),
        (&ALL, "KEY=old\n", "~/x", "KEY='~/x'\n"),
        (&ALL, "  KEY = old  \nB=1", "abc", "  KEY = abc  \nB=1"),
        (&[Dotenv], "export KEY=old # note\r\n", "a b", "export KEY='a b' # note\r\n"),
        (&[Dotenv], "KEY='old' # note", "a'b", "KEY=\"a'b\" # note"),
        (&[Systemd], "KEY=old\n", "a'\"b", "KEY=\"a'\\\"b\"\n"),
        (&[Systemd], "KEY=old\n", "a\\", "KEY='a\\'\n"),
        (&[Systemd], "KEY=old\n", "'\\$`", "KEY=\"'\\\\\\$\\`\"\n"),
        (&[Systemd], "KEY=o\\\nld\nB=1\n", "abc", "KEY=abc\nB=1\n"),
    ];
    for (dialects, before, value, after) in table {
        for dialect in *dialects {
            let edited = edit(*dialect, before, Some(value), None);
            assert_eq!(edited.as_deref(), Ok(*after), "{dialect:?}: {before:?} with {value:?}");
        }
    }
}

#[test]
fn a_variable_comes_and_goes_without_a_trace() {
    for (before, with) in [
        ("KEY=a\n", "KEY=a\nOLD=b\n"),
        ("KEY=a", "KEY=a\nOLD=b"),
        ("A=1\r\nKEY=a\r\nB=2\r\n", "A=1\r\nKEY=a\r\nOLD=b\r\nB=2\r\n"),
        ("A=1\r\nKEY=a", "A=1\r\nKEY=a\r\nOLD=b"),
        ("KEY=a\n\n# end", "KEY=a\nOLD=b\n\n# end"),
    ] {
        for dialect in ALL {
            assert_eq!(edit(dialect, before, Some("a"), Some("b")).as_deref(), Ok(with), "{dialect:?}");
            assert_eq!(edit(dialect, with, Some("a"), None).as_deref(), Ok(before), "{dialect:?}");
        }
    }
    let exported = edit(Dotenv, "export KEY=a\nB=1\n", Some("a"), Some("b"));
    assert_eq!(exported.as_deref(), Ok("export KEY=a\nexport OLD=b\nB=1\n"));
    // A last line without a break goes with the whole break before it, whichever the file's first one was.
    for dialect in ALL {
        let mixed = edit(dialect, "AAAA='\nB='\r\nKEY=\"\"\r\nOLD=\"\"", Some("a"), None);
        assert_eq!(mixed.as_deref(), Ok("AAAA='\nB='\r\nKEY=\"a\""), "{dialect:?}");
    }
    // Where none is there, they come last.
    assert_eq!(edit(Common, "A=1", Some("a"), Some("b")).as_deref(), Ok("A=1\nKEY=a\nOLD=b"));
    assert_eq!(edit(Common, "", Some("a"), None).as_deref(), Ok("KEY=a\n"));
    // Not into a line that goes on.
    assert!(matches!(
        edit(Systemd, "A=1\\", Some("a"), None),
        Err(SyntaxError::Refused(_) | SyntaxError::Unreadable(_))
    ));
}

#[test]
fn what_no_quotes_can_hold_is_refused_without_being_shown() {
    let table: &[(&[EnvDialect], &str)] = &[
        (&ALL, "topsecret\nx"),
        (&ALL, "topsecret\rx"),
        (&ALL, "topsecret\tx"),
        (&[Common, Dotenv], "topsecret'\"x"),
        (&[Common, Dotenv], "topsecret'$x"),
        (&[Common, Dotenv], "topsecret\\\\x"),
        (&[Common, Dotenv], "topsecret\\"),
    ];
    for (dialects, value) in table {
        for dialect in *dialects {
            match edit(*dialect, "KEY=a\n", Some(value), None) {
                Err(SyntaxError::Refused(reason)) => {
                    assert!(reason.contains("`KEY`") && !reason.contains("topsecret"), "{reason}");
                }
                other => panic!("{dialect:?}: {value:?}: {other:?}"),
            }
        }
    }
    let bad_name = Variables { fields: vec![FieldName("A-B".into())], dialect: Common };
    assert!(matches!(bad_name.read(b""), Err(SyntaxError::Refused(_))));
}

#[test]
fn a_shell_reads_what_was_written() {
    let values = ["abc", "a b", "a$HOME", "a#b", "a'b", "a\"b", "a`id`b", "a;b|c&d", "a\\b", "~", "*", "!x", "", "ä€"];
    for value in values {
        for before in ["KEY=old\n", "export KEY='old'\n", "KEY=\"old\" # note\n"] {
            let text = edit(Dotenv, before, Some(value), Some(value)).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(".env");
            std::fs::write(&path, &text).unwrap();
            let script = r#"set -a; . "$1"; exec printenv KEY OLD"#;
            let output = Command::new("sh").args(["-c", script, "sh"]).arg(&path).output().unwrap();
            let found = String::from_utf8(output.stdout).unwrap();
            assert_eq!(found, format!("{value}\n{value}\n"), "{text:?}");
        }
    }
}

proptest! {
    #[test]
    fn a_random_file_keeps_every_byte_that_is_not_owned(
        file in random_file(),
        key in value(),
        old in proptest::option::of(value()),
        dialect in proptest::sample::select(&ALL[..]),
    ) {
        let text = file.text(dialect);
        let Ok(edited) = edit(dialect, &text, Some(&key), old.as_deref()) else {
            // Only what no quotes can hold may be refused.
            let hard = |value: &str| dialect != Systemd && value.contains(['\\', '\'']);
            prop_assert!(hard(&key) || old.as_deref().is_some_and(hard), "refused: {text:?}");
            return Ok(());
        };
        prop_assert_eq!(read_both(dialect, &edited), Ok((Some(key.clone()), old.clone())));
        prop_assert_eq!(without_owned(&edited), without_owned(&text), "{:?} became {:?}", text, edited);
        // The same again changes nothing, and the way back leads to the same bytes but for the spelling of the values.
        prop_assert_eq!(edit(dialect, &edited, Some(&key), old.as_deref()), Ok(edited));
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), spice in "[KEY=\"'\\\\# \r\n$a]{0,40}") {
        for dialect in ALL {
            for text in [&bytes[..], spice.as_bytes()] {
                let variables = Variables { fields: fields(), dialect };
                if let Ok(found) = variables.read(text) {
                    if let Ok(same) = variables.edit(text, &found) {
                        prop_assert_eq!(same.expose(), text, "an edit to what was there is no edit");
                    }
                    let wanted = Fields(fields().into_iter().map(|name| (name, Some(Secret::from_text("abc")))).collect());
                    if let Ok(edited) = variables.edit(text, &wanted) {
                        // The store reads back what it is about to write, and refuses what can't be read; it must never
                        // be read as something else.
                        if let Ok(back) = variables.read(edited.expose()) {
                            let right = |value: &Option<Secret>| value.as_ref().is_some_and(|it| it.expose() == b"abc");
                            prop_assert!(back.0.values().all(right), "{:?}", String::from_utf8_lossy(edited.expose()));
                        }
                    }
                }
            }
        }
    }
}

/// Lines of a random file, with the owned ones at places of chance.
#[derive(Debug, Clone)]
struct RandomFile {
    lines: Vec<String>,
    key_at: Option<usize>,
    old_at: Option<usize>,
    key: String,
    crlf: bool,
    final_break: bool,
}

impl RandomFile {
    fn text(&self, dialect: EnvDialect) -> String {
        let mut lines = self.lines.clone();
        for (name, at) in [("KEY", self.key_at), ("OLD", self.old_at)] {
            if let Some(at) = at {
                let line = match dialect {
                    Dotenv => format!("export {name}='{}' # note", self.key),
                    _ => format!("{name}=\"{}\"", self.key),
                };
                lines.insert(at % (lines.len() + 1), line);
            }
        }
        let line_break = if self.crlf { "\r\n" } else { "\n" };
        let mut text = lines.join(line_break);
        if self.final_break {
            text.push_str(line_break);
        }
        text
    }
}

fn random_file() -> impl Strategy<Value = RandomFile> {
    let sibling = prop_oneof![
        Just(String::new()),
        "[ \t]{0,3}",
        "#[ -~&&[^\\\\]]{0,20}",
        "[A-Z]{4,8} ?= ?[a-zA-Z0-9 ,./]{0,12}",
        "[A-Z]{4,8}='[ -~&&[^'\\\\]]{0,12}'",
        "[A-Z]{4,8}=\"[ -~&&[^\"\\\\]]{0,12}\"",
        "[A-Z]{4,8}='[a-z]{0,4}\nKEY=[a-z]{0,4}'",
        "KEY[A-Z]{1,3}=[a-z]{0,4}",
    ];
    (
        proptest::collection::vec(sibling, 0..8),
        proptest::option::of(0_usize..9),
        proptest::option::of(0_usize..9),
        "[a-z]{0,8}",
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(lines, key_at, old_at, key, crlf, final_break)| RandomFile {
            lines,
            key_at,
            old_at,
            key,
            crlf,
            final_break,
        })
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof!["[0-9a-f]{64}", "[a-zA-Z0-9+/=_-]{1,40}", "[ -~]{0,16}"]
}

/// The lines of a file without the owned ones; how the last line ends does not count here (it is tested by table).
fn without_owned(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut rest = Vec::new();
    for line in text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
        let owned = ["KEY=", "OLD=", "export KEY=", "export OLD="].iter().any(|start| line.starts_with(start));
        if inside || !owned {
            rest.push(line);
        }
        // A sibling in quotes may go on into the next line.
        if inside {
            inside = false;
        } else if let Some((_, value)) = line.split_once('=') {
            let opened = value.trim_start().strip_prefix('\'');
            inside = !owned && !line.starts_with('#') && opened.is_some_and(|value| !value.contains('\''));
        }
    }
    while rest.last().is_some_and(|line| line.is_empty()) {
        rest.pop();
    }
    rest
}

fn fields() -> Vec<FieldName> {
    vec![FieldName("KEY".into()), FieldName("OLD".into())]
}

fn read(dialect: EnvDialect, text: &str) -> Result<Option<String>, SyntaxError> {
    read_both(dialect, text).map(|(key, _)| key)
}

fn read_both(dialect: EnvDialect, text: &str) -> Result<(Option<String>, Option<String>), SyntaxError> {
    let mut found = Variables { fields: fields(), dialect }.read(text.as_bytes())?;
    let mut take = |name: &str| {
        let value = found.0.remove(&FieldName(name.into())).expect("every owned field has an entry");
        value.map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
    };
    Ok((take("KEY"), take("OLD")))
}

fn edit(dialect: EnvDialect, text: &str, key: Option<&str>, old: Option<&str>) -> Result<String, SyntaxError> {
    let values = [key, old].map(|value| value.map(Secret::from_text));
    let fields = Fields(fields().into_iter().zip(values).collect());
    let variables = Variables { fields: self::fields(), dialect };
    let edited = variables.edit(text.as_bytes(), &fields)?;
    Ok(String::from_utf8(edited.expose().to_vec()).unwrap())
}
