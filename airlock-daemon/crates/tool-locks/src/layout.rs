//! Canonical JSON laid out for people: a member a line, so that two texts can be compared line by line.

/// Lays out JSON that has no spaces between its tokens, two spaces a level. Empty objects and arrays stay on
/// their line, and no number or string is written in another way.
pub(crate) fn lines(canonical: &str) -> String {
    lay_out(canonical, false)
}

/// The same with a line for each line of a string. It is not JSON any more: for eyes alone.
pub(crate) fn reading(canonical: &str) -> String {
    lay_out(canonical, true)
}

fn lay_out(canonical: &str, breaks_strings: bool) -> String {
    let mut out = String::with_capacity(canonical.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let new_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut previous = ' ';
    for c in canonical.chars() {
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
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !matches!(previous, '{' | '[') {
                    new_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(',');
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                begin(&mut out, previous, depth, new_line);
                in_string = c == '"';
                out.push(c);
            }
        }
        // A bracket that closed is no place to begin a line behind.
        previous = c;
    }
    out
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
        let laid = lines(text);
        let wanted = "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"x{,}:\\\"\\n[y\"\n    }\n  ],\n  \"e\": \"\",\n  \"f\": -1.5e-7\n}";
        assert_eq!(laid, wanted);
        assert_eq!(canonical(&laid).expect("JSON"), text);
        assert_eq!(lines("\"{\""), "\"{\"");
    }

    #[test]
    fn a_text_of_several_lines_has_several_to_read() {
        let text = r#"{"description":"one\ntwo\\n, still two\nthree"}"#;
        let wanted = "{\n  \"description\": \"one\\n\n    two\\\\n, still two\\n\n    three\"\n}";
        assert_eq!(reading(text), wanted);
    }
}
