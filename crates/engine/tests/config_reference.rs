//! `docs/reference/config.md` lists every field and every lint, and its example is taken.

use std::path::{Path, PathBuf};

use keyroll_engine::config::{SessionKey, json_schema};
use serde_json::Value;

const BEGIN: &str = "--test config_reference -->\n";
const END: &str = "<!-- end -->";

fn page() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/config.md")
}

#[test]
fn the_page_lists_every_field_of_the_schema() {
    let text = std::fs::read_to_string(page()).unwrap();
    let begin = text.find(BEGIN).unwrap() + BEGIN.len();
    let end = text[begin..].find(END).unwrap() + begin;
    let expected = format!("{}\n{}{}", text[..begin].trim_end(), table(), &text[end..]);
    if std::env::var_os("KEYROLL_WRITE_GENERATED").is_some() {
        // By renaming, because the other tests read the page at the same time.
        let fresh = page().with_extension("md.new");
        std::fs::write(&fresh, &expected).unwrap();
        std::fs::rename(fresh, page()).unwrap();
        return;
    }
    assert!(
        text == expected,
        "the fields in `{}` are stale; run this test with KEYROLL_WRITE_GENERATED=1",
        page().display()
    );
}

#[test]
fn the_example_of_the_page_is_taken() {
    let text = std::fs::read_to_string(page()).unwrap();
    let example = text.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let document = SessionKey::parse(example, Path::new("keyroll.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(keyroll_engine::lint::config(&document), []);
}

#[test]
fn the_page_names_every_lint() {
    let text = std::fs::read_to_string(page()).unwrap();
    let source = include_str!("../src/lint/checks.rs");
    let lints: Vec<&str> = source.split("lint: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(lints.len() >= 20);
    for lint in lints {
        assert!(text.contains(&format!("| `{lint}` |")), "`{lint}` is not on the page");
    }
}

fn table() -> String {
    let schema: Value = serde_json::from_str(&json_schema()).unwrap();
    let mut rows = String::from("\n| field | form | meaning |\n|---|---|---|\n");
    walk(&schema, &schema, "", &mut rows);
    rows + "\n"
}

fn walk(root: &Value, node: &Value, path: &str, rows: &mut String) {
    let node = resolved(root, node);
    for choice in ["anyOf", "oneOf"].iter().filter_map(|name| node.get(name)?.as_array()).flatten() {
        walk(root, choice, path, rows);
    }
    if let Some(items) = node.get("items") {
        walk(root, items, &format!("{path}[]"), rows);
    }
    if let Some(values) = node.get("additionalProperties").filter(|values| values.is_object()) {
        walk(root, values, &format!("{path}.NAME"), rows);
    }
    let required: Vec<&str> =
        node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, value) in node.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let meaning = value.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        let required = if required.contains(&name.as_str()) { "**Required.** " } else { "" };
        let forms = forms(root, value).join(", or ");
        rows.push_str(&format!("| `{place}` | {forms} | {required}{} |\n", meaning.replace('|', "\\|")));
        // Both are said already: by the items of `stores`, and by the list of steps.
        if !["spec.store", "spec.probe.login.steps"].contains(&place.as_str()) {
            walk(root, value, &place, rows);
        }
    }
}

fn resolved<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    match node.get("$ref").and_then(Value::as_str) {
        Some(target) => root.pointer(target.trim_start_matches('#')).unwrap(),
        None => node,
    }
}

/// The forms that a value may have, in words.
fn forms(root: &Value, node: &Value) -> Vec<String> {
    let node = resolved(root, node);
    // That a field may be left out is not a form.
    if node.get("type").and_then(Value::as_str) == Some("null") {
        return Vec::new();
    }
    let mut found: Vec<String> = Vec::new();
    let mut add = |form: String| {
        if !found.contains(&form) {
            found.push(form);
        }
    };
    for choice in ["anyOf", "oneOf"].iter().filter_map(|name| node.get(name)?.as_array()).flatten() {
        forms(root, choice).into_iter().for_each(&mut add);
    }
    if let Some(text) = node.get("const").and_then(Value::as_str) {
        add(format!("`{text}`"));
        return found;
    }
    if let Some(words) = node.get("enum").and_then(Value::as_array) {
        words.iter().filter_map(Value::as_str).for_each(|word| add(format!("`{word}`")));
    } else if let Some(example) = node.get("examples").and_then(|examples| examples.get(0)) {
        add(format!("as `{}`", example.as_str().map_or_else(|| example.to_string(), ToOwned::to_owned)));
    } else {
        let types = match node.get("type") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if types.contains(&"string") {
            add("text".into());
        } else if types.contains(&"integer") {
            add("whole number".into());
        }
        if types == ["boolean"] || types == ["boolean", "null"] {
            add("`true`, or `false`".into());
        }
        if types.contains(&"array") {
            add("list".into());
        }
        if types.contains(&"object") {
            add(if node.get("properties").is_some() { "group".into() } else { "names with values".into() });
        }
    }
    if found.is_empty() { vec!["any value".into()] } else { found }
}
