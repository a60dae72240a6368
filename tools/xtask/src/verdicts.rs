//! Reading test results: what `cargo test` prints on the host and what `qtest` prints in the guest.

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// These did.
    pub(crate) passed: u64,
    /// These did not.
    pub(crate) failed: u64,
}

impl Counts {
    /// One test, by its result.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed) }
    }

    /// Adds another part's counts.
    pub(crate) fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Adds up the `test result:` lines of a `cargo test`.
pub(crate) fn of_cargo(text: &str) -> Counts {
    let mut sum = Counts::default();
    for line in text.lines().filter_map(|line| line.trim().strip_prefix("test result: ")) {
        sum.add(Counts { passed: before(line, " passed"), failed: before(line, " failed") });
    }
    sum
}

/// The number in front of a word.
fn before(line: &str, word: &str) -> u64 {
    let number = line.split(word).next().and_then(|head| head.split_whitespace().next_back());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// A line of the guest's test program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A test that passed.
    Passed(String),
    /// A test that failed, and why.
    Failed(String, String),
    /// The end, with the program's own count.
    Done(Counts),
}

impl Line {
    /// Reads a line; other output is `None`.
    pub(crate) fn of(line: &str) -> Option<Line> {
        let text = line.trim_end().strip_prefix("qtest: ")?;
        if let Some(counts) = text.strip_prefix("done ") {
            return Some(Line::Done(Counts {
                passed: field(counts, "passed=")?,
                failed: field(counts, "failed=")?,
            }));
        }
        let (name, rest) = text.split_once(' ')?;
        if rest == "ok" {
            return Some(Line::Passed(name.to_owned()));
        }
        let reason = rest.strip_prefix("FAILED")?;
        Some(Line::Failed(name.to_owned(), reason.trim().to_owned()))
    }
}

fn field(text: &str, key: &str) -> Option<u64> {
    text.split_whitespace().find_map(|word| word.strip_prefix(key))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_test_binaries_are_added_up() {
        let text = "test a ... ok\ntest result: ok. 3 passed; 0 failed; 1 ignored\n\n\
                    test result: FAILED. 2 passed; 11 failed; 0 ignored";
        assert_eq!(of_cargo(text), Counts { passed: 5, failed: 11 });
        assert_eq!(of_cargo("nothing"), Counts::default());
    }

    #[test]
    fn lines_of_the_guest_are_read_and_others_are_not() {
        assert_eq!(Line::of("qtest: a_b ok\r"), Some(Line::Passed("a_b".into())));
        assert_eq!(Line::of("qtest: a FAILED 1 != 2"), Some(Line::Failed("a".into(), "1 != 2".into())));
        assert_eq!(
            Line::of("qtest: done passed=4 failed=1"),
            Some(Line::Done(Counts { passed: 4, failed: 1 }))
        );
        assert_eq!(Line::of("qtest: done passed=4"), None);
        assert_eq!(Line::of("qtest: a running"), None);
        assert_eq!(Line::of("hello"), None);
    }
}
