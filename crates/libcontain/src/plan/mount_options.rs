//! What the words in `mounts[].options` mean: one table, used for planning and for `features`.
//!
//! The words are mount(8)'s as runc takes them (contract 4.2), split by who acts on them: attributes of the
//! mount (`mount_setattr`), flags of the superblock (mount(2)), propagation, and data for
//! the file system. A later word overrides an earlier one; what was *cleared* is remembered as well, because a
//! bind with any attribute set or cleared gets exactly the requested ones. A word that is not in the table is
//! data, as the kernel alone can tell what a file system takes. Pure: no I/O, no panic, no errors.

use super::libc_flag::{
    MS_DIRSYNC, MS_LAZYTIME, MS_MANDLOCK, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_SYNCHRONOUS, MS_UNBINDABLE,
};

/// `MOUNT_ATTR_*` of mount_setattr(2), as `linux/mount.h` has them.
pub mod attr {
    /// Read-only mount.
    pub const RDONLY: u64 = 0x1;
    /// Set-user-ID bits are ignored.
    pub const NOSUID: u64 = 0x2;
    /// Device nodes cannot be opened.
    pub const NODEV: u64 = 0x4;
    /// Programs cannot be executed.
    pub const NOEXEC: u64 = 0x8;
    /// The field, not a flag, that holds how access times are kept; 0 in it is `relatime`. Whoever changes it
    /// has to clear all of it.
    pub const ATIME: u64 = 0x70;
    /// Value of [`ATIME`]: access times are not kept.
    pub const NOATIME: u64 = 0x10;
    /// Value of [`ATIME`]: access times are always kept.
    pub const STRICTATIME: u64 = 0x20;
    /// Access times of directories are not kept.
    pub const NODIRATIME: u64 = 0x80;
    /// Symlinks are not followed; Linux 5.14.
    pub const NOSYMFOLLOW: u64 = 0x20_0000;
}

/// The options of one mount, sorted by who acts on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `bind` or `rbind` was given: the type does not count.
    pub bind: bool,
    /// `rbind` was given.
    pub recursive: bool,
    /// `remount` was given.
    pub remount: bool,
    /// Mount attributes to set ([`attr`]).
    pub set: u64,
    /// Mount attributes that were cleared explicitly; all of [`attr::ATIME`] as soon as one word chose a value of it.
    pub clear: u64,
    /// A word was a flag of the mount, if only one taken back: a bind then gets exactly the flags that are asked for.
    pub exact: bool,
    /// As `set`, of the mount and of all below it (`rro`, `rnodev` ...); after `set` and `clear`.
    pub tree_set: u64,
    /// As `clear`, likewise.
    pub tree_clear: u64,
    /// Flags of mount(2) that are about the superblock of a new file system.
    pub sb_flags: u64,
    /// Propagation types of mount(2), each to be set on its own and in this order.
    pub propagation: Vec<u64>,
    /// Parameters for the file system: name and value.
    pub data: Vec<(String, Option<String>)>,
    /// `idmap` (false) or `ridmap` (true) was given: translate ids, of the mounts below as well.
    pub idmap: Option<bool>,
    /// `tmpcopyup` was given: fill the new file system with what the mountpoint holds.
    pub copy_up: bool,
}

impl Options {
    /// The parameters for the file system as mount(2) takes them.
    #[must_use]
    pub fn data_text(&self) -> String {
        let word = |(key, value): &(String, Option<String>)| match value {
            Some(value) => format!("{key}={value}"),
            None => key.clone(),
        };
        self.data.iter().map(word).collect::<Vec<_>>().join(",")
    }

    /// The same for a mount that is there, as mount(2) remounts one: the flags about access times stay as they are, or, once
    /// one is chosen, all are replaced. To take one back (`atime`, `diratime`) chooses nothing; `nodiratime` alone comes with
    /// `relatime`. (mount(8) and runc have it so, and warn of it in their tests.)
    #[must_use]
    pub fn of_bind(self) -> Self {
        let times = attr::ATIME | attr::NODIRATIME;
        let chosen = self.clear & attr::ATIME != 0 || self.set & attr::NODIRATIME != 0;
        let clear = if chosen { attr::ATIME | attr::NODIRATIME & !self.set } else { 0 };
        Self { clear: self.clear & !times | clear, ..self }
    }

    /// The same for a mount with nothing below it, where the words for the whole tree are words for the mount.
    #[must_use]
    pub fn of_one_mount(self) -> Self {
        Self {
            set: self.set & !self.tree_clear | self.tree_set,
            clear: self.clear & !self.tree_set | self.tree_clear,
            tree_set: 0,
            tree_clear: 0,
            ..self
        }
    }
}

/// A change of mount attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Sets them.
    Set(u64),
    /// Clears them.
    Clear(u64),
    /// Sets the [`attr::ATIME`] field to a value.
    Atime(u64),
    /// Takes back that value: what is there stays, or, in a whole tree, `relatime` comes.
    NoAtime(u64),
}

/// What a word does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Changes the mount.
    Own(Change),
    /// Changes it and every mount below it that comes with it.
    Tree(Change),
    /// Sets a flag of the superblock.
    Sb(u64),
    /// Takes it back.
    NoSb(u64),
    Bind,
    BindAll,
    Remount,
    Propagation(u64),
    /// Accepted, and without effect: `defaults`; `silent` and `loud`, which are about mount(2)'s kernel log;
    /// `iversion`, which the file systems that have it decide for themselves.
    Nothing,
    Idmap(bool),
    CopyUp,
}

use Change::{Atime, Clear, NoAtime, Set};
use Effect::{Bind, BindAll, CopyUp, Idmap, NoSb, Nothing, Own, Propagation, Remount, Sb, Tree};

/// Every word, sorted.
const WORDS: &[(&str, Effect)] = &[
    ("async", NoSb(MS_SYNCHRONOUS)),
    ("atime", Own(NoAtime(attr::NOATIME))),
    ("bind", Bind),
    ("defaults", Nothing),
    ("dev", Own(Clear(attr::NODEV))),
    ("diratime", Own(Clear(attr::NODIRATIME))),
    ("dirsync", Sb(MS_DIRSYNC)),
    ("exec", Own(Clear(attr::NOEXEC))),
    ("idmap", Idmap(false)),
    ("iversion", Nothing),
    ("lazytime", Sb(MS_LAZYTIME)),
    ("loud", Nothing),
    ("mand", Sb(MS_MANDLOCK)),
    ("noatime", Own(Atime(attr::NOATIME))),
    ("nodev", Own(Set(attr::NODEV))),
    ("nodiratime", Own(Set(attr::NODIRATIME))),
    ("noexec", Own(Set(attr::NOEXEC))),
    ("noiversion", Nothing),
    ("nolazytime", NoSb(MS_LAZYTIME)),
    ("nomand", NoSb(MS_MANDLOCK)),
    ("norelatime", Own(NoAtime(0))),
    ("nostrictatime", Own(NoAtime(attr::STRICTATIME))),
    ("nosuid", Own(Set(attr::NOSUID))),
    ("nosymfollow", Own(Set(attr::NOSYMFOLLOW))),
    ("private", Propagation(MS_PRIVATE)),
    ("ratime", Tree(NoAtime(attr::NOATIME))),
    ("rbind", BindAll),
    ("rdev", Tree(Clear(attr::NODEV))),
    ("rdiratime", Tree(Clear(attr::NODIRATIME))),
    ("relatime", Own(Atime(0))),
    ("remount", Remount),
    ("rexec", Tree(Clear(attr::NOEXEC))),
    ("ridmap", Idmap(true)),
    ("rnoatime", Tree(Atime(attr::NOATIME))),
    ("rnodev", Tree(Set(attr::NODEV))),
    ("rnodiratime", Tree(Set(attr::NODIRATIME))),
    ("rnoexec", Tree(Set(attr::NOEXEC))),
    ("rnorelatime", Tree(NoAtime(0))),
    ("rnostrictatime", Tree(NoAtime(attr::STRICTATIME))),
    ("rnosuid", Tree(Set(attr::NOSUID))),
    ("rnosymfollow", Tree(Set(attr::NOSYMFOLLOW))),
    ("ro", Own(Set(attr::RDONLY))),
    ("rprivate", Propagation(MS_PRIVATE | MS_REC)),
    ("rrelatime", Tree(Atime(0))),
    ("rro", Tree(Set(attr::RDONLY))),
    ("rrw", Tree(Clear(attr::RDONLY))),
    ("rshared", Propagation(MS_SHARED | MS_REC)),
    ("rslave", Propagation(MS_SLAVE | MS_REC)),
    ("rstrictatime", Tree(Atime(attr::STRICTATIME))),
    ("rsuid", Tree(Clear(attr::NOSUID))),
    ("rsymfollow", Tree(Clear(attr::NOSYMFOLLOW))),
    ("runbindable", Propagation(MS_UNBINDABLE | MS_REC)),
    ("rw", Own(Clear(attr::RDONLY))),
    ("shared", Propagation(MS_SHARED)),
    ("silent", Nothing),
    ("slave", Propagation(MS_SLAVE)),
    ("strictatime", Own(Atime(attr::STRICTATIME))),
    ("suid", Own(Clear(attr::NOSUID))),
    ("symfollow", Own(Clear(attr::NOSYMFOLLOW))),
    ("sync", Sb(MS_SYNCHRONOUS)),
    ("tmpcopyup", CopyUp),
    ("unbindable", Propagation(MS_UNBINDABLE)),
];

/// Sorts the options of one mount.
#[must_use]
pub fn parse(options: &[String]) -> Options {
    let mut out = Options::default();
    for option in options {
        match WORDS.binary_search_by(|(word, _)| (*word).cmp(option)) {
            Ok(row) => {
                if let Some((_, effect)) = WORDS.get(row) {
                    apply(&mut out, *effect);
                }
            }
            Err(_) => data(option, &mut out.data),
        }
    }
    out
}

/// All words, sorted.
pub fn known_words() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(word, _)| *word)
}

fn apply(out: &mut Options, effect: Effect) {
    match effect {
        Own(change) => {
            out.exact = true;
            match change {
                NoAtime(value) if out.set & attr::ATIME == value => {
                    (out.set, out.clear) = (out.set & !attr::ATIME, out.clear & !attr::ATIME);
                }
                NoAtime(_) => {}
                change => attributes(&mut out.set, &mut out.clear, change),
            }
        }
        Tree(change) => attributes(&mut out.tree_set, &mut out.tree_clear, change),
        Sb(flag) => out.sb_flags |= flag,
        NoSb(flag) => out.sb_flags &= !flag,
        Bind => out.bind = true,
        BindAll => (out.bind, out.recursive) = (true, true),
        Remount => out.remount = true,
        Propagation(kind) => out.propagation.push(kind),
        Nothing => {}
        Idmap(recursive) => out.idmap = Some(recursive),
        CopyUp => out.copy_up = true,
    }
}

/// Keeps both lists without a bit in common, except for [`attr::ATIME`], which is cleared to be set.
fn attributes(set: &mut u64, clear: &mut u64, change: Change) {
    let kept = *set & attr::ATIME;
    let (on, off) = match change {
        Set(bits) => (bits, 0),
        Clear(bits) => (0, bits),
        Atime(value) => (value, attr::ATIME),
        NoAtime(value) => (if kept == value { 0 } else { kept }, attr::ATIME),
    };
    *set = *set & !off | on;
    *clear = *clear & !on | off;
}

/// Parameters for the file system. mount(2) takes them joined with commas, so one option may hold several;
/// commas in double quotes (an SELinux context) or after a backslash (a path of overlayfs) separate nothing.
fn data(option: &str, out: &mut Vec<(String, Option<String>)>) {
    let (mut quoted, mut escaped) = (false, false);
    let separates = |c: char| {
        let plain = !escaped;
        escaped = plain && c == '\\';
        quoted ^= plain && c == '"';
        plain && !quoted && c == ','
    };
    for part in option.split(separates).filter(|part| !part.is_empty()) {
        out.push(match part.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (part.to_owned(), None),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &str) -> Options {
        parse(&options.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_table_is_sorted_and_complete() {
        let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
        assert!(words.is_sorted_by(|a, b| a < b), "{words:?}");
        // contract 4.2, list by list.
        let flags = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
                     nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow rbind \
                     relatime remount ro rw silent strictatime suid symfollow sync";
        let propagation = "shared slave private unbindable rshared rslave rprivate runbindable";
        let tree = "rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rdiratime rnodiratime rrelatime rnorelatime \
                     ratime rnoatime rstrictatime rnostrictatime rsymfollow rnosymfollow";
        let extensions = "tmpcopyup idmap ridmap";
        let count = |list: &str| list.split(' ').count();
        assert_eq!(words.len(), count(flags) + count(propagation) + count(tree) + count(extensions));
        for word in [flags, propagation, tree, extensions].iter().flat_map(|list| list.split(' ')) {
            assert!(of(word).data.is_empty(), "{word}");
            assert!(known_words().any(|w| w == word), "{word}");
        }
    }

    #[test]
    fn each_word_does_what_its_row_says() {
        let exact = || Options { exact: true, ..Options::default() };
        let set = |bits| Options { set: bits, ..exact() };
        let clear = |bits| Options { clear: bits, ..exact() };
        let sb = |sb_flags| Options { sb_flags, ..Options::default() };
        let propagation = |kind| Options { propagation: vec![kind], ..Options::default() };
        let table = [
            ("", Options::default()),
            ("async defaults iversion loud noiversion nolazytime nomand silent", Options::default()),
            ("atime norelatime nostrictatime", exact()),
            ("bind", Options { bind: true, ..Options::default() }),
            ("dev", clear(4)),
            ("diratime", clear(0x80)),
            ("dirsync", sb(MS_DIRSYNC)),
            ("exec", clear(8)),
            ("idmap", Options { idmap: Some(false), ..Options::default() }),
            ("idmap ridmap", Options { idmap: Some(true), ..Options::default() }),
            ("lazytime", sb(MS_LAZYTIME)),
            ("mand", sb(MS_MANDLOCK)),
            ("noatime", Options { set: 0x10, clear: 0x70, ..exact() }),
            ("nodev", set(4)),
            ("nodiratime", set(0x80)),
            ("noexec", set(8)),
            ("nosuid", set(2)),
            ("nosymfollow", set(0x20_0000)),
            ("private", propagation(1 << 18)),
            ("rbind", Options { bind: true, recursive: true, ..Options::default() }),
            ("relatime", clear(0x70)),
            ("remount", Options { remount: true, ..Options::default() }),
            ("ro", set(1)),
            ("rprivate", propagation(1 << 18 | 1 << 14)),
            ("rshared", propagation(1 << 20 | 1 << 14)),
            ("rslave", propagation(1 << 19 | 1 << 14)),
            ("runbindable", propagation(1 << 17 | 1 << 14)),
            ("rw", clear(1)),
            ("shared", propagation(1 << 20)),
            ("slave", propagation(1 << 19)),
            ("strictatime", Options { set: 0x20, clear: 0x70, ..exact() }),
            ("suid", clear(2)),
            ("symfollow", clear(0x20_0000)),
            ("sync", sb(MS_SYNCHRONOUS)),
            ("tmpcopyup", Options { copy_up: true, ..Options::default() }),
            ("unbindable", propagation(1 << 17)),
        ];
        for (words, expected) in table {
            assert_eq!(of(words), expected, "{words}");
        }
    }

    #[test]
    fn a_recursive_word_is_the_plain_one_for_the_whole_tree() {
        for (word, effect) in WORDS {
            let Tree(change) = effect else { continue };
            let plain =
                WORDS.iter().find(|(plain, _)| Some(*plain) == word.strip_prefix('r')).map(|(_, effect)| *effect);
            assert_eq!(plain, Some(Own(*change)), "{word}");
        }
        let table = [
            ("rro", 1, 0),
            ("rro rrw", 0, 1),
            ("rnosuid rnodev rdev", 2, 4),
            ("rnoatime", 0x10, 0x70),
            ("rnoatime rstrictatime", 0x20, 0x70),
            ("rnoatime ratime", 0, 0x70),
            ("rstrictatime rrelatime", 0, 0x70),
        ];
        for (words, tree_set, tree_clear) in table {
            assert_eq!(of(words), Options { tree_set, tree_clear, ..Options::default() }, "{words}");
        }
        assert_eq!(of("rw rro"), Options { clear: 1, exact: true, tree_set: 1, ..Options::default() }, "side by side");
    }

    #[test]
    fn later_words_override_earlier_ones() {
        let table = [
            ("ro rw", 0, 1, 0),
            ("rw ro", 1, 0, 0),
            ("nodev dev nodev", 4, 0, 0),
            ("nosuid suid noexec", 8, 2, 0),
            ("sync async mand nomand lazytime nolazytime ro rw", 0, 1, 0),
            ("sync dirsync sync", 0, 0, MS_DIRSYNC | MS_SYNCHRONOUS),
            ("noatime strictatime", 0x20, 0x70, 0),
            ("strictatime noatime", 0x10, 0x70, 0),
            ("noatime relatime", 0, 0x70, 0),
            ("noatime atime", 0, 0, 0),
            ("relatime norelatime", 0, 0, 0),
            ("noatime nostrictatime", 0x10, 0x70, 0),
            ("noatime norelatime", 0x10, 0x70, 0),
            ("strictatime nostrictatime", 0, 0, 0),
            ("strictatime nodiratime nosuid", 0xa2, 0x70, 0),
        ];
        for (words, set, clear, sb_flags) in table {
            assert_eq!(
                of(words),
                Options { set, clear, sb_flags, exact: sb_flags == 0, ..Options::default() },
                "{words}"
            );
        }
        assert_eq!(of("rshared slave").propagation, [MS_SHARED | MS_REC, MS_SLAVE]);
        assert!(of("rbind bind").recursive);
    }

    #[test]
    fn on_one_mount_the_words_for_the_tree_are_for_the_mount() {
        let table =
            [("ro rrw", 0, 1), ("rw rro", 1, 0), ("nodev rnoatime", 0x14, 0x70), ("noatime rstrictatime", 0x20, 0x70)];
        for (words, set, clear) in table {
            let one = of(words).of_one_mount();
            assert_eq!((one.set, one.clear, one.tree_set, one.tree_clear), (set, clear, 0, 0), "{words}");
        }
    }

    /// What mount(2) makes of `MS_REMOUNT|MS_BIND` with these flags (`path_mount()` in fs/namespace.c).
    #[test]
    fn on_a_bind_the_access_times_are_replaced_all_or_none() {
        let table = [
            ("ro", 1, 0),
            ("atime diratime norelatime nostrictatime", 0, 0),
            ("noatime", 0x10, 0xf0),
            ("noatime atime", 0, 0),
            ("relatime", 0, 0xf0),
            ("strictatime", 0x20, 0xf0),
            ("nodiratime", 0x80, 0x70),
            ("nodiratime norelatime", 0x80, 0x70),
            ("nodiratime strictatime", 0xa0, 0x70),
            ("nodiratime diratime", 0, 0),
            ("noatime diratime rw", 0x10, 0xf1),
        ];
        for (words, set, clear) in table {
            let bound = of(words).of_bind();
            assert_eq!((bound.set, bound.clear, bound.exact), (set, clear, true), "{words}");
        }
    }

    #[test]
    fn unknown_words_are_data() {
        type Row<'r> = (&'r str, &'r [(&'r str, Option<&'r str>)]);
        let table: [Row<'_>; 9] = [
            ("size=64m", &[("size", Some("64m"))]),
            ("acl X-mount.mkdir=1", &[("acl", None), ("X-mount.mkdir", Some("1"))]),
            ("RO", &[("RO", None)]),
            ("mode=755,size=1m,", &[("mode", Some("755")), ("size", Some("1m"))]),
            ("a=b=c", &[("a", Some("b=c"))]),
            ("gid=", &[("gid", Some(""))]),
            (",", &[]),
            ("context=\"u:r:t:c1,c2\",x", &[("context", Some("\"u:r:t:c1,c2\"")), ("x", None)]),
            ("lowerdir=/a\\,b:/c,y=\\\\,z", &[("lowerdir", Some("/a\\,b:/c")), ("y", Some("\\\\")), ("z", None)]),
        ];
        for (words, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), v.map(str::to_owned))).collect();
            assert_eq!(of(words), Options { data: expected, ..Options::default() }, "{words}");
        }
        assert_eq!(parse(&[String::new()]), Options::default());
    }
}
