//! The table that `bench` prints: figures, budgets, peers, and the change since an earlier run.

use crate::budgets::{self, Force, Verdict};
use crate::rows::{Row, Rows};

/// Renders all rows, with the change against `before` where there is one.
pub(crate) fn render(rows: &Rows, before: Option<&Rows>) -> String {
    let mut head = vec!["case", "unit", "min", "median", "p99", "must", "aim", "budget"];
    if before.is_some() {
        head.extend(["before", "change"]);
    }
    head.push("measured elsewhere");
    let mut lines = vec![head.into_iter().map(str::to_owned).collect()];
    lines.extend(rows.rows.iter().map(|row| cells(row, before)));
    align(&lines)
}

fn cells(row: &Row, before: Option<&Rows>) -> Vec<String> {
    let budget = budgets::of(&row.name);
    let optional = |figure: Option<f64>| figure.map_or_else(|| "-".to_owned(), number);
    let mut line =
        vec![row.name.clone(), row.unit.clone(), number(row.min), number(row.median), number(row.p99)];
    line.extend([optional(row.must), optional(row.aim), verdict(row).to_owned()]);
    if let Some(before) = before {
        let old = before.get(&row.name).map(|row| row.median);
        line.push(optional(old));
        line.push(old.map_or_else(|| "new".to_owned(), |old| change(old, row.median)));
    }
    line.push(budget.map_or("", |budget| budget.peers).to_owned());
    line
}

fn verdict(row: &Row) -> &'static str {
    let Some(budget) = budgets::of(&row.name) else { return "-" };
    match (budget.judge(row.median), budget.force) {
        (Verdict::Aim, _) => "aim",
        (Verdict::Met, _) => "met",
        (Verdict::Missed, Force::Binding) => "MISSED",
        (Verdict::Missed, Force::Later) => "missed",
    }
}

/// What is missed: a line for each budget that binds, and one that names the others.
pub(crate) fn misses(rows: &Rows) -> Vec<String> {
    let missed = |row: &&Row| budgets::of(&row.name).is_some_and(|b| b.judge(row.median) == Verdict::Missed);
    let binds = |row: &&Row| budgets::of(&row.name).is_some_and(|b| b.force == Force::Binding);
    let describe = |row: &Row| {
        format!(
            "missed: {} is {}, must be {}",
            row.name,
            number(row.median),
            row.must.map_or_else(String::new, number)
        )
    };
    let mut lines: Vec<String> = rows.rows.iter().filter(missed).filter(binds).map(describe).collect();
    let later: Vec<&str> =
        rows.rows.iter().filter(missed).filter(|row| !binds(row)).map(|row| row.name.as_str()).collect();
    if !later.is_empty() {
        lines.push(format!("missed, not bound yet: {}", later.join(", ")));
    }
    lines
}

/// The budgets that bind and are missed, or were not measured at all.
pub(crate) fn gate(rows: &Rows) -> Vec<&'static str> {
    let binding = budgets::BUDGETS.iter().filter(|budget| budget.force == Force::Binding);
    let fails = |budget: &&budgets::Budget| {
        rows.get(budget.name).is_none_or(|row| budget.judge(row.median) == Verdict::Missed)
    };
    binding.filter(fails).map(|budget| budget.name).collect()
}

/// The change from one figure to another, in percent.
fn change(old: f64, new: f64) -> String {
    if old == new {
        return "=".to_owned();
    }
    if old == 0.0 {
        return "new".to_owned();
    }
    format!("{:+.1} %", (new - old) / old * 100.0)
}

/// A figure with its thousands apart, and one decimal where it has a fraction.
fn number(figure: f64) -> String {
    let rounded = (figure * 10.0).round() / 10.0;
    let whole = rounded.trunc().abs() as u64;
    let digits = whole.to_string();
    let mut text = String::from(if rounded < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if rounded.fract() != 0.0 {
        text.push_str(&format!(".{}", ((rounded.fract().abs() * 10.0).round() as u64)));
    }
    text
}

/// Pads columns; what begins with a digit stands at the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric = |column: usize| {
        lines
            .iter()
            .skip(1)
            .filter_map(|line| line.get(column))
            .any(|cell| cell.starts_with(|c: char| c.is_ascii_digit()))
    };
    let rights: Vec<bool> = (0..columns).map(|column| column > 1 && numeric(column)).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().enumerate().map(|(column, cell)| {
            let width = widths[column];
            if rights[column] { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, median: f64) -> Row {
        let line = format!(
            r#"bench-row: {{"name":"{name}","unit":"instructions","min":1,"median":{median},"p99":9}}"#
        );
        Row::of_line(&line).unwrap().unwrap()
    }

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(1234567.0), "1,234,567");
        assert_eq!(number(41.96), "42");
        assert_eq!(number(41.94), "41.9");
        assert_eq!(number(100.0), "100");
    }

    #[test]
    fn the_table_says_what_is_missed_and_what_changed() {
        let rows = Rows { rows: vec![row("nop.1", 151.0), row("msg.rtt", 901.0), row("x", 3.0)] };
        let text = render(&rows, Some(&Rows { rows: vec![row("nop.1", 302.0)] }));
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].contains("MISSED") && lines[1].contains("-50.0 %") && lines[1].contains("NOVA 57"),
            "{text}"
        );
        assert!(lines[2].contains("missed") && lines[2].contains("new"));
        assert!(lines[3].contains(" - "));
        let said = misses(&rows);
        assert_eq!(said, ["missed: nop.1 is 151, must be 125", "missed, not bound yet: msg.rtt"]);
    }

    #[test]
    fn the_gate_fails_for_a_miss_that_binds_and_for_a_row_that_is_not_there() {
        let names: Vec<&str> = budgets::BUDGETS.iter().map(|budget| budget.name).collect();
        let mut rows =
            Rows { rows: names.iter().map(|name| row(name, budgets::of(name).unwrap().must)).collect() };
        assert!(gate(&rows).is_empty());
        rows.rows.retain(|row| row.name != "mem.op" && row.name != "msg.rtt");
        rows.rows[0].median = 151.0;
        assert_eq!(gate(&rows), ["nop.1", "mem.op"]);
    }
}
