//! The input document for people and programs: an example with comments, a JSON schema, and the table of
//! docs/policy.md.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::shape::{Field, INPUT, PartKind};

/// How `airlock policy input` shows the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputForm {
    /// JSON with comments.
    Commented,
    /// The same without them, as `airlock policy explain --input` takes it.
    Json,
    /// A JSON schema (draft 2020-12).
    Schema,
}

/// The input document in one of its forms.
pub fn describe_input(form: InputForm) -> String {
    let pretty = |value: &Value| format!("{value:#}\n");
    match form {
        InputForm::Commented => commented(),
        InputForm::Json => pretty(&example(&INPUT)),
        InputForm::Schema => {
            let mut schema = json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "The input document of Airlock's policies",
            });
            if let (Value::Object(all), Value::Object(own)) = (&mut schema, schema_of(&INPUT)) {
                all.extend(own);
            }
            pretty(&schema)
        }
    }
}

/// The type of a field, what it is and when it is null, in one line.
fn told(field: &Field) -> String {
    let mut text = format!("{}: {}", field.kind.name(), field.about);
    if !field.null.is_empty() {
        // Writing into a String cannot fail.
        let _ = write!(text, "; null when {}", field.null);
    }
    text
}

fn commented() -> String {
    let mut text = format!(
        "// The input document: {}. Every field is always there; no other field exists.\n",
        INPUT.about
    );
    text.push_str(
        "// In a `free` object others say what the members are: the client, or the issuer of the token.\n{\n",
    );
    write_members(&INPUT, 1, &mut text);
    text.push_str("}\n");
    text
}

fn write_members(field: &Field, depth: usize, text: &mut String) {
    let members = field.kind.members().unwrap_or_default();
    let indent = "  ".repeat(depth);
    for (at, member) in members.iter().enumerate() {
        let comma = if at + 1 < members.len() { "," } else { "" };
        if member.kind.members().is_some() {
            let _ = writeln!(text, "{indent}// {}\n{indent}\"{}\": {{", member.about, member.name);
            write_members(member, depth + 1, text);
            let _ = writeln!(text, "{indent}}}{comma}");
        } else {
            let _ = writeln!(text, "{indent}// {}", told(member));
            let _ = writeln!(text, "{indent}\"{}\": {}{comma}", member.name, member.example);
        }
    }
}

fn example(field: &Field) -> Value {
    match field.kind.members() {
        Some(members) => {
            members.iter().map(|member| (member.name.to_owned(), example(member))).collect::<Value>()
        }
        None => serde_json::from_str(field.example).unwrap_or_default(),
    }
}

fn schema_of(field: &Field) -> Value {
    let or_null = |name: &str| match field.null {
        "" => json!(name),
        _ => json!([name, "null"]),
    };
    let mut schema = match &field.kind {
        PartKind::Object(members) => {
            let names: Vec<&str> = members.iter().map(|member| member.name).collect();
            let properties: Value =
                members.iter().map(|member| (member.name.to_owned(), schema_of(member))).collect();
            json!({"type": "object", "properties": properties, "required": names, "additionalProperties": false})
        }
        PartKind::Free => json!({"type": or_null("object"), "additionalProperties": true}),
        PartKind::Text => json!({"type": or_null("string")}),
        PartKind::Texts => json!({"type": or_null("array"), "items": {"type": "string"}}),
        PartKind::Number => json!({"type": or_null("integer")}),
    };
    schema["description"] = match field.null {
        "" => json!(field.about),
        null => json!(format!("{}; null when {null}", field.about)),
    };
    schema
}

/// The rows of the table in docs/policy.md.
#[cfg(test)]
fn table() -> String {
    fn rows(field: &Field, path: &str, text: &mut String) {
        for member in field.kind.members().unwrap_or_default() {
            let path = format!("{path}.{}", member.name);
            if member.kind.members().is_some() {
                rows(member, &path, text);
            } else {
                let null = if member.null.is_empty() { "never" } else { member.null };
                let _ = writeln!(text, "| `{path}` | {} | {null} | {} |", member.kind.name(), member.about);
            }
        }
    }
    let mut text = "| field | type | null when | what it is |\n|---|---|---|---|\n".to_owned();
    rows(&INPUT, INPUT.name, &mut text);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::asked::Asked;
    use super::*;

    #[test]
    fn the_documentation_has_this_table() {
        let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/policy.md"));
        let (begin, end) = ("<!-- input: begin -->\n\n", "\n<!-- input: end -->");
        let shown = docs.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(table, _)| table);
        assert_eq!(
            shown,
            Some(table().as_str()),
            "put this between the marks of docs/policy.md:\n{}",
            table()
        );
    }

    #[test]
    fn the_example_is_an_input_document() {
        let json = describe_input(InputForm::Json);
        Asked::parse(&json).unwrap().document().unwrap();
        let commented = describe_input(InputForm::Commented);
        let bare: String = commented
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect::<Vec<_>>()
            .join("\n");
        let (bare, json): (Value, Value) =
            (serde_json::from_str(&bare).unwrap(), serde_json::from_str(&json).unwrap());
        assert_eq!(bare, json);
        assert!(
            commented
                .contains("  // object, free: the arguments, as the client wrote them; null when an entry")
        );
    }

    #[test]
    fn the_schema_takes_the_example_and_no_misspelt_field() {
        let schema: Value = serde_json::from_str(&describe_input(InputForm::Schema)).unwrap();
        assert_eq!(schema["properties"]["call"]["additionalProperties"], json!(false));
        assert_eq!(
            schema["properties"]["call"]["properties"]["arguments"]["additionalProperties"],
            json!(true)
        );
        assert_eq!(schema["properties"]["client"]["properties"]["uid"]["type"], json!(["integer", "null"]));
        assert_eq!(schema["required"], json!(["subject", "call", "client", "time"]));
    }
}
