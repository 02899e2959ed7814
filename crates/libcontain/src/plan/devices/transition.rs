//! From one policy to another while processes run under it, on v1.
//!
//! Owns what the kernel lists (`devices.list`), and the lines that lead from there to a new policy.
//!
//! Invariant: after each line everything is allowed that both policies allow, unless the default changes: so what is
//! allowed comes first, what is refused after it. The kernel has no step from one default to the other that keeps the
//! exceptions; whoever takes that way stops the processes meanwhile ([`Transition::changes_default`]).

use super::{Access, Exception, Kind, Policy, is_whole};

/// Lines to write, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transition {
    /// File and value.
    pub lines: Vec<(&'static str, String)>,
    /// For a while things are refused, or allowed, that neither policy refuses, or allows.
    pub changes_default: bool,
}

impl Policy {
    /// What `devices.list` says. It has no word for the exceptions of a cgroup that allows by default: `None` then.
    #[must_use]
    pub fn listed(list: &str) -> Option<Policy> {
        let exceptions: Option<Vec<Exception>> = list.lines().map(exception).collect();
        Some(Policy { allow: false, exceptions: exceptions? })
    }

    /// Everything is allowed, in a form that does not need another default.
    #[must_use]
    pub fn wildcards() -> Policy {
        let whole = |kind| Exception { kind, major: None, minor: None, access: Access::ALL };
        Policy { allow: false, exceptions: vec![whole(Kind::Char), whole(Kind::Block)] }
    }

    /// Whether everything is allowed.
    #[must_use]
    pub fn allows_all(&self) -> bool {
        let whole = |e: &&Exception| is_whole(e) && e.access == Access::ALL;
        if self.allow { self.exceptions.is_empty() } else { self.exceptions.iter().filter(whole).count() == 2 }
    }

    /// Whether both have the same default and exceptions, in any order.
    #[must_use]
    pub fn is_same(&self, other: &Policy) -> bool {
        self.allow == other.allow && self.beyond(other).is_empty() && other.beyond(self).is_empty()
    }

    /// Whether something is allowed that the other refuses. (Of an other that allows by default, what it refuses counts only
    /// if this one does as well.)
    #[must_use]
    pub fn loses_with(&self, to: &Policy) -> bool {
        match (self.allow, to.allow) {
            (true, true) => !to.beyond(self).is_empty(),
            (true, false) => !to.allows_all(),
            (false, true) => false,
            (false, false) => {
                let wild = |e: &Exception| {
                    to.exceptions.iter().any(|o| o.takes_in(e) && e.access.without(o.access).is_empty())
                };
                self.beyond(to).iter().any(|e| !wild(e))
            }
        }
    }

    /// The way to another policy.
    #[must_use]
    pub fn transition(&self, to: &Policy) -> Transition {
        if self.allow != to.allow {
            return Transition { lines: to.lines(), changes_default: true };
        }
        let written = |file, list: Vec<Exception>| list.into_iter().map(move |e| (file, e.to_string()));
        let (gone, new) = (self.beyond(to), to.beyond(self));
        let (allowed, denied) = if self.allow { (gone, new) } else { (new, gone) };
        let lines = written("devices.allow", allowed).chain(written("devices.deny", denied)).collect();
        Transition { lines, changes_default: false }
    }

    /// The exceptions, or the part of their access, that the other has not got for the same numbers.
    fn beyond(&self, other: &Policy) -> Vec<Exception> {
        let rest = |e: &Exception| {
            let there = other.exceptions.iter().find(|o| o.same_device(e)).map_or(Access(0), |o| o.access);
            Exception { access: e.access.without(there), ..*e }
        };
        self.exceptions.iter().map(rest).filter(|e| !e.access.is_empty()).collect()
    }
}

/// A line of `devices.list`.
fn exception(line: &str) -> Option<Exception> {
    let mut words = line.split_whitespace();
    let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
    let kind = match kind {
        "b" => Kind::Block,
        "c" => Kind::Char,
        _ => return None,
    };
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    Some(Exception { kind, major: number(major)?, minor: number(minor)?, access: Access::parse(access)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::devices::tests::{any_policy, reference, simulated};

    #[test]
    fn lists_are_read() {
        let list = "c 1:3 rwm\nb *:* m\nc 136:* rw";
        let policy = Policy::listed(list).unwrap();
        let lines: Vec<String> = policy.exceptions.iter().map(ToString::to_string).collect();
        assert_eq!((policy.allow, lines.join("\n")), (false, list.to_owned()));
        assert_eq!(Policy::listed("").unwrap(), Policy::default());
        for other in ["a *:* rwm", "c 1:3", "c 1 rwm", "x 1:3 rwm"] {
            assert_eq!(Policy::listed(other), None, "{other}");
        }
    }

    #[test]
    fn losses() {
        let listed = |list| Policy::listed(list).unwrap();
        let all_but = |list| Policy { allow: true, ..listed(list) };
        for (from, to, loses) in [
            (listed("c 1:3 rw"), listed("c 1:3 rwm\nc 1:5 r"), false),
            (listed("c 1:3 rw"), listed("c 1:3 r"), true),
            (listed("c 1:3 rw"), listed("c 1:* rwm"), false),
            (listed("c 1:3 rw"), listed("c 1:* r"), true),
            (listed("c 1:3 rw"), listed("b 1:* rw"), true),
            (listed("c 1:3 rw"), all_but(""), false),
            (all_but(""), listed("c *:* rwm"), true),
            (all_but(""), Policy::wildcards(), false),
            (all_but("c 1:3 r"), all_but("c 1:3 rw"), true),
            (all_but("c 1:3 rw"), all_but("c 1:3 r"), false),
        ] {
            assert_eq!(from.loses_with(&to), loses, "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_allowed_comes_first() {
        let from = Policy::listed("c 1:3 rwm\nc 1:5 rw\nc 10:* rwm").unwrap();
        let to = Policy::listed("c 10:200 rwm\nc 1:3 rw\nc 1:5 rwm").unwrap();
        let lines = [
            ("devices.allow", "c 10:200 rwm"),
            ("devices.allow", "c 1:5 m"),
            ("devices.deny", "c 1:3 m"),
            ("devices.deny", "c 10:* rwm"),
        ];
        let expected = lines.map(|(file, value)| (file, value.to_owned()));
        assert_eq!(from.transition(&to), Transition { lines: expected.to_vec(), changes_default: false });
        assert_eq!(from.transition(&from), Transition::default());
        let allow = Policy { allow: true, exceptions: to.exceptions.clone() };
        let back = allow.transition(&Policy { allow: true, exceptions: from.exceptions.clone() });
        assert_eq!(back.lines[0], ("devices.allow", "c 10:200 rwm".to_owned()));
        assert_eq!(back.lines[3], ("devices.deny", "c 10:* rwm".to_owned()));
        let transition = from.transition(&allow);
        assert!(transition.changes_default && transition.lines[0] == ("devices.allow", "a".to_owned()));
    }

    proptest! {
        /// At each step a request that both policies allow is allowed, and at the end the new policy holds.
        #[test]
        fn no_step_refuses_what_both_allow(
            from in any_policy(), to in any_policy(), kind in prop_oneof![Just(Kind::Block), Just(Kind::Char)],
            major in 0..3u32, minor in 0..3u32, access in 1..8u8,
        ) {
            let transition = from.transition(&to);
            let access = Access(access);
            let says = |p: &Policy| reference(p, kind, major, minor, access);
            let mut now = from.clone();
            for (file, value) in &transition.lines {
                now = simulated(&now, file, value);
                if !transition.changes_default && says(&from) && says(&to) {
                    prop_assert!(says(&now), "{now:?}");
                }
            }
            prop_assert!(now.is_same(&to), "{now:?} {to:?}");
        }
    }
}
