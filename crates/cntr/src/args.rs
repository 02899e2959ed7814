//! The argument grammar of Go's `flag` package as runc's callers use it.
//!
//! Owns what a flag and a command *are* ([`Flag`], [`Command`]) and how argv becomes [`Parsed`]; the table itself is
//! `commands.rs`, its printed form `help.rs`. clap is not used: its grammar (combined short flags, long names with
//! two dashes only, its own texts and streams for usage errors) is the opposite of what callers send and grep for
//! in nearly every point, a normaliser in front would need the same table a second time, and building its command
//! tree costs more than the rest of the start-up. Values stay `OsString`: paths need not be UTF-8.
//! Must not enter: anything that acts; a parse has no effect.

use crate::{Verb, duration};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing, or `=true`, `=false` and Go's other spellings.
    Bool,
    /// One value; the last one given counts.
    Value,
    /// One value each time it is given; a comma separates nothing.
    List,
    /// One integer; the last one given counts.
    Int,
    /// One integer each time it is given.
    Ints,
    /// One duration in Go's notation; the last one given counts.
    Duration,
}

/// One row of a flag table.
#[derive(Debug)]
pub struct Flag {
    pub long: &'static str,
    /// Empty for none.
    pub short: &'static str,
    pub takes: Takes,
    /// Empty for flags that are accepted and not shown.
    pub help: &'static str,
}

/// How many positional arguments a command wants.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    pub min: usize,
    pub max: usize,
}

/// One row of the command table.
pub struct Command {
    pub name: &'static str,
    pub about: &'static str,
    /// What follows the flags in the usage line.
    pub operands: &'static str,
    /// A paragraph of help.
    pub text: &'static str,
    pub flags: &'static [Flag],
    pub count: Count,
    /// Whether flags are still looked for behind the first positional argument.
    pub interleaved: bool,
    pub run: Verb,
}

/// The flags and positional arguments of one command, or the global flags.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Long names and values, in the order given.
    flags: Vec<(&'static str, OsString)>,
    pub operands: Vec<OsString>,
    /// `-h` was given somewhere.
    pub help: bool,
}

/// Something in argv that the table does not allow; the text is what Go's `flag` package says.
#[derive(Debug, PartialEq, Eq)]
pub struct Misuse(pub String);

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

impl Parsed {
    /// Whether a [`Takes::Bool`] flag is on.
    pub fn is_set(&self, long: &str) -> bool {
        self.value(long).is_some_and(|v| boolean(v) == Some(true))
    }

    /// The last value of a flag.
    pub fn value(&self, long: &str) -> Option<&OsStr> {
        self.flags.iter().rev().find(|(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// The last value of a flag, where it is not empty: for paths and names an empty value means "not given".
    pub fn given(&self, long: &str) -> Option<&OsStr> {
        self.value(long).filter(|v| !v.is_empty())
    }

    /// All values of a flag that may be given more than once, in the order given.
    pub fn values(&self, long: &str) -> impl Iterator<Item = &OsStr> {
        self.flags.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// A positional argument; empty where there is none.
    pub fn operand(&self, index: usize) -> &OsStr {
        self.operands.get(index).map_or(OsStr::new(""), OsString::as_os_str)
    }
}

/// Reads flags (and positional arguments, if `interleaved`) from `argv`.
///
/// Not interleaved, everything from the first positional argument on is an operand, whatever it looks like.
pub fn parse(argv: &[OsString], flags: &'static [Flag], interleaved: bool) -> Result<Parsed, Misuse> {
    let mut parsed = Parsed::default();
    let mut rest = argv.iter();
    while let Some(arg) = rest.next() {
        let Some(word) = flag_word(arg) else {
            parsed.operands.push(arg.clone());
            if interleaved {
                continue;
            }
            break;
        };
        if word.is_empty() {
            break;
        }
        let (name, attached) = split(word);
        let flag = find(flags, name)?;
        let value = match attached {
            Some(value) => value.to_owned(),
            None if matches!(flag, Found::Help) || flag.takes() == Takes::Bool => OsString::from("true"),
            None => rest.next().cloned().ok_or_else(|| Misuse(format!("flag needs an argument: -{}", text(name))))?,
        };
        flag.store(&mut parsed, name, value)?;
    }
    parsed.operands.extend(rest.cloned());
    Ok(parsed)
}

/// What stands behind the dashes of a flag; empty for the `--` that ends flags; `None` for anything else.
/// A single `-` is an operand: it stands for standard input.
fn flag_word(arg: &OsStr) -> Option<&OsStr> {
    let bytes = arg.as_bytes();
    let word = match bytes.strip_prefix(b"--") {
        Some(word) => word,
        None => bytes.strip_prefix(b"-").filter(|word| !word.is_empty())?,
    };
    Some(OsStr::from_bytes(word))
}

fn split(word: &OsStr) -> (&OsStr, Option<&OsStr>) {
    let mut parts = word.as_bytes().splitn(2, |&b| b == b'=').map(OsStr::from_bytes);
    (parts.next().unwrap_or_default(), parts.next())
}

enum Found {
    Help,
    Flag(&'static Flag),
}

fn find(flags: &'static [Flag], name: &OsStr) -> Result<Found, Misuse> {
    if name == "help" || name == "h" {
        return Ok(Found::Help);
    }
    let known = flags.iter().find(|f| name == f.long || (!f.short.is_empty() && name == f.short));
    known.map(Found::Flag).ok_or_else(|| Misuse(format!("flag provided but not defined: -{}", text(name))))
}

impl Found {
    fn takes(&self) -> Takes {
        match self {
            Found::Help => Takes::Bool,
            Found::Flag(flag) => flag.takes,
        }
    }

    fn store(&self, parsed: &mut Parsed, name: &OsStr, value: OsString) -> Result<(), Misuse> {
        if self.takes() == Takes::Bool && boolean(&value).is_none() {
            return Err(Misuse(format!("invalid boolean value {:?} for -{}: parse error", text(&value), text(name))));
        }
        let is_wrong = match self.takes() {
            Takes::Int | Takes::Ints => text(&value).parse::<i64>().is_err(),
            Takes::Duration => duration::parse(&text(&value)).is_none(),
            Takes::Bool | Takes::Value | Takes::List => false,
        };
        if is_wrong {
            return Err(Misuse(format!("invalid value {:?} for flag -{}: parse error", text(&value), text(name))));
        }
        match self {
            Found::Help => parsed.help = boolean(&value) == Some(true),
            Found::Flag(flag) => parsed.flags.push((flag.long, value)),
        }
        Ok(())
    }
}

/// Go's `strconv.ParseBool`.
pub fn boolean(value: &OsStr) -> Option<bool> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some(true),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some(false),
        _ => None,
    }
}

fn text(s: &OsStr) -> std::borrow::Cow<'_, str> {
    s.to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag { long: "bundle", short: "b", takes: Takes::Value, help: "" },
        Flag { long: "detach", short: "d", takes: Takes::Bool, help: "" },
        Flag { long: "env", short: "e", takes: Takes::List, help: "" },
        Flag { long: "quota", short: "", takes: Takes::Int, help: "" },
        Flag { long: "every", short: "", takes: Takes::Duration, help: "" },
        Flag { long: "group", short: "g", takes: Takes::Ints, help: "" },
    ];

    fn run(line: &str, interleaved: bool) -> Result<Parsed, Misuse> {
        let argv: Vec<OsString> = line.split(' ').filter(|w| !w.is_empty()).map(OsString::from).collect();
        parse(&argv, FLAGS, interleaved)
    }

    /// `flags | operands`, for comparing.
    fn shape(line: &str, interleaved: bool) -> String {
        match run(line, interleaved) {
            Ok(p) => {
                let flags: Vec<String> = p.flags.iter().map(|(n, v)| format!("{n}={}", v.display())).collect();
                let operands: Vec<String> = p.operands.iter().map(|o| o.display().to_string()).collect();
                format!("{}|{}", flags.join(" "), operands.join(" "))
            }
            Err(Misuse(text)) => text,
        }
    }

    #[test]
    fn grammar() {
        for (line, interleaved, expected) in [
            ("-b x c", true, "bundle=x|c"),
            ("--b x c", true, "bundle=x|c"),
            ("-bundle x c", true, "bundle=x|c"),
            ("--bundle=x=y c", true, "bundle=x=y|c"),
            ("-b= c", true, "bundle=|c"),
            ("-b --detach c", true, "bundle=--detach|c"),
            ("c --bundle x", true, "bundle=x|c"),
            ("c --bundle x", false, "|c --bundle x"),
            ("-d c -9", false, "detach=true|c -9"),
            ("c -9", true, "flag provided but not defined: -9"),
            ("-d c -- -b", true, "detach=true|c -b"),
            ("-- -b", false, "|-b"),
            ("c -", true, "|c -"),
            ("-d=0 -detach=T", true, "detach=0 detach=T|"),
            ("-d=no", true, "invalid boolean value \"no\" for -d: parse error"),
            ("-e a=1,b -e c", true, "env=a=1,b env=c|"),
            ("--quota -1", true, "quota=-1|"),
            ("-g 1 -g 2", true, "group=1 group=2|"),
            ("-g 1,2", true, "invalid value \"1,2\" for flag -g: parse error"),
            ("--quota=x", true, "invalid value \"x\" for flag -quota: parse error"),
            ("--every 5s", true, "every=5s|"),
            ("--every 5", true, "invalid value \"5\" for flag -every: parse error"),
            ("-bd", true, "flag provided but not defined: -bd"),
            ("--xyz=1", true, "flag provided but not defined: -xyz"),
            ("---d", true, "flag provided but not defined: --d"),
            ("c -b", true, "flag needs an argument: -b"),
        ] {
            assert_eq!(shape(line, interleaved), expected, "{line}");
        }
    }

    #[test]
    fn the_last_one_given_counts() {
        let p = run("-d -d=false -b 1 -b 2 -b=", true).unwrap();
        assert!(!p.is_set("detach"));
        assert_eq!(p.value("bundle"), Some(OsStr::new("")));
        assert_eq!(p.given("bundle"), None);
        assert_eq!(p.given("env"), None);
        assert_eq!(p.values("bundle").collect::<Vec<_>>(), ["1", "2", ""]);
    }

    #[test]
    fn help_is_a_flag_of_every_command() {
        for (line, expected) in [("-h", true), ("c --help", true), ("-help=1", true), ("-h=false", false)] {
            assert_eq!(run(line, true).unwrap().help, expected, "{line}");
        }
        assert!(!run("c -h", false).unwrap().help);
    }
}
