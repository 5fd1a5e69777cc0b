//! Path templates of google.api.http: `/v1/{name=shelves/*}/books/{id}:archive`.
//!
//! The grammar is that of google/api/http.proto, with two readings of ours: `/` alone is a template
//! of no segments, and `**` takes one segment or more, so that `{key=**}` is never empty.

use std::fmt;

/// One segment of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Exactly this.
    Literal(String),
    /// Any one segment that is not empty.
    One,
    /// All that is left.
    Rest,
}

/// Part of a path that goes to a field of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// The field, as a path of names: `session.id`.
    pub(crate) field: Vec<String>,
    /// Its first segment.
    pub(crate) begin: usize,
    /// The segment after its last one in the template.
    end: usize,
}

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// What stands after the last `:`.
    pub(crate) verb: Option<String>,
}

/// Why a template is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    what: &'static str,
    at: usize,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl Variable {
    /// Whether it takes more than one segment, in which case `%2F` stays as it is.
    pub(crate) fn is_multiple(&self, template: &Template) -> bool {
        let segments = &template.segments[self.begin..self.end];
        segments.len() != 1 || segments.contains(&Segment::Rest)
    }

    /// The segment after its last; `None` if it takes all that is left.
    pub(crate) fn end(&self, template: &Template) -> Option<usize> {
        let is_rest = template.segments[self.end - 1] == Segment::Rest;
        (!is_rest).then_some(self.end)
    }
}

impl Template {
    /// Takes a template apart.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self { segments: Vec::new(), variables: Vec::new(), verb: None };
        let mut parser = Parser { text, at: 0, template };
        parser.expect(b'/', "expected `/`")?;
        if parser.peek().is_some() {
            parser.segments(true)?;
        }
        if parser.take(b':') {
            parser.template.verb = Some(parser.literal()?);
        }
        if parser.peek().is_some() {
            return Err(parser.error("unexpected character"));
        }
        let rest = parser.template.segments.iter().position(|segment| *segment == Segment::Rest);
        if rest.is_some_and(|rest| rest + 1 != parser.template.segments.len()) {
            return Err(parser.error("`**` must be the last segment"));
        }
        Ok(parser.template)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    template: Template,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), TemplateError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(what)) }
    }

    fn error(&self, what: &'static str) -> TemplateError {
        TemplateError { what, at: self.at }
    }

    fn segments(&mut self, variables: bool) -> Result<(), TemplateError> {
        loop {
            if variables && self.take(b'{') {
                self.variable()?;
            } else if self.take(b'*') {
                let segment = if self.take(b'*') { Segment::Rest } else { Segment::One };
                self.template.segments.push(segment);
            } else {
                let literal = self.literal()?;
                self.template.segments.push(Segment::Literal(literal));
            }
            if !self.take(b'/') {
                return Ok(());
            }
        }
    }

    fn variable(&mut self) -> Result<(), TemplateError> {
        let mut field = vec![self.identifier()?];
        while self.take(b'.') {
            field.push(self.identifier()?);
        }
        let begin = self.template.segments.len();
        if self.take(b'=') {
            self.segments(false)?;
        } else {
            self.template.segments.push(Segment::One);
        }
        self.expect(b'}', "expected `}`")?;
        if self.template.variables.iter().any(|variable| variable.field == field) {
            return Err(self.error("a field is named twice"));
        }
        let end = self.template.segments.len();
        self.template.variables.push(Variable { field, begin, end });
        Ok(())
    }

    fn identifier(&mut self) -> Result<String, TemplateError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let name = self.run(is_part, "expected the name of a field")?;
        if name.starts_with(|first: char| first.is_ascii_digit()) {
            return Err(self.error("a name cannot begin with a digit"));
        }
        Ok(name)
    }

    fn literal(&mut self) -> Result<String, TemplateError> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        self.run(is_part, "expected a segment")
    }

    fn run(
        &mut self,
        is_part: impl Fn(u8) -> bool,
        what: &'static str,
    ) -> Result<String, TemplateError> {
        let begin = self.at;
        while self.peek().is_some_and(&is_part) {
            self.at += 1;
        }
        if begin == self.at {
            return Err(self.error(what));
        }
        Ok(self.text[begin..self.at].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn a_template_is_taken_apart() {
        let template =
            Template::parse("/v1/{book.name=shelves/*/books/*}/{id}:archive").expect("valid");
        let books = [literal("v1"), literal("shelves"), Segment::One, literal("books")];
        assert_eq!(template.segments[..4], books);
        assert_eq!(template.segments[4..], [Segment::One, Segment::One]);
        let [name, id] = template.variables.as_slice() else { unreachable!("two variables") };
        assert_eq!((name.field.join("."), name.begin, name.end), ("book.name".into(), 1, 5));
        assert_eq!((id.field.join("."), id.begin, id.end), ("id".into(), 5, 6));
        assert_eq!(template.verb.as_deref(), Some("archive"));
        assert!(name.is_multiple(&template));
        assert!(!id.is_multiple(&template));
    }

    #[test]
    fn the_root_and_the_rest_are_templates() {
        assert_eq!(Template::parse("/").expect("valid").segments, []);
        let rest = Template::parse("/records/{key=**}:watch").expect("valid");
        assert_eq!(rest.segments, [literal("records"), Segment::Rest]);
        assert!(rest.variables[0].is_multiple(&rest));
    }

    #[test]
    fn what_is_no_template_says_where() {
        for (text, error) in [
            ("", "expected `/` at byte 0"),
            ("v1", "expected `/` at byte 0"),
            ("/v1/", "expected a segment at byte 4"),
            ("/v1//a", "expected a segment at byte 4"),
            ("/{a", "expected `}` at byte 3"),
            ("/{}", "expected the name of a field at byte 2"),
            ("/{1a}", "a name cannot begin with a digit at byte 4"),
            ("/{a={b}}", "expected a segment at byte 4"),
            ("/{a}/{a}", "a field is named twice at byte 8"),
            ("/**/a", "`**` must be the last segment at byte 5"),
            ("/a:", "expected a segment at byte 3"),
            ("/a b", "unexpected character at byte 2"),
        ] {
            let found = Template::parse(text).expect_err(text);
            assert_eq!(found.to_string(), error, "{text}");
        }
    }
}
