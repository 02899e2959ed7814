//! Id mappings of a user namespace: what the kernel takes, and what becomes of an id.
//!
//! A mapping list is [`LinuxIdMapping`]s as the config has them. [`faults`] knows the kernel's rules for
//! writing `/proc/PID/uid_map` (user_namespaces(7)), so that a list without faults is refused only for want
//! of privilege. Everything else takes any list. Pure: no I/O, no panic.

use crate::spec::LinuxIdMapping;
use std::fmt::{self, Write as _};

/// Most lines that the kernel takes; Linux 4.15.
pub const MAX_LINES: usize = 340;

/// Most bytes that the kernel takes, all of them in one write: less than a page.
pub const MAX_BYTES: usize = 4095;

/// The content of `uid_map` or `gid_map`: container id, host id, count.
#[must_use]
pub fn text(mappings: &[LinuxIdMapping]) -> String {
    let mut text = String::new();
    for m in mappings {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {} {}", m.container_id(), m.host_id(), m.size());
    }
    text
}

/// The same as numbers, in the order of the container ids: two lists that are equal then map alike.
#[must_use]
pub fn sorted(mappings: &[LinuxIdMapping]) -> Vec<[u32; 3]> {
    let mut rows: Vec<_> = mappings.iter().map(|m| [m.container_id(), m.host_id(), m.size()]).collect();
    rows.sort_unstable();
    rows
}

/// What the kernel says in `uid_map`, as [`sorted`] has it; a line that is none is left out.
#[must_use]
pub fn parse(text: &str) -> Vec<[u32; 3]> {
    let row = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        match [numbers.next(), numbers.next(), numbers.next()] {
            [Some(Ok(container)), Some(Ok(host)), Some(Ok(size))] => Some([container, host, size]),
            _ => None,
        }
    };
    let mut rows: Vec<_> = text.lines().filter_map(row).collect();
    rows.sort_unstable();
    rows
}

/// What a container id is outside the namespace. Nothing when it is not mapped.
#[must_use]
pub fn host_id(mappings: &[LinuxIdMapping], container_id: u32) -> Option<u32> {
    mappings.iter().find_map(|m| {
        let offset = container_id.checked_sub(m.container_id()).filter(|offset| *offset < m.size())?;
        m.host_id().checked_add(offset)
    })
}

/// What the container's root is outside: whose are the things made for it.
#[must_use]
pub fn host_root(mappings: &[LinuxIdMapping]) -> Option<u32> {
    host_id(mappings, 0)
}

/// Whether a container id is mapped.
#[must_use]
pub fn is_mapped(mappings: &[LinuxIdMapping], container_id: u32) -> bool {
    host_id(mappings, container_id).is_some()
}

/// What the kernel would refuse a mapping list for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The mapping at this index maps nothing.
    Empty(usize),
    /// The mapping at this index leaves the range of ids, 0 to 4294967294.
    Overruns(usize, Side),
    /// The mapping at the first index shares ids with the one at the second.
    Overlaps(usize, usize, Side),
    /// More than [`MAX_LINES`] mappings, or more than [`MAX_BYTES`] bytes of text.
    TooLong,
}

/// One of the two ranges of a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// `containerID`.
    Container,
    /// `hostID`.
    Host,
}

impl Side {
    fn start(self, mapping: &LinuxIdMapping) -> u32 {
        match self {
            Side::Container => mapping.container_id(),
            Side::Host => mapping.host_id(),
        }
    }

    /// The member's name.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Side::Container => "containerID",
            Side::Host => "hostID",
        }
    }
}

impl Fault {
    /// The mapping that is at fault; the first where it is the list.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Fault::Empty(i) | Fault::Overruns(i, _) | Fault::Overlaps(i, _, _) => i,
            Fault::TooLong => 0,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Empty(_) => f.write_str("size must be at least 1"),
            Fault::Overruns(_, side) => write!(f, "{} and size run over 4294967294, the largest id", side.member()),
            Fault::Overlaps(_, other, side) => write!(f, "{} range overlaps that of [{other}]", side.member()),
            Fault::TooLong => write!(f, "the kernel takes at most {MAX_LINES} mappings and {MAX_BYTES} bytes of them"),
        }
    }
}

/// What the kernel would refuse the list for, in the order of the list. Overlaps are found between neighbours
/// by start: where there are any, at least one is told.
#[must_use]
pub fn faults(mappings: &[LinuxIdMapping]) -> Vec<Fault> {
    let mut out = Vec::new();
    if mappings.len() > MAX_LINES || text(mappings).len() > MAX_BYTES {
        out.push(Fault::TooLong);
    }
    for (i, m) in mappings.iter().enumerate() {
        if m.size() == 0 {
            out.push(Fault::Empty(i));
        }
        // The kernel wants first + count not to wrap, which leaves out the id -1 ("no change" for chown).
        let overruns = |side: &Side| side.start(m).checked_add(m.size()).is_none();
        out.extend([Side::Container, Side::Host].into_iter().filter(overruns).map(|side| Fault::Overruns(i, side)));
    }
    out.extend(overlaps(mappings, Side::Container));
    out.extend(overlaps(mappings, Side::Host));
    out.sort_by_key(|fault| fault.index());
    out
}

fn overlaps(mappings: &[LinuxIdMapping], side: Side) -> Vec<Fault> {
    let mut ranges: Vec<(u64, u64, usize)> = mappings
        .iter()
        .enumerate()
        .map(|(i, m)| (u64::from(side.start(m)), u64::from(side.start(m)) + u64::from(m.size()), i))
        .filter(|(start, end, _)| start < end)
        .collect();
    ranges.sort_unstable();
    // The range that reaches furthest so far, and whose it is.
    let mut reach = (0, 0);
    let mut out = Vec::new();
    for (start, end, i) in ranges {
        if start < reach.0 {
            out.push(Fault::Overlaps(i.max(reach.1), i.min(reach.1), side));
        }
        reach = reach.max((end, i));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::LinuxIdMappingBuilder;

    fn list(mappings: &[(u32, u32, u32)]) -> Vec<LinuxIdMapping> {
        let one =
            |m: &(u32, u32, u32)| LinuxIdMappingBuilder::default().container_id(m.0).host_id(m.1).size(m.2).build();
        mappings.iter().map(|m| one(m).expect("mapping")).collect()
    }

    #[test]
    fn text_is_what_the_kernel_reads() {
        assert_eq!(text(&list(&[(0, 100_000, 65536), (65536, 1000, 1)])), "0 100000 65536\n65536 1000 1\n");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn maps_are_compared_in_the_order_of_ids() {
        let rows = vec![[0, 100_000, 65536], [65536, 1000, 1]];
        assert_eq!(sorted(&list(&[(65536, 1000, 1), (0, 100_000, 65536)])), rows);
        assert_eq!(parse("     65536       1000          1\n         0     100000      65536\n"), rows);
        assert_eq!(parse("\n1 2\n0 0 4294967295 \nx 1 1"), [[0, 0, u32::MAX]]);
        assert_eq!(parse(""), sorted(&[]));
    }

    #[test]
    fn ids_are_translated() {
        let maps = list(&[(1, 5000, 10), (0, 1000, 1), (100, u32::MAX - 3, 8)]);
        let table = [
            (0, Some(1000)),
            (1, Some(5000)),
            (10, Some(5009)),
            (11, None),
            (99, None),
            (103, Some(u32::MAX)),
            (104, None),
        ];
        for (id, expected) in table {
            assert_eq!(host_id(&maps, id), expected, "{id}");
            assert_eq!(is_mapped(&maps, id), expected.is_some(), "{id}");
        }
        assert_eq!(host_root(&maps), Some(1000));
        assert_eq!(host_root(&list(&[(1, 1, 1)])), None);
    }

    #[test]
    fn faults_are_those_of_the_kernel() {
        use Side::{Container, Host};
        type Row<'r> = (&'r [(u32, u32, u32)], Vec<Fault>);
        let table: [Row<'_>; 10] = [
            (&[(0, 0, u32::MAX)], vec![]),
            (&[(0, 1000, 1), (1, 2000, 10), (11, 1001, 5)], vec![]),
            (&[(0, 0, 0)], vec![Fault::Empty(0)]),
            (&[(1, 0, u32::MAX)], vec![Fault::Overruns(0, Container)]),
            (&[(0, 1, u32::MAX)], vec![Fault::Overruns(0, Host)]),
            (&[(0, 0, 1), (0, 5, 1)], vec![Fault::Overlaps(1, 0, Container)]),
            (&[(0, 5, 1), (1, 5, 1)], vec![Fault::Overlaps(1, 0, Host)]),
            (&[(10, 0, 10), (0, 100, 11)], vec![Fault::Overlaps(1, 0, Container)]),
            (
                &[(0, 0, 100), (5, 200, 1), (50, 300, 1)],
                vec![Fault::Overlaps(1, 0, Container), Fault::Overlaps(2, 0, Container)],
            ),
            (&[(0, 0, 10), (5, 5, 0)], vec![Fault::Empty(1)]),
        ];
        for (maps, expected) in table {
            assert_eq!(faults(&list(maps)), expected, "{maps:?}");
        }
    }

    #[test]
    fn lists_that_the_kernel_has_no_room_for() {
        let many = |n: u32| list(&(0..n).map(|i| (i, i, 1)).collect::<Vec<_>>());
        assert_eq!(faults(&many(340)), []);
        assert_eq!(faults(&many(341)), [Fault::TooLong]);
        let wide = list(&(0..200).map(|i| (4_000_000_000 + i, 4_000_000_000 + i, 1)).collect::<Vec<_>>());
        assert_eq!(faults(&wide), [Fault::TooLong]);
    }

    #[test]
    fn faults_speak_plainly() {
        let texts: Vec<String> =
            [Fault::Empty(0), Fault::Overruns(0, Side::Host), Fault::Overlaps(2, 1, Side::Container), Fault::TooLong]
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(
            texts,
            [
                "size must be at least 1",
                "hostID and size run over 4294967294, the largest id",
                "containerID range overlaps that of [1]",
                "the kernel takes at most 340 mappings and 4095 bytes of them"
            ]
        );
    }
}
