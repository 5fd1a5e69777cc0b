//! Fills a tool's arguments from the words of a message, by the tool's JSON Schema.

use serde_json::value::RawValue;

use super::words::{Kind, Token, json_number};

mod schema;
mod text;

use schema::{Parameter, Shape};

/// The part of a message that a tool's arguments are looked for in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment<'a> {
    pub(super) message: &'a str,
    pub(super) tokens: &'a [Token<'a>],
    /// Where in the message it ends.
    pub(super) end: usize,
    /// Whether the message goes on after it.
    pub(super) is_cut: bool,
}

impl<'a> Segment<'a> {
    pub(super) fn whole(message: &'a str, tokens: &'a [Token<'a>]) -> Self {
        Self { message, tokens, end: message.len(), is_cut: false }
    }

    /// The tokens from `start` to before `end`.
    pub(super) fn part(
        message: &'a str,
        tokens: &'a [Token<'a>],
        start: usize,
        end: usize,
    ) -> Self {
        let next = tokens.get(end);
        let tokens = tokens.get(start..end).unwrap_or_default();
        let byte = next.map_or(message.len(), |token| token.start);
        Self { message, tokens, end: byte, is_cut: next.is_some() }
    }
}

/// The arguments, as far as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filled {
    /// A JSON object.
    pub(super) json: String,
    /// Parameters that the tool needs and the words do not give.
    pub(super) missing: Vec<String>,
    /// Whether a word of the message is a value of an enum.
    pub(super) has_operation: bool,
}

impl Filled {
    /// Whether the words gave nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.json == "{}"
    }
}

/// Fills the parameters of `schema` from the words of `segment`. A JSON object among them is taken
/// as the arguments, verbatim.
pub(super) fn fill(schema: Option<&RawValue>, segment: &Segment<'_>) -> Filled {
    if let Some(object) = segment.tokens.iter().find(|token| token.kind == Kind::Json) {
        let json = object.text.to_owned();
        return Filled { json, missing: Vec::new(), has_operation: false };
    }
    let mut filler = Filler {
        segment,
        parameters: schema::parameters(schema),
        used: vec![false; segment.tokens.len()],
        values: Vec::new(),
        has_operation: false,
    };
    filler.values = vec![None; filler.parameters.len()];
    filler.named();
    filler.choices();
    filler.numbers();
    filler.lists();
    filler.texts();
    filler.defaults();
    filler.finish()
}

struct Filler<'a> {
    segment: &'a Segment<'a>,
    parameters: Vec<Parameter>,
    /// Which tokens already stand for something.
    used: Vec<bool>,
    /// The value of each parameter, as JSON.
    values: Vec<Option<String>>,
    has_operation: bool,
}

impl<'a> Filler<'a> {
    /// Indexes of parameters that are wanted and have no value yet.
    fn open(&self, fits: impl Fn(&Shape) -> bool) -> Vec<usize> {
        let open = |at: &usize| {
            let parameter = &self.parameters[*at];
            parameter.wanted && self.values[*at].is_none() && fits(&parameter.shape)
        };
        (0..self.parameters.len()).filter(open).collect()
    }

    /// Indexes of tokens of a kind that stand for nothing yet.
    fn free(&self, kind: Kind) -> Vec<usize> {
        let tokens = self.segment.tokens;
        (0..tokens.len()).filter(|at| !self.used[*at] && tokens[*at].kind == kind).collect()
    }

    /// "limit=5", "city: Paris", "limit 5": parameters that are called by their names.
    fn named(&mut self) {
        for at in 0..self.parameters.len() {
            let found = text::named(&self.parameters, at, self.segment);
            if let Some(text::Named { value, tokens }) = found {
                self.used[tokens].fill(true);
                self.values[at] = Some(value);
            }
        }
    }

    /// Words that are values of enums.
    fn choices(&mut self) {
        for at in self.open(|shape| matches!(shape, Shape::Enum(_))) {
            let Shape::Enum(choices) = &self.parameters[at].shape else { continue };
            let tokens = self.segment.tokens;
            let found = (0..tokens.len())
                .filter(|t| !self.used[*t] && text::can_be_choice(tokens, *t))
                .find_map(|t| Some((t, schema::choose(choices, tokens[t].text)?.to_owned())));
            if let Some((token, value)) = found {
                self.used[token] = true;
                self.values[at] = Some(value);
                self.has_operation = true;
            }
        }
    }

    /// Numbers, in the order in which they stand.
    fn numbers(&mut self) {
        let mut free = self.free(Kind::Number);
        text::swap_subtrahend(self.segment.tokens, &mut free);
        let mut free = free.into_iter();
        for at in self.open(|shape| matches!(shape, Shape::Number | Shape::Integer)) {
            let whole = self.parameters[at].shape == Shape::Integer;
            let tokens = self.segment.tokens;
            let Some(token) = free.find(|t| !whole || schema::is_whole(tokens[*t].text)) else {
                return;
            };
            self.used[token] = true;
            self.values[at] = Some(json_number(tokens[token].text));
        }
    }

    /// All quotations, or all numbers that are left.
    fn lists(&mut self) {
        for at in self.open(|shape| matches!(shape, Shape::Texts | Shape::Numbers)) {
            let is_texts = self.parameters[at].shape == Shape::Texts;
            let free = self.free(if is_texts { Kind::Quote } else { Kind::Number });
            let mut items = Vec::with_capacity(free.len());
            for token in free {
                self.used[token] = true;
                let text = self.segment.tokens[token].text;
                items.push(if is_texts { text::json(text) } else { json_number(text) });
            }
            if items.is_empty() && is_texts {
                let rest = text::rest(self.segment, &self.used).unwrap_or_default();
                items = text::items(&rest).map(text::json).collect();
            }
            if !items.is_empty() {
                self.values[at] = Some(format!("[{}]", items.join(",")));
            }
        }
    }

    /// Quotations, in order; the last text that is wanted may be the rest of the words.
    fn texts(&mut self) {
        let mut quotes = self.free(Kind::Quote).into_iter();
        let open = self.open(|shape| *shape == Shape::Text);
        for (n, at) in open.iter().enumerate() {
            if let Some(token) = quotes.next() {
                self.used[token] = true;
                self.values[*at] = Some(text::json(self.segment.tokens[token].text));
            } else if n + 1 == open.len() {
                self.values[*at] = text::rest(self.segment, &self.used).map(|t| text::json(&t));
            }
        }
        if open.is_empty() {
            let optional = |p: &Parameter| p.shape == Shape::Text && !p.wanted;
            let at =
                self.parameters.iter().position(optional).filter(|at| self.values[*at].is_none());
            if let (Some(at), Some(token)) = (at, quotes.next()) {
                self.values[at] = Some(text::json(self.segment.tokens[token].text));
            }
        }
    }

    fn defaults(&mut self) {
        for at in self.open(|_| true) {
            let Parameter { default, shape, .. } = &self.parameters[at];
            self.values[at] = default.clone().or_else(|| match shape {
                Shape::Boolean => Some("false".to_owned()),
                Shape::Object => Some("{}".to_owned()),
                Shape::Enum(choices) if choices.len() == 1 => Some(choices[0].json.clone()),
                _ => None,
            });
        }
    }

    fn finish(self) -> Filled {
        let missing = self.open(|_| true);
        let missing = missing.into_iter().map(|at| self.parameters[at].name.clone()).collect();
        let fields = self.parameters.iter().zip(self.values);
        let fields: Vec<String> = fields
            .filter_map(|(parameter, value)| {
                Some(format!("{}:{}", text::json(&parameter.name), value?))
            })
            .collect();
        let json = format!("{{{}}}", fields.join(","));
        Filled { json, missing, has_operation: self.has_operation }
    }
}
