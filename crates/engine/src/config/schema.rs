//! The JSON schema of `keyroll.yaml`, for editors. It is made from the form as written, so it can't say anything else.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::written::Document;

/// The schema as a pretty-printed JSON text; `schema/keyroll.schema.json` holds the same.
pub fn json_schema() -> String {
    let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text + "\n"
}

/// Every field of the document with the path of the group in which it stands, such as (`settle`, `spec.policy`).
pub(super) fn fields() -> Vec<(String, String)> {
    let schema = schema();
    let mut found = Vec::new();
    collect(&schema, &schema, &mut Vec::new(), &mut found);
    found
}

fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12();
    settings.into_generator().into_root_schema_for::<Document>().to_value()
}

fn collect(root: &Value, node: &Value, path: &mut Vec<String>, found: &mut Vec<(String, String)>) {
    if let Some(target) = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#')) {
        if let Some(target) = root.pointer(target) {
            collect(root, target, path, found);
        }
        return;
    }
    for choice in ["anyOf", "oneOf", "allOf"].iter().filter_map(|name| node.get(name)?.as_array()).flatten() {
        collect(root, choice, path, found);
    }
    if let Some(items) = node.get("items") {
        collect(root, items, path, found);
    }
    if let Some(properties) = node.get("properties").and_then(Value::as_object) {
        for (name, value) in properties {
            found.push((name.clone(), path.join(".")));
            path.push(name.clone());
            collect(root, value, path, found);
            path.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_schema_is_the_one_that_the_code_makes() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/keyroll.schema.json");
        if std::env::var_os("KEYROLL_WRITE_GENERATED").is_some() {
            std::fs::create_dir_all(std::path::Path::new(file).parent().unwrap()).unwrap();
            std::fs::write(file, json_schema()).unwrap();
        }
        let shipped = std::fs::read_to_string(file).unwrap();
        assert!(
            shipped == json_schema(),
            "`{file}` is not what the code makes; run this test with KEYROLL_WRITE_GENERATED=1"
        );
    }

    #[test]
    fn the_schema_knows_where_each_field_stands() {
        let fields = fields();
        for (name, place) in [
            ("settle", "spec.policy"),
            ("path", "spec.probe"),
            ("ports", "spec.consumers.process"),
            ("path", "spec.store.envFile"),
        ] {
            assert!(fields.contains(&(name.to_owned(), place.to_owned())), "{name} in {place}: {fields:?}");
        }
    }

    #[test]
    fn no_group_of_the_schema_takes_unknown_fields() {
        fn check(node: &Value) {
            if let Some(object) = node.as_object() {
                if object.contains_key("properties") {
                    assert_eq!(object.get("additionalProperties"), Some(&Value::Bool(false)), "{object:?}");
                }
                object.values().for_each(check);
            } else if let Some(array) = node.as_array() {
                array.iter().for_each(check);
            }
        }
        check(&schema());
    }
}
