//! From a method and a path to a binding: literals before `*` before `**`, with a step back where a
//! more literal way ends nowhere.

use std::{borrow::Cow, collections::HashMap};

use http::Method;
use percent_encoding::percent_decode_str;

use crate::template::{Segment, Template};

/// All templates of a transcoder. Each names its binding by a number.
#[derive(Debug)]
pub(crate) struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, usize>,
    one: Option<usize>,
    /// What ends here.
    ends: Vec<End>,
    /// What ends in `**` after here.
    rests: Vec<End>,
}

#[derive(Debug)]
struct End {
    verb: Option<String>,
    method: Method,
    binding: usize,
}

/// A path, split and decoded.
#[derive(Debug)]
pub(crate) struct Segments<'p> {
    raw: Vec<&'p str>,
    decoded: Vec<Cow<'p, str>>,
    /// Split off the last segment, for templates that end in one.
    verb: Option<(&'p str, &'p str)>,
}

/// A path that is not one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathError {
    /// More segments than allowed.
    TooMany,
    /// The segment of that number, from 1, is not UTF-8 once decoded.
    NotText(usize),
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The binding, and whether a verb was split off the last segment.
    Found { binding: usize, verb: bool },
    /// Nothing with that method; these have it.
    OtherMethods(Vec<Method>),
    /// Nothing.
    None,
}

impl<'p> Segments<'p> {
    /// Splits `path`, which begins with `/`, and decodes each segment.
    pub(crate) fn parse(path: &'p str, limit: usize) -> Result<Self, PathError> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let raw: Vec<&str> =
            if path.is_empty() { Vec::new() } else { path.split('/').take(limit + 1).collect() };
        if raw.len() > limit {
            return Err(PathError::TooMany);
        }
        let decode = |(index, segment): (usize, &&'p str)| {
            percent_decode_str(segment).decode_utf8().map_err(|_| PathError::NotText(index + 1))
        };
        let decoded = raw.iter().enumerate().map(decode).collect::<Result<_, _>>()?;
        let verb = raw.last().and_then(|last| last.rsplit_once(':'));
        let verb = verb.filter(|(stem, verb)| !stem.is_empty() && !verb.is_empty());
        Ok(Self { raw, decoded, verb })
    }

    /// The text of the segments from `begin` on, up to `end` or, if that is `None`, to the last.
    ///
    /// Of more than one segment, `%2F` is left as it is, so that it can be told from a separator.
    pub(crate) fn capture(
        &self,
        begin: usize,
        end: Option<usize>,
        multiple: bool,
        verb: bool,
    ) -> Cow<'_, str> {
        let end = end.unwrap_or(self.raw.len()).min(self.raw.len());
        let last = self.raw.len().saturating_sub(1);
        let stem = self.verb.filter(|_| verb).map(|(stem, _)| stem);
        let raw = |index: usize| stem.filter(|_| index == last).unwrap_or(self.raw[index]);
        if !multiple {
            return match stem {
                Some(stem) if begin == last => percent_decode_str(stem).decode_utf8_lossy(),
                _ => Cow::Borrowed(self.decoded[begin].as_ref()),
            };
        }
        let segments: Vec<_> = (begin..end).map(|index| decode_but_slashes(raw(index))).collect();
        Cow::Owned(segments.join("/"))
    }
}

/// Decodes all but `%2F` and `%2f`.
fn decode_but_slashes(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = find_slash(rest) {
        text.push_str(&percent_decode_str(&rest[..at]).decode_utf8_lossy());
        text.push_str(&rest[at..at + 3]);
        rest = &rest[at + 3..];
    }
    text.push_str(&percent_decode_str(rest).decode_utf8_lossy());
    text
}

fn find_slash(text: &str) -> Option<usize> {
    text.as_bytes().windows(3).position(|window| window.eq_ignore_ascii_case(b"%2f"))
}

impl Router {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a template. `Err` is the binding that has the same paths and method already.
    pub(crate) fn insert(
        &mut self,
        method: &Method,
        template: &Template,
        binding: usize,
    ) -> Result<(), usize> {
        let mut at = 0;
        let mut rest = false;
        for segment in &template.segments {
            let next = self.nodes.len();
            let node = &mut self.nodes[at];
            at = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::One => *node.one.get_or_insert(next),
                Segment::Rest => {
                    rest = true;
                    break;
                }
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        let node = &mut self.nodes[at];
        let ends = if rest { &mut node.rests } else { &mut node.ends };
        let same = |end: &&End| end.method == *method && end.verb == template.verb;
        if let Some(end) = ends.iter().find(same) {
            return Err(end.binding);
        }
        ends.push(End { verb: template.verb.clone(), method: method.clone(), binding });
        Ok(())
    }

    /// What a path leads to. A template with the verb wins over one that takes it as text.
    pub(crate) fn find(&self, method: &Method, segments: &Segments<'_>) -> Match {
        let mut search = Search { router: self, method, allowed: Vec::new(), verb: None };
        if let Some((stem, verb)) = segments.verb {
            let stem = percent_decode_str(stem).decode_utf8_lossy();
            let mut stemmed: Vec<&str> = segments.decoded.iter().map(AsRef::as_ref).collect();
            if let Some(last) = stemmed.last_mut() {
                *last = &stem;
            }
            search.verb = Some(verb);
            if let Some(binding) = search.walk(0, &stemmed) {
                return Match::Found { binding, verb: true };
            }
        }
        search.verb = None;
        let whole: Vec<&str> = segments.decoded.iter().map(AsRef::as_ref).collect();
        match search.walk(0, &whole) {
            Some(binding) => Match::Found { binding, verb: false },
            None if search.allowed.is_empty() => Match::None,
            None => Match::OtherMethods(search.allowed),
        }
    }
}

struct Search<'r> {
    router: &'r Router,
    method: &'r Method,
    verb: Option<&'r str>,
    allowed: Vec<Method>,
}

impl Search<'_> {
    /// Every node is reached on one way only, so this looks at each at most once.
    fn walk(&mut self, at: usize, segments: &[&str]) -> Option<usize> {
        let node = &self.router.nodes[at];
        let Some((first, rest)) = segments.split_first() else { return self.end(&node.ends) };
        if let Some(next) = node.literals.get(*first)
            && let Some(binding) = self.walk(*next, rest)
        {
            return Some(binding);
        }
        if let Some(next) = node.one.filter(|_| !first.is_empty())
            && let Some(binding) = self.walk(next, rest)
        {
            return Some(binding);
        }
        if rest.is_empty() && first.is_empty() { None } else { self.end(&node.rests) }
    }

    fn end(&mut self, ends: &[End]) -> Option<usize> {
        let fits = ends.iter().filter(|end| end.verb.as_deref() == self.verb);
        for end in fits {
            if end.method == *self.method {
                return Some(end.binding);
            }
            if !self.allowed.contains(&end.method) {
                self.allowed.push(end.method.clone());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router(templates: &[(Method, &str)]) -> Router {
        let mut router = Router::new();
        for (binding, (method, template)) in templates.iter().enumerate() {
            let template = Template::parse(template).expect("a valid template");
            router.insert(method, &template, binding).expect("a new one");
        }
        router
    }

    fn find(router: &Router, method: &Method, path: &str) -> Match {
        router.find(method, &Segments::parse(path, 64).expect("a valid path"))
    }

    fn found(binding: usize) -> Match {
        Match::Found { binding, verb: false }
    }

    #[test]
    fn literals_win_and_a_dead_end_is_left() {
        let get = Method::GET;
        let router = router(&[
            (Method::GET, "/agent/session/{id}"),
            (Method::POST, "/agent/{name}/session"),
            (Method::GET, "/agent/{name}/{what}"),
            (Method::GET, "/agent/{rest=**}"),
            (Method::GET, "/"),
        ]);
        assert_eq!(find(&router, &get, "/agent/session/1"), found(0));
        assert_eq!(find(&router, &get, "/agent/x/session"), found(2));
        assert_eq!(find(&router, &Method::POST, "/agent/session/session"), found(1));
        assert_eq!(find(&router, &get, "/agent/session/1/2"), found(3));
        assert_eq!(find(&router, &get, "/agent/session"), found(3));
        assert_eq!(find(&router, &get, "/agent/"), Match::None);
        assert_eq!(find(&router, &get, "/agent"), Match::None);
        assert_eq!(find(&router, &get, "/"), found(4));
        let others = Match::OtherMethods(vec![Method::GET]);
        assert_eq!(find(&router, &Method::POST, "/agent/session/1"), others);
    }

    #[test]
    fn a_verb_is_split_off_only_for_a_template_that_has_it() {
        let router = router(&[
            (Method::POST, "/holders/{id}:renew"),
            (Method::GET, "/holders/{id}"),
            (Method::GET, "/records:watch"),
            (Method::GET, "/records/{key=**}"),
        ]);
        let path = Segments::parse("/holders/a%3Ab:renew", 64).expect("valid");
        let renew = router.find(&Method::POST, &path);
        assert_eq!(renew, Match::Found { binding: 0, verb: true });
        assert_eq!(path.capture(1, Some(2), false, true), "a:b");
        assert_eq!(find(&router, &Method::GET, "/holders/a:b"), found(1));
        let watch = Match::Found { binding: 2, verb: true };
        assert_eq!(find(&router, &Method::GET, "/records:watch"), watch);
        assert_eq!(find(&router, &Method::GET, "/records/a:watch"), found(3));
        let others = Match::OtherMethods(vec![Method::POST]);
        assert_eq!(
            find(&router, &Method::PUT, "/records:watch"),
            Match::OtherMethods(vec![Method::GET])
        );
        assert_eq!(find(&router, &Method::DELETE, "/holders/a:renew"), {
            let Match::OtherMethods(mut both) = others else { unreachable!("set above") };
            both.push(Method::GET);
            Match::OtherMethods(both)
        });
    }

    #[test]
    fn segments_are_decoded_one_by_one() {
        let path = Segments::parse("/a/b%2Fc%20d/e%2ff", 64).expect("valid");
        assert_eq!(path.capture(1, Some(2), false, false), "b/c d");
        assert_eq!(path.capture(1, None, true, false), "b%2Fc d/e%2ff");
        assert_eq!(Segments::parse("/a/%ff", 64).expect_err("not UTF-8"), PathError::NotText(2));
        assert_eq!(Segments::parse("/a/b/c", 2).expect_err("too many"), PathError::TooMany);
    }

    #[test]
    fn the_same_paths_twice_are_a_conflict() {
        let mut router = router(&[(Method::GET, "/a/{x}")]);
        let again = Template::parse("/a/{y=*}").expect("valid");
        assert_eq!(router.insert(&Method::GET, &again, 7), Err(0));
        assert_eq!(router.insert(&Method::PUT, &again, 7), Ok(()));
    }

    proptest! {
        #[test]
        fn no_path_and_no_template_panics(
            template in "(/([a-c]|\\*|\\*\\*|\\{[a-c](=(\\*\\*?|[a-c]|/){0,4})?\\}|:)){0,5}",
            path in "(/([a-d]|%2F|%ff|:|\\PC){0,4}){0,6}",
        ) {
            let mut router = Router::new();
            if let Ok(template) = Template::parse(&template) {
                let _ = router.insert(&Method::GET, &template, 0);
            }
            let Ok(segments) = Segments::parse(&path, 64) else { return Ok(()) };
            if let Match::Found { verb, .. } = router.find(&Method::GET, &segments) {
                let template = Template::parse(&template).expect("it was inserted");
                for variable in &template.variables {
                    let multiple = variable.is_multiple(&template);
                    let end = variable.end(&template);
                    let text = segments.capture(variable.begin, end, multiple, verb);
                    prop_assert!(!text.is_empty());
                }
            }
        }
    }
}
