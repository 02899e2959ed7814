//! Reports: what the child says to the parent, as bytes. 128 of them, so that every report is one write.
//!
//! The child writes them ([`encode`]), under its contract (see `spawn.rs`): no allocation, no panic. The parent reads them,
//! from the channel or, once `start` has been called, from the exec FIFO.

use std::os::fd::RawFd;

use crate::fault::{Fault, NOTE};

pub(crate) const REPORT: usize = 128;
const HEADER: usize = 14;

pub(crate) const KIND_PID: u8 = 1;
pub(crate) const KIND_GATE: u8 = 2;
pub(crate) const KIND_READY: u8 = 3;
pub(crate) const KIND_FAILED: u8 = 4;
pub(crate) const KIND_EXECUTES: u8 = 5;
pub(crate) const KIND_LISTENER: u8 = 6;
pub(crate) const KIND_TREE: u8 = 7;

/// Which gate a `Gate` report is about.
pub(crate) const GATE_HOOKS: u32 = 0;
pub(crate) const GATE_NETWORK: u32 = 1;
pub(crate) const GATE_CGROUP: u32 = 2;

/// What the child has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// It waits for its cgroup.
    Cgroup,
    /// Its network namespace is there: it waits for devices.
    Network,
    /// It waits for the runtime-namespace hooks.
    Hooks,
    /// Of the tree that this step binds the ids are to be mapped; it has this number in the child.
    Tree { step: usize, number: RawFd },
    /// The seccomp listener has this number in the child.
    Listener(RawFd),
    /// Everything is set up.
    Ready,
    /// It is about to execute the program.
    Executes,
    /// A step failed.
    Failed(Failure),
    /// The channel is closed: the program runs, or init is dead.
    Closed,
}

/// A step that failed, as it came over the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Index into the plan's steps; `None` before the first.
    pub step: Option<usize>,
    pub errno: i32,
    pub call: String,
    pub note: String,
}

/// Reads a report, from the channel or from the exec FIFO.
pub(crate) fn decode(report: &[u8]) -> Event {
    match report.first().copied() {
        Some(KIND_GATE) if number(report, 4) == GATE_NETWORK => Event::Network,
        Some(KIND_GATE) if number(report, 4) == GATE_CGROUP => Event::Cgroup,
        Some(KIND_GATE) => Event::Hooks,
        Some(KIND_TREE) => Event::Tree {
            step: usize::try_from(number(report, 4)).unwrap_or(usize::MAX),
            number: RawFd::try_from(number(report, 8)).unwrap_or(-1),
        },
        Some(KIND_LISTENER) => Event::Listener(RawFd::try_from(number(report, 4)).unwrap_or(-1)),
        Some(KIND_READY) => Event::Ready,
        Some(KIND_EXECUTES) => Event::Executes,
        Some(KIND_FAILED) => {
            let length = |at: usize| report.get(at).copied().map_or(0, usize::from);
            let text = |from: usize, len: usize| {
                String::from_utf8_lossy(report.get(from..from + len).unwrap_or(&[])).into_owned()
            };
            Event::Failed(Failure {
                step: usize::try_from(number(report, 4)).ok().filter(|step| *step != u32::MAX as usize),
                errno: i32::try_from(number(report, 8)).unwrap_or(0),
                call: text(HEADER, length(12)),
                note: text(HEADER + length(12), length(13)),
            })
        }
        _ => Event::Closed,
    }
}

pub(crate) fn number(report: &[u8], at: usize) -> u32 {
    report.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

pub(crate) fn encode(kind: u8, step: u32, fault: &Fault) -> [u8; REPORT] {
    let mut report = [0u8; REPORT];
    let name = fault.call.as_bytes();
    let name = name.get(..name.len().min(REPORT - HEADER - NOTE)).unwrap_or(&[]);
    let note = fault.note.as_bytes();
    let lengths = [u8::try_from(name.len()).unwrap_or(0), u8::try_from(note.len()).unwrap_or(0)];
    let header = [kind, 0, 0, 0].into_iter().chain(step.to_le_bytes()).chain(fault.errno.to_le_bytes()).chain(lengths);
    for (to, from) in report.iter_mut().zip(header.chain(name.iter().copied()).chain(note.iter().copied())) {
        *to = from;
    }
    report
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_report_survives_the_way() {
        let fault = Fault::new("mount_setattr", Errno::INVAL).with_note(&[b'x'; 300]);
        let Event::Failed(failure) = decode(&encode(KIND_FAILED, 7, &fault)) else { panic!("not a failure") };
        assert_eq!((failure.step, failure.errno), (Some(7), libc::EINVAL));
        assert_eq!((failure.call.as_str(), failure.note.len()), ("mount_setattr", NOTE));
        assert_eq!(decode(&[]), Event::Closed);
        let tree = Fault { errno: 9, ..Fault::plain(b"") };
        assert_eq!(decode(&encode(KIND_TREE, 7, &tree)), Event::Tree { step: 7, number: 9 });
        let Event::Failed(early) = decode(&encode(KIND_FAILED, u32::MAX, &fault)) else { panic!("not a failure") };
        assert_eq!(early.step, None);
    }
}
