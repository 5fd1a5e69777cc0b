//! Statements as PostgreSQL wants them: one at a time, with numbered values.

/// The statements of `sql`, each with the number of its values. `?` becomes `$1`, `$2` and so on in
/// each statement, and a join whose order is prescribed becomes a join.
pub(in crate::adapters) fn statements(sql: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let (mut text, mut values, mut quoted) = (String::with_capacity(sql.len() + 64), 0, false);
    for char in sql.chars() {
        match char {
            '\'' => {
                quoted = !quoted;
                text.push(char);
            }
            '?' if !quoted => {
                values += 1;
                text.push('$');
                text.push_str(&values.to_string());
            }
            ';' if !quoted => finish(&mut found, &mut text, &mut values),
            _ => text.push(char),
        }
    }
    finish(&mut found, &mut text, &mut values);
    found
}

fn finish(found: &mut Vec<(String, usize)>, text: &mut String, values: &mut usize) {
    let statement = std::mem::take(text);
    let count = std::mem::take(values);
    if !statement.trim().is_empty() {
        found.push((statement.replace("CROSS JOIN", "JOIN"), count));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_parted_and_their_values_numbered() {
        let sql = "SELECT ';?' FROM a CROSS JOIN b ON b.x = a.x WHERE c = ? AND d = ?; DELETE FROM t WHERE a = ?;";
        let expected = [
            ("SELECT ';?' FROM a JOIN b ON b.x = a.x WHERE c = $1 AND d = $2".to_owned(), 2),
            (" DELETE FROM t WHERE a = $1".to_owned(), 1),
        ];
        assert_eq!(statements(sql), expected);
    }
}
