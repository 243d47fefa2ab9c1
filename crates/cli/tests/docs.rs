//! The documents against the program: links, commands, configuration blocks, exit codes.
//!
//! A document that nothing checks is wrong within a month, so every page that a user reads is read here first.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use keyroll_engine::config::SessionKey;

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut checked = 0;
    let mut dead = Vec::new();
    for page in pages() {
        let folder = page.path.parent().unwrap();
        let includes = page.text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next());
        for target in links(&page.prose()).into_iter().chain(includes.map(str::to_owned)) {
            let target = target.trim();
            if target.contains("://") || target.starts_with("mailto:") || target.starts_with('#') {
                continue;
            }
            checked += 1;
            let file = target.split('#').next().unwrap();
            if !folder.join(file).exists() {
                dead.push(format!("{}: {target}", page.name));
            }
        }
    }
    assert!(checked >= 50, "only {checked} links were found; the search is broken");
    assert!(dead.is_empty(), "links that lead nowhere:\n{}", dead.join("\n"));
}

/// The book shows the reference pages by including them, and a link in one of them has to lead somewhere there too.
#[test]
fn links_of_included_pages_lead_somewhere_in_the_book_too() {
    let mut dead = Vec::new();
    let mut included = BTreeSet::new();
    for page in pages() {
        let folder = page.path.parent().unwrap();
        for target in page.text.split("{{#include ").skip(1).filter_map(|rest| rest.split("}}").next()) {
            let file = folder.join(target.trim());
            included.insert(normal(&file));
            let prose = Page { name: String::new(), path: file.clone(), text: std::fs::read_to_string(&file).unwrap() };
            for link in links(&prose.prose()) {
                let inside = !link.contains("://") && !link.starts_with('#') && !link.starts_with("..");
                if inside && !folder.join(link.split('#').next().unwrap()).exists() {
                    dead.push(format!("{} as shown by {}: {link}", file.display(), page.name));
                }
            }
        }
    }
    assert!(dead.is_empty(), "{}", dead.join("\n"));
    let reference: BTreeSet<PathBuf> =
        markdown(&root().join("docs/reference")).iter().map(|path| normal(path)).collect();
    let missing: Vec<_> = reference.difference(&included).collect();
    assert!(missing.is_empty(), "reference pages that the book does not show: {missing:?}");
}

#[test]
fn every_page_of_the_book_is_in_its_table_of_contents() {
    let source = root().join("docs/book/src");
    let summary = std::fs::read_to_string(source.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links(&summary).iter().map(|link| normal(&source.join(link))).collect();
    let there: BTreeSet<PathBuf> =
        markdown(&source).iter().map(|path| normal(path)).filter(|path| !path.ends_with("SUMMARY.md")).collect();
    assert_eq!(there, listed);
}

#[test]
fn every_command_in_a_document_is_one_that_keyroll_takes() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for page in pages() {
        for span in page.spans().into_iter().filter(|span| span.starts_with("keyroll ")) {
            checked += 1;
            let words: Vec<String> = span.split_whitespace().skip(1).map(str::to_owned).collect();
            if let Err(what) = taken(&words) {
                wrong.push(format!("{}: `{span}`: {what}", page.name));
            }
        }
        for block in page.blocks(&["console", "sh"]) {
            for line in block.text.lines() {
                for words in invocations(line) {
                    checked += 1;
                    if let Err(what) = taken(&words) {
                        wrong.push(format!("{}: `{line}`: {what}", page.name));
                    }
                }
            }
        }
    }
    assert!(checked >= 80, "only {checked} commands were found; the search is broken");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_reference_of_commands_names_every_command_and_every_option() {
    let page = std::fs::read_to_string(root().join("docs/book/src/commands.md")).unwrap();
    let mut missing = Vec::new();
    let mut commands = 0;
    for path in command_paths() {
        commands += 1;
        let title = format!("## `keyroll {}", path.join(" "));
        let Some(section) = page.split("\n## ").find(|section| {
            let section = format!("## {section}");
            section.starts_with(&format!("{title}`")) || section.starts_with(&format!("{title} "))
        }) else {
            missing.push(format!("the section {title}"));
            continue;
        };
        for option in options(&help(&path)) {
            if !GLOBAL.contains(&option.as_str()) && !section.contains(&option) {
                missing.push(format!("{option} of keyroll {}", path.join(" ")));
            }
        }
    }
    assert!(commands >= 25, "only {commands} commands were found; the search is broken");
    for option in GLOBAL.iter().filter(|option| !["--help", "--version"].contains(option)) {
        assert!(page.contains(option), "{option} is not on the page");
    }
    assert!(missing.is_empty(), "docs/book/src/commands.md lacks:\n{}", missing.join("\n"));
}

#[test]
fn every_complete_configuration_is_taken_and_its_simulation_comes_to_an_end() {
    let mut checked = 0;
    for page in pages() {
        for block in page.blocks(&["yaml"]) {
            let begins = block.text.lines().find(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
            if begins.is_some_and(|line| line.starts_with("apiVersion:")) {
                checked += 1;
                if let Err(errors) = SessionKey::parse(&block.text, Path::new("keyroll.yaml")) {
                    panic!("{}, the block in line {}:\n{errors}", page.name, block.line);
                }
                let said = simulate(&block.text);
                assert!(said.is_ok(), "{}, the block in line {}:\n{}", page.name, block.line, said.unwrap_err());
            }
        }
    }
    assert!(checked >= 3, "only {checked} configurations were found; the search is broken");
}

#[test]
fn the_table_of_exit_codes_is_the_programs() {
    let source = std::fs::read_to_string(root().join("crates/cli/src/exit.rs")).unwrap();
    let declared = source.split("pub(crate) enum Exit {").nth(1).unwrap().split("\n}").next().unwrap();
    let mut meanings = Vec::new();
    let mut words = String::new();
    for line in declared.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            words.push_str(text);
        } else if let Some(variant) = line.strip_suffix(',') {
            meanings.push((variant.to_owned(), std::mem::take(&mut words).trim().to_owned()));
        }
    }
    let expected: BTreeSet<(u8, String)> = meanings
        .into_iter()
        .map(|(variant, meaning)| {
            let code = source.split(&format!("Self::{variant} => ")).nth(1).unwrap().split(',').next().unwrap();
            (code.parse().unwrap(), meaning)
        })
        .collect();
    assert!(expected.len() >= 11);

    let page = std::fs::read_to_string(root().join("docs/reference/exit-codes.md")).unwrap();
    let shown: BTreeSet<(u8, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            // Only codes between backticks: a second table says what to do about them.
            let code = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((code.parse().ok()?, cells.next()?.to_owned()))
        })
        .collect();
    assert_eq!(shown, expected, "docs/reference/exit-codes.md and crates/cli/src/exit.rs differ");
}

#[test]
fn the_initializer_in_the_book_is_the_profiles() {
    let page = std::fs::read_to_string(root().join("docs/book/src/rails.md")).unwrap();
    let profile = std::fs::read_to_string(root().join("crates/keyring/profiles/rails.toml")).unwrap();
    let text = profile.split("[initializer]").nth(1).unwrap().split("'''").nth(1).unwrap();
    let text = text.replace("@ACTIVE@", "SECRET_KEY_BASE").replace("@ACCEPT@", "SECRET_KEY_BASE_ACCEPT");
    assert!(page.contains(text.trim()), "the initializer in docs/book/src/rails.md is not that of the profile");
}

#[test]
fn no_document_names_somebodys_machine_or_an_unfinished_thought() {
    let mut found = Vec::new();
    for page in pages() {
        for (number, line) in page.text.lines().enumerate() {
            for trace in
                ["/work/", "/root/", "/home/", "index.crates.io", "pypi.org/simple", "worktree", "TODO", "FIXME"]
            {
                if line.contains(trace) {
                    found.push(format!("{}:{}: {trace}", page.name, number + 1));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

struct Page {
    name: String,
    path: PathBuf,
    text: String,
}

struct Block {
    line: usize,
    text: String,
}

impl Page {
    /// Everything outside of code; what stands between backticks is code as well.
    fn prose(&self) -> String {
        let unfenced = self.unfenced();
        let parts = unfenced.split('`').enumerate();
        parts.map(|(place, part)| if place % 2 == 0 { part } else { "code" }).collect()
    }

    /// What stands between single backticks.
    fn spans(&self) -> Vec<String> {
        self.unfenced().split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Everything outside of fenced code.
    fn unfenced(&self) -> String {
        let mut fenced = false;
        let mut text = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            } else if !fenced {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }

    /// The fenced blocks of these languages.
    fn blocks(&self, languages: &[&str]) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut open: Option<(bool, Block)> = None;
        for (number, line) in self.text.lines().enumerate() {
            match (&mut open, line.trim_start().strip_prefix("```")) {
                (None, Some(language)) => {
                    let wanted = languages.contains(&language.trim());
                    open = Some((wanted, Block { line: number + 1, text: String::new() }));
                }
                (Some(_), Some(_)) => {
                    if let Some((true, block)) = open.take() {
                        blocks.push(block);
                    }
                }
                (Some((_, block)), None) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "a code block of {} is not closed", self.name);
        blocks
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every document that a user or a contributor reads.
fn pages() -> Vec<Page> {
    let mut paths = markdown(&root().join("docs"));
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"] {
        paths.push(root().join(name));
    }
    assert!(paths.len() >= 30, "only {} documents were found", paths.len());
    paths
        .into_iter()
        .map(|path| Page {
            name: path.strip_prefix(root()).unwrap().display().to_string(),
            text: std::fs::read_to_string(&path).unwrap(),
            path,
        })
        .collect()
}

fn markdown(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(markdown(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Without `..`, so that two ways to one file compare equal.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// The targets of `[text](target)`.
fn links(prose: &str) -> Vec<String> {
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

/// The arguments of each `keyroll` in a line of a console block: `$ keyroll ...`, `$ cargo run --release -- ...`, pipes.
fn invocations(line: &str) -> Vec<Vec<String>> {
    let Some(line) = line.trim_start().strip_prefix("$ ") else { return Vec::new() };
    let line = line.split(" #").next().unwrap();
    line.split(['|', ';', '&'])
        .filter_map(|command| {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let begin = match words.first()?.as_str() {
                "keyroll" => 1,
                "cargo" if words.get(1)? == "run" => words.iter().position(|word| word == "--")? + 1,
                _ => return None,
            };
            Some(words[begin..].to_vec())
        })
        .collect()
}

/// Whether the program knows the command and every option in `words`.
fn taken(words: &[String]) -> Result<(), String> {
    let known = command_paths();
    let mut path: Vec<String> = Vec::new();
    for word in words {
        let longer: Vec<String> = path.iter().chain([word]).cloned().collect();
        if known.iter().any(|command| command.starts_with(&longer)) {
            path = longer;
        } else {
            break;
        }
    }
    let first = words.first().map_or("", String::as_str);
    if path.is_empty() && !first.starts_with('-') {
        return Err(format!("there is no command `{first}`"));
    }
    let help = help(&path);
    for word in &words[path.len()..] {
        let option = word.split('=').next().unwrap();
        let there = if option.starts_with("--") {
            options(&help).contains(option)
        } else if option.starts_with('-') && option.len() == 2 {
            help.contains(&format!("  {option}, --"))
        } else {
            true
        };
        if !there {
            return Err(format!("`keyroll {}` has no option {option}", path.join(" ")));
        }
    }
    Ok(())
}

/// Every command of the program, from its own help.
fn command_paths() -> Vec<Vec<String>> {
    fn walk(path: &[String], found: &mut Vec<Vec<String>>) {
        let text = help(path);
        let Some(list) = text.split("Commands:\n").nth(1) else {
            found.push(path.to_vec());
            return;
        };
        for line in list.lines().take_while(|line| line.starts_with("  ")) {
            let name = line.split_whitespace().next().unwrap_or_default();
            // Continued descriptions are indented further.
            if !line.starts_with("   ") && name != "help" {
                let longer: Vec<String> = path.iter().cloned().chain([name.to_owned()]).collect();
                walk(&longer, found);
            }
        }
    }
    static PATHS: std::sync::OnceLock<Vec<Vec<String>>> = std::sync::OnceLock::new();
    PATHS
        .get_or_init(|| {
            let mut found = Vec::new();
            walk(&[], &mut found);
            found
        })
        .clone()
}

/// Long options in a help text's list of options.
fn options(help: &str) -> BTreeSet<String> {
    help.lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .flat_map(str::split_whitespace)
        .filter(|word| word.starts_with("--"))
        // An option that may be repeated is followed by dots.
        .map(|word| word.trim_end_matches([',', '.']).to_owned())
        .collect()
}

/// Ten simulated rotations of a configuration, with trouble.
fn simulate(yaml: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("keyroll.yaml");
    std::fs::write(&config, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_keyroll"))
        .args(["simulate", "--chaos", "--runs", "10", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let tail: Vec<&str> = said.lines().rev().take(5).collect();
    if output.status.success() { Ok(()) } else { Err(tail.join("\n")) }
}

fn help(path: &[String]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_keyroll"))
        .args(path)
        .arg("--help")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|err| panic!("keyroll {}: {err}", path.join(" ")));
    assert!(output.status.success(), "keyroll {} --help failed", path.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// What every command takes.
const GLOBAL: [&str; 7] = ["--config", "--format", "--state-dir", "--operator", "--verbose", "--help", "--version"];
