//! Where every number of a plan comes from: name, unit, formula and the inputs it was given.
//! The model writes a step for each number as it computes it; a test evaluates the formulas from
//! their inputs alone, so a formula that is shown is the one that was used.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

/// One computed number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What the number is.
    pub name: &'static str,
    /// What it belongs to where a plan has several, such as `channels of 10`; else empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// Its unit.
    pub unit: &'static str,
    /// The number.
    pub value: f64,
    /// How it follows from the inputs: `+ - * / ( )`, `min`, `max`, `ceil`, `ln`; or the one word
    /// `sum`, for all of them added up.
    pub formula: &'static str,
    /// The inputs by the names that the formula uses; those of a `sum` by what they belong to.
    pub inputs: BTreeMap<Cow<'static, str>, f64>,
}

/// The steps of one plan, in the order of computing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Ledger {
    /// All of them.
    pub steps: Vec<Step>,
    #[serde(skip)]
    scope: String,
}

impl Ledger {
    /// Names what the steps that follow belong to.
    pub fn scope(&mut self, of: String) {
        self.scope = of;
    }

    /// Writes a step down and gives its value back.
    pub fn note<const N: usize>(
        &mut self,
        (name, unit): (&'static str, &'static str),
        formula: &'static str,
        inputs: [(&'static str, f64); N],
        value: f64,
    ) -> f64 {
        let of = self.scope.clone();
        let inputs = BTreeMap::from(inputs.map(|(input, value)| (Cow::Borrowed(input), value)));
        self.steps.push(Step { name, of, unit, value, formula, inputs });
        value
    }

    /// Writes down the sum of named parts and gives it back. Parts of one name count together.
    pub fn sum(
        &mut self,
        (name, unit): (&'static str, &'static str),
        parts: impl IntoIterator<Item = (String, f64)>,
    ) -> f64 {
        let mut inputs: BTreeMap<Cow<'static, str>, f64> = BTreeMap::new();
        let mut value = 0.0;
        for (part, amount) in parts {
            *inputs.entry(Cow::Owned(part)).or_insert(0.0) += amount;
            value += amount;
        }
        let of = self.scope.clone();
        self.steps.push(Step { name, of, unit, value, formula: "sum", inputs });
        value
    }

    /// The sum of what the steps of that name say of each scope.
    pub fn sum_scopes(&mut self, names: (&'static str, &'static str)) -> f64 {
        let steps = self.steps.iter().filter(|step| step.name == names.0);
        let parts: Vec<(String, f64)> = steps.map(|step| (step.of.clone(), step.value)).collect();
        self.sum(names, parts)
    }
}

impl Step {
    /// The formula with its numbers: `a * b [a = 2, b = 3]`.
    pub fn explained(&self) -> String {
        let inputs: Vec<String> =
            self.inputs.iter().map(|(name, value)| format!("{name} = {}", short(*value))).collect();
        format!("{} [{}]", self.formula, inputs.join(", "))
    }
}

/// A number as people write it: at most four digits that count, thousands kept whole.
pub fn short(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if value == 0.0 || magnitude >= 1000.0 => 0,
        _ if magnitude >= 100.0 => 1,
        _ if magnitude >= 10.0 => 2,
        _ if magnitude >= 0.1 => 3,
        _ => 5,
    };
    let text = format!("{value:.decimals$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::from(sign);
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Evaluates a step's formula from its inputs; panics on what it does not know.
    pub(in crate::plan) fn evaluate(step: &Step) -> f64 {
        if step.formula == "sum" {
            return step.inputs.values().sum();
        }
        let mut parser = Parser { rest: step.formula, step };
        let value = parser.sum();
        assert_eq!(parser.rest.trim(), "", "the end of {:?}", step.formula);
        value
    }

    struct Parser<'a> {
        rest: &'a str,
        step: &'a Step,
    }

    impl Parser<'_> {
        fn eat(&mut self, token: char) -> bool {
            let rest = self.rest.trim_start();
            let eaten = rest.strip_prefix(token);
            self.rest = eaten.unwrap_or(rest);
            eaten.is_some()
        }

        fn sum(&mut self) -> f64 {
            let mut value = self.product();
            loop {
                if self.eat('+') {
                    value += self.product();
                } else if self.eat('-') {
                    value -= self.product();
                } else {
                    return value;
                }
            }
        }

        fn product(&mut self) -> f64 {
            let mut value = self.atom();
            loop {
                if self.eat('*') {
                    value *= self.atom();
                } else if self.eat('/') {
                    value /= self.atom();
                } else {
                    return value;
                }
            }
        }

        fn atom(&mut self) -> f64 {
            if self.eat('(') {
                let value = self.sum();
                assert!(self.eat(')'), "a ) at {:?}", self.rest);
                return value;
            }
            let end = self
                .rest
                .find(|character: char| {
                    !(character.is_ascii_alphanumeric() || "_.".contains(character))
                })
                .unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            if let Ok(number) = word.parse() {
                return number;
            }
            if !self.eat('(') {
                let input = self.step.inputs.get(word);
                return *input.unwrap_or_else(|| panic!("no input {word:?} in {:?}", self.step));
            }
            let mut arguments = vec![self.sum()];
            while self.eat(',') {
                arguments.push(self.sum());
            }
            assert!(self.eat(')'), "a ) at {:?}", self.rest);
            match word {
                "min" => arguments.into_iter().fold(f64::INFINITY, f64::min),
                "max" => arguments.into_iter().fold(f64::NEG_INFINITY, f64::max),
                "ceil" => (arguments[0] - 1e-9).ceil(),
                "ln" => arguments[0].ln(),
                _ => panic!("no function {word:?}"),
            }
        }
    }

    #[test]
    fn the_evaluator_can_be_wrong() {
        let mut ledger = Ledger::default();
        ledger.note(("x", "1"), "a + b * max(2, a) / (1 - 0.5)", [("a", 3.0), ("b", 4.0)], 27.0);
        assert!((evaluate(&ledger.steps[0]) - 27.0).abs() < 1e-9);
        ledger.note(("x", "1"), "ceil(a - 1 - 1)", [("a", 3.5)], 0.0);
        assert!((evaluate(&ledger.steps[1]) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn sums_keep_parts_of_one_name() {
        let mut ledger = Ledger::default();
        for (of, value) in [("a", 1.0), ("b", 2.0), ("a", 4.0)] {
            ledger.scope(of.into());
            ledger.note(("x", "1"), "value", [("value", value)], value);
        }
        ledger.scope(String::new());
        assert!((ledger.sum_scopes(("x", "1")) - 7.0).abs() < 1e-9);
        let sum = ledger.steps.last().expect("the sum");
        assert!((evaluate(sum) - 7.0).abs() < 1e-9);
        assert_eq!(sum.explained(), "sum [a = 5, b = 2]");
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (1_234_567.8, "1,234,568"),
            (999.96, "1,000"),
            (123.45, "123.5"),
            (12.5, "12.5"),
            (2.0, "2"),
            (0.0123, "0.0123"),
            (-1500.0, "-1,500"),
        ] {
            assert_eq!(short(value), text);
        }
    }
}
