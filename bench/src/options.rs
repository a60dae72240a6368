//! What `bench` is asked on its command line.

use alloc::string::String;
use alloc::vec::Vec;

/// The options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Only these cases or rows; all if empty.
    pub cases: Vec<String>,
    /// Only say what there is.
    pub list: bool,
    /// Fewer samples, and no case that takes minutes.
    pub quick: bool,
    /// Say more than the rows: what a figure is made of, and how long the kernel's longest step was in each case.
    pub verbose: bool,
}

/// What is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong(pub String);

impl Options {
    /// Reads the words behind the program's name.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Options, Wrong> {
        let mut options = Options::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            match word {
                "--case" => match words.next() {
                    Some(name) => options.cases.push(name.into()),
                    None => return Err(Wrong("--case: of which name?".into())),
                },
                "--list" => options.list = true,
                "--quick" => options.quick = true,
                "--verbose" => options.verbose = true,
                other => {
                    return Err(Wrong(
                        [other, ": usage: bench [--case NAME]... [--list] [--quick] [--verbose]"].concat(),
                    ));
                }
            }
        }
        Ok(options)
    }

    /// Whether a case of this name with these rows is wanted.
    pub fn wants(&self, name: &str, rows: &[&str]) -> bool {
        self.cases.is_empty() || self.cases.iter().any(|case| case == name || rows.contains(&case.as_str()))
    }

    /// Names that are none of the given ones.
    pub fn unknown<'a>(&'a self, known: impl Fn(&str) -> bool + 'a) -> impl Iterator<Item = &'a str> {
        self.cases.iter().map(String::as_str).filter(move |case| !known(case))
    }
}

#[cfg(test)]
mod tests {
    use super::{Options, Wrong};

    #[test]
    fn cases_are_gathered() {
        let options = Options::parse(["--case", "nop.1", "--quick", "--case", "mem.op"]).unwrap();
        assert_eq!(options.cases, ["nop.1", "mem.op"]);
        assert!(options.quick && !options.list);
        assert!(options.wants("nop.1", &[]) && options.wants("memory", &["mem.op"]));
        assert!(!options.wants("nop.8", &["nop.8"]));
        assert_eq!(options.unknown(|case| case == "nop.1").collect::<Vec<_>>(), ["mem.op"]);
    }

    #[test]
    fn without_cases_all_are_wanted() {
        assert!(Options::parse([]).unwrap().wants("anything", &[]));
    }

    #[test]
    fn what_is_not_understood_is_said() {
        assert_eq!(Options::parse(["--case"]), Err(Wrong("--case: of which name?".into())));
        assert!(Options::parse(["-x"]).unwrap_err().0.starts_with("-x: usage"));
    }
}
