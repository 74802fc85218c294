//! Canonical JSON laid out for people: a member a line, so that two texts can be compared line by line.

/// Lays out JSON that has no spaces between its tokens, two spaces a level. Empty objects, and arrays that
/// have neither objects nor arrays in them, stay on their line, and no number or string is written in another
/// way. `None` where the text would be longer than `most` bytes: the spaces before a line may be a hundred
/// times as long as the rest of it.
pub(crate) fn lines(canonical: &str, most: usize) -> Option<String> {
    lay_out(canonical, false, most)
}

/// The same with a line for each element of an array, and for each line of a string. It is not JSON any more:
/// for eyes alone.
pub(crate) fn reading(canonical: &str) -> String {
    // No text is longer than that.
    lay_out(canonical, true, usize::MAX).unwrap_or_default()
}

fn lay_out(canonical: &str, breaks_strings: bool, most: usize) -> Option<String> {
    let mut out = String::with_capacity(canonical.len().saturating_mul(2).min(most));
    let (mut depth, mut in_string, mut is_escaped, mut is_flat) = (0_usize, false, false, false);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut previous = ' ';
    for (place, c) in canonical.char_indices() {
        if out.len() > most {
            return None;
        }
        if in_string {
            out.push(c);
            if breaks_strings && is_escaped && c == 'n' {
                new_line(&mut out, depth + 1);
            }
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            previous = c;
            continue;
        }
        match c {
            '{' | '[' => {
                begin(&mut out, previous, depth, new_line);
                out.push(c);
                depth += 1;
                is_flat =
                    c == '[' && !breaks_strings && canonical.get(place + 1..).is_some_and(has_only_scalars);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !is_flat && !matches!(previous, '{' | '[') {
                    new_line(&mut out, depth);
                }
                is_flat = false;
                out.push(c);
            }
            ',' if is_flat => out.push_str(", "),
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                if !is_flat {
                    begin(&mut out, previous, depth, new_line);
                }
                in_string = c == '"';
                out.push(c);
            }
        }
        // A bracket that closed is no place to begin a line behind.
        previous = c;
    }
    (out.len() <= most).then_some(out)
}

/// True where the array whose bracket has just opened has neither objects nor arrays in it. Looks no further
/// than to the next bracket, so that a text is looked at once, however deep it is.
fn has_only_scalars(rest: &str) -> bool {
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in rest.bytes() {
        match byte {
            _ if in_string => {
                in_string = is_escaped || byte != b'"';
                is_escaped = !is_escaped && byte == b'\\';
            }
            b'"' => in_string = true,
            b'{' | b'[' => return false,
            b']' => return true,
            _ => {}
        }
    }
    false
}

/// The first token behind an opening bracket begins a line.
fn begin(out: &mut String, previous: char, depth: usize, new_line: impl Fn(&mut String, usize)) {
    if matches!(previous, '{' | '[') {
        new_line(out, depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::canonical;

    #[test]
    fn a_member_has_a_line_and_all_else_is_as_it_was() {
        let text = r#"{"a":[],"b":{},"c":[1,{"d":"x{,}:\"\n[y"}],"e":"","f":-1.5e-7}"#;
        let laid = lines(text, usize::MAX).expect("a text");
        let wanted = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"x{,}:\\\"\\n[y\"\n    }\n  ],\n  \"e\": \"\",\n  \"f\": -1.5e-7\n}";
        assert_eq!(laid, wanted);
        assert_eq!(canonical(&laid).expect("JSON"), text);
        assert_eq!(lines("\"{\"", 3).as_deref(), Some("\"{\""));
        assert_eq!(lines(text, laid.len()), Some(laid.clone()));
        assert_eq!(lines(text, laid.len() - 1), None);
    }

    #[test]
    fn an_array_of_scalars_has_one_line_however_deep_it_is() {
        let text = r#"{"a":["x]\"[","{",null],"b":[[1,2],[]]}"#;
        let wanted = "{\n  \"a\": [\"x]\\\"[\", \"{\", null],\n  \"b\": [\n    [1, 2],\n    []\n  ]\n}";
        assert_eq!(lines(text, usize::MAX).as_deref(), Some(wanted));
        assert_eq!(canonical(wanted).expect("JSON"), text);
        let deep = format!("{}{}1{}", "[".repeat(60), "1,".repeat(10_000), "]".repeat(60));
        let laid = lines(&deep, 2 * deep.len() + 60 * 130).expect("it is short");
        assert_eq!(canonical(&laid).expect("JSON"), deep);
    }

    #[test]
    fn a_text_of_several_lines_has_several_to_read() {
        let text = r#"{"description":"one\ntwo\\n, still two\nthree"}"#;
        let wanted = "{\n  \"description\": \"one\\n\n    two\\\\n, still two\\n\n    three\"\n}";
        assert_eq!(reading(text), wanted);
    }
}
