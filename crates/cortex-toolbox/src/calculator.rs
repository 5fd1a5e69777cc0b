//! `calculator`: one operation on two numbers, exact where a decimal number can be.

use serde::Deserialize;

use crate::{
    contract::{self, Answer, NumberText, ToolError},
    decimal::Decimal,
};

#[derive(Deserialize)]
struct Parameters {
    operation: String,
    a: NumberText,
    b: NumberText,
}

#[derive(Clone, Copy)]
enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Operation {
    fn parse(name: &str) -> Result<Self, ToolError> {
        match name {
            "add" => Ok(Self::Add),
            "subtract" => Ok(Self::Subtract),
            "multiply" => Ok(Self::Multiply),
            "divide" => Ok(Self::Divide),
            other => Err(ToolError(format!(
                "unknown operation '{other}': use add, subtract, multiply or divide"
            ))),
        }
    }

    fn exact(self, a: Decimal, b: Decimal) -> Option<Decimal> {
        match self {
            Self::Add => a.checked_add(b),
            Self::Subtract => a.checked_sub(b),
            Self::Multiply => a.checked_mul(b),
            Self::Divide => a.checked_div(b),
        }
    }

    fn rounded(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }
    }
}

/// Calculates. A result that has no exact decimal form of 38 digits is rounded to a double
/// (IEEE 754), and the answer says so with `"exact":false`.
pub(crate) fn run(parameters: &str) -> Result<Answer, ToolError> {
    let parameters: Parameters = contract::parse(parameters)?;
    let operation = Operation::parse(&parameters.operation)?;
    let a = operand("a", &parameters.a)?;
    let b = operand("b", &parameters.b)?;
    if matches!(operation, Operation::Divide) && b.is_zero() {
        return Err(ToolError(format!("division by zero: {} / {} has no value", a.text, b.text)));
    }
    let exact = a.decimal.zip(b.decimal).and_then(|(a, b)| operation.exact(a, b));
    if let Some(result) = exact {
        return Ok(Answer::verbatim(result.to_json()));
    }
    let rounded = operation.rounded(a.double, b.double);
    if !rounded.is_finite() {
        return Err(ToolError::new("the result is too large to be written as a number"));
    }
    Ok(Answer::new(rounded).with("exact", false))
}

struct Operand {
    text: String,
    decimal: Option<Decimal>,
    double: f64,
}

impl Operand {
    fn is_zero(&self) -> bool {
        self.decimal.map_or(self.double == 0.0, Decimal::is_zero)
    }
}

fn operand(name: &str, number: &NumberText) -> Result<Operand, ToolError> {
    let text = number.text();
    let decimal = Decimal::parse(&text);
    let double = text.parse::<f64>().unwrap_or(f64::NAN);
    if decimal.is_none() && !double.is_finite() {
        let shown: String = text.chars().take(80).collect();
        return Err(ToolError(format!("'{name}' must be a number, not {shown}")));
    }
    Ok(Operand { text, decimal, double })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(parameters: &str) -> String {
        match run(parameters) {
            Ok(answer) => serde_json::to_string(&answer).unwrap(),
            Err(error) => serde_json::to_string(&error).unwrap(),
        }
    }

    #[test]
    fn results_are_exact() {
        for (operation, a, b, result) in [
            ("multiply", "6", "7", "42"),
            ("add", "9007199254740993", "1", "9007199254740994"),
            ("add", "0.1", "0.2", "0.3"),
            ("subtract", "1", "0.9", "0.1"),
            ("divide", "84", "2", "42"),
            ("divide", "1", "8", "0.125"),
            ("multiply", "\"6\"", "\"7\"", "42"),
            (
                "add",
                "170141183460469231731687303715884105726",
                "1",
                "170141183460469231731687303715884105727",
            ),
        ] {
            let parameters = format!(r#"{{"operation":"{operation}","a":{a},"b":{b}}}"#);
            let expected = format!(r#"{{"success":true,"result":{result}}}"#);
            assert_eq!(answer(&parameters), expected);
        }
    }

    #[test]
    fn a_rounded_result_says_so() {
        assert_eq!(
            answer(r#"{"operation":"divide","a":1,"b":3}"#),
            r#"{"success":true,"result":0.3333333333333333,"exact":false}"#
        );
        let long = format!(r#"{{"operation":"multiply","a":{},"b":10}}"#, "9".repeat(60));
        assert!(answer(&long).contains(r#""exact":false"#));
    }

    #[test]
    fn errors_are_precise() {
        assert_eq!(
            answer(r#"{"operation":"divide","a":6,"b":0.0}"#),
            r#"{"success":false,"error":"division by zero: 6 / 0.0 has no value"}"#
        );
        assert!(
            answer(r#"{"operation":"power","a":6,"b":2}"#).contains("unknown operation 'power'")
        );
        assert!(answer(r#"{"operation":"add","a":[1],"b":2}"#).contains("'a' must be a number"));
        assert!(answer(r#"{"operation":"add","a":1}"#).contains("missing field `b`"));
        assert!(answer("[]").contains("parameters do not fit"));
        assert!(answer(r#"{"operation":"multiply","a":1e308,"b":1e308}"#).contains("e616"));
        let huge = format!(r#"{{"operation":"multiply","a":{0}e300,"b":{0}e300}}"#, "9".repeat(60));
        assert!(
            answer(&huge).contains("'a' must be a number") || answer(&huge).contains("too large")
        );
    }
}
