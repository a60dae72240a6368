//! The rows that a bench run makes, as the guest prints them and as files keep them.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize, Serializer};

use crate::budgets;

/// What begins a row on the guest's output; the rest of the line is JSON.
const MARK: &str = "bench-row: ";

/// One case: its spread in the unit that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The case.
    pub(crate) name: String,
    /// Instructions, bytes, or what else is counted.
    pub(crate) unit: String,
    /// The least sample.
    #[serde(serialize_with = "short")]
    pub(crate) min: f64,
    /// The middle sample: the figure that budgets judge.
    #[serde(serialize_with = "short")]
    pub(crate) median: f64,
    /// The sample that one in a hundred exceeds.
    #[serde(serialize_with = "short")]
    pub(crate) p99: f64,
    /// The bound, filled in on the host.
    #[serde(default, serialize_with = "short_option")]
    pub(crate) must: Option<f64>,
    /// The goal, filled in on the host.
    #[serde(default, serialize_with = "short_option")]
    pub(crate) aim: Option<f64>,
}

/// A file of rows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rows {
    /// The rows, in the order in which they were measured.
    pub(crate) rows: Vec<Row>,
}

impl Row {
    /// Reads a line of the guest: nothing if it is no row, an error if it is a broken one.
    pub(crate) fn of_line(line: &str) -> Result<Option<Row>> {
        let Some(text) = line.trim_end().strip_prefix(MARK) else { return Ok(None) };
        let mut row: Row =
            serde_json::from_str(text).with_context(|| format!("the guest printed a broken row: {text}"))?;
        let budget = budgets::of(&row.name);
        row.must = budget.map(|budget| budget.must);
        row.aim = budget.map(|budget| budget.aim);
        Ok(Some(row))
    }
}

impl Rows {
    /// Reads a file that `--json` wrote.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is no file of `bench --json`", path.display()))
    }

    /// Writes the file for `--json`.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The row of a case.
    pub(crate) fn get(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// Whole numbers are written without a fraction.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn short<S: Serializer>(number: &f64, to: S) -> Result<S::Ok, S::Error> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        to.serialize_i64(*number as i64)
    } else {
        to.serialize_f64(*number)
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
fn short_option<S: Serializer>(number: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => short(number, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"bench-row: {"name":"nop.1","unit":"instructions","min":120,"median":121.5,"p99":130}"#;

    #[test]
    fn a_row_gets_its_budget_and_comes_back_from_json() {
        let row = Row::of_line(LINE).unwrap().unwrap();
        assert_eq!((row.median, row.must, row.aim), (121.5, Some(125.0), Some(110.0)));
        let text = serde_json::to_string(&Rows { rows: vec![row.clone()] }).unwrap();
        let expected = r#"{"rows":[{"name":"nop.1","unit":"instructions","min":120,"median":121.5,"p99":130,"must":125,"aim":110}]}"#;
        assert_eq!(text, expected);
        let back: Rows = serde_json::from_str(&text).unwrap();
        assert_eq!(back.get("nop.1"), Some(&row));
    }

    #[test]
    fn a_row_without_a_budget_has_none() {
        let row = Row::of_line(&LINE.replace("nop.1", "other")).unwrap().unwrap();
        assert_eq!((row.must, row.aim), (None, None));
    }

    #[test]
    fn a_broken_row_is_an_error_and_another_line_is_none() {
        assert!(Row::of_line("bench-row: {").is_err());
        assert_eq!(Row::of_line("hello").unwrap(), None);
    }
}
