//! seccomp: an OCI profile becomes one classic BPF program, in the planner, without libseccomp.
//!
//! Owns the semantics of `linux.seccomp`: actions and their errno, flags, architectures, the ENOSYS answer for
//! calls newer than the profile. `seccomp/rules.rs` decides which rule wins, `seccomp/program.rs` writes
//! instructions, `seccomp/arch.rs` and the generated `seccomp/syscalls.rs` hold numbers.
//!
//! Program: one section per architecture; in it a binary search over ranges of numbers (equal neighbours
//! merged), then the argument compares, then shared returns. Invariants: every jump is in range, every path
//! ends in a return, at most [`MAX_INSNS`] instructions, the same profile gives the same program.
//!
//! seccompiler's rule codegen is not used: it compares 64 bits on 32-bit architectures too, has one action per
//! filter, and allocates a program per rule; what remains of it would be its type of an instruction.
//! Loading the program belongs to `sys`; nothing here asks the machine what it supports.

mod arch;
mod evaluate;
mod program;
mod rules;
mod syscalls;

pub use arch::{Arch, Call};
pub use evaluate::{Data, evaluate};

use crate::error::{At, Level, Problem};
use crate::spec::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSeccompFilterFlag as Flag, LinuxSyscall};
use program::{Ranges, Target, Words, Writer};
use rules::{Compare, Conflict, Ordered, Rules, Test, Tests, Verdict};
use std::path::{Path, PathBuf};

/// One instruction: `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Insn {
    /// Opcode.
    pub code: u16,
    /// Distance of the jump if the condition holds.
    pub jt: u8,
    /// Distance of the jump if not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// What seccomp(2) is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// The program, never empty, at most [`MAX_INSNS`] long.
    pub program: Vec<Insn>,
    /// `SECCOMP_FILTER_FLAG_*` bits.
    pub flags: u32,
}

impl Filter {
    /// Whether loading it makes a descriptor, the listener, over which an agent answers system calls.
    #[must_use]
    pub fn notifies(&self) -> bool {
        self.flags & FLAG_NEW_LISTENER != 0
    }

    /// Whether it lets a call through. Not so for one that an agent, a tracer or a signal handler has a say in.
    pub(super) fn allows(&self, arch: Arch, name: &str, args: [u64; 6]) -> bool {
        let Some(nr) = Call::named(name).and_then(|call| arch.number(call)) else { return false };
        let data = Data { nr, arch: arch.audit(), instruction_pointer: 0, args };
        matches!(evaluate(&self.program, &data), Some(RET_ALLOW | RET_LOG))
    }

    /// Whether loading it needs Linux 5.19.
    pub(crate) fn waits_killable(&self) -> bool {
        self.flags & FLAG_WAIT_KILLABLE_RECV != 0
    }
}

/// The program on the host that answers calls of `SCMP_ACT_NOTIFY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its socket (`AF_UNIX`, `SOCK_STREAM`): absolute, or `@` and an abstract name.
    pub socket: PathBuf,
    /// `listenerMetadata`, handed on as it is.
    pub metadata: String,
}

impl Agent {
    /// The agent of a profile that notifies. A relative path starts at the bundle.
    pub(super) fn of(profile: &LinuxSeccomp, bundle: &Path) -> Agent {
        let path = profile.listener_path().clone().unwrap_or_default();
        let metadata = profile.listener_metadata().clone().unwrap_or_default();
        let agent = Agent { socket: path, metadata };
        if agent.abstract_name().is_some() { agent } else { Agent { socket: bundle.join(agent.socket), ..agent } }
    }

    /// The name of a socket that is no file, as Go writes it.
    pub(crate) fn abstract_name(&self) -> Option<&[u8]> {
        self.socket.as_os_str().as_encoded_bytes().strip_prefix(b"@")
    }
}

/// The kernel's limit (`BPF_MAXINSNS`).
pub const MAX_INSNS: usize = 4096;

/// The actions a profile may use, sorted.
pub const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// The operators of argument compares, sorted.
pub const OPERATORS: [&str; 7] =
    ["SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ", "SCMP_CMP_NE"];

/// The filter flags and their bits for seccomp(2), sorted by name. TSYNC has none: the process that loads the
/// filter has one thread, so there is nothing to synchronise (runc ignores it too).
pub const FLAGS: [(&str, u32); 4] = [
    ("SECCOMP_FILTER_FLAG_LOG", FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_TSYNC", 0),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", FLAG_WAIT_KILLABLE_RECV),
];

/// As what the kernel is asked for a flag: the one for listeners means nothing without a listener.
pub(crate) fn probe_flags(flag: u32) -> u32 {
    if flag == FLAG_WAIT_KILLABLE_RECV { flag | FLAG_NEW_LISTENER } else { flag }
}

const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_NEW_LISTENER: u32 = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_KILL_THREAD: u32 = 0x0000_0000;
const RET_TRAP: u32 = 0x0003_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_NOTIFY: u32 = 0x7fc0_0000;
const RET_TRACE: u32 = 0x7ff0_0000;
const RET_LOG: u32 = 0x7ffc_0000;
const RET_ALLOW: u32 = 0x7fff_0000;

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
/// The kernel turns a greater errno into this one.
const MAX_ERRNO: u32 = 4095;

const CLAUSE: &str = "config-linux.md#seccomp";
const SYSCALLS: &str = "linux.seccomp.syscalls";

/// Compiles `profile` for a kernel whose own architecture is `native`. Everything wrong with the profile is
/// added to `problems`; `None` if one of these is an error. (An absent profile, or one with an empty
/// `defaultAction` and no syscalls, means no seccomp: the type cannot say that, and `bundle/zero.rs` leaves it out.)
pub fn compile(profile: &LinuxSeccomp, native: Arch, problems: &mut Vec<Problem>) -> Option<Filter> {
    let mut found = Vec::new();
    let filter = compile_checked(profile, native, &mut found);
    let sound = !found.iter().any(|problem| problem.level == Level::Error);
    problems.append(&mut found);
    filter.filter(|_| sound)
}

fn compile_checked(profile: &LinuxSeccomp, native: Arch, problems: &mut Vec<Problem>) -> Option<Filter> {
    let archs = architectures(profile, native, problems);
    let flags = flags(profile, problems) | listener(profile, problems);
    let default = default_action(profile, problems);
    let multiplexes = archs.iter().any(|arch| arch.multiplexes());
    let mut rules = Rules::default();
    for (i, call) in profile.syscalls().iter().flatten().enumerate() {
        let action = call_action(call, i, problems);
        let alternatives = alternatives(call, i, problems);
        if call.names().is_empty() {
            let at = At::item("linux.seccomp.syscalls[#].names", i);
            problems.push(Problem::warning(at, CLAUSE, "is empty: the entry says nothing; expected at least one name"));
        }
        let action = action.filter(|action| Some(*action) != default);
        rules.add(i, action, &alternatives, call.names(), multiplexes);
    }
    if problems.iter().any(|problem| problem.level == Level::Error) {
        return None;
    }
    let mut compiler = Compiler::new(&rules, default?, wants_stub(profile));
    let program = compiler.program(&archs, problems)?;
    Some(Filter { program, flags })
}

/// The native architecture and those listed, each once, native first.
fn architectures(profile: &LinuxSeccomp, native: Arch, problems: &mut Vec<Problem>) -> Vec<Arch> {
    let mut archs = vec![native];
    for (i, listed) in profile.architectures().iter().flatten().enumerate() {
        match Arch::from_spec(*listed) {
            Some(arch) if archs.contains(&arch) => {}
            Some(arch) => archs.push(arch),
            None => {
                let at = At::item("linux.seccomp.architectures[#]", i);
                let text = format!("string {listed} is not a valid arch for seccomp; expected one of {}", arch_names());
                problems.push(Problem::error(at, CLAUSE, text));
            }
        }
    }
    archs
}

fn arch_names() -> String {
    Arch::ALL.map(Arch::name).join(" ")
}

fn flags(profile: &LinuxSeccomp, problems: &mut Vec<Problem>) -> u32 {
    let Some(listed) = profile.flags() else { return FLAG_SPEC_ALLOW };
    let mut bits = 0;
    for (i, flag) in listed.iter().enumerate() {
        bits |= match flag {
            Flag::SeccompFilterFlagLog => FLAG_LOG,
            Flag::SeccompFilterFlagSpecAllow => FLAG_SPEC_ALLOW,
            Flag::SeccompFilterFlagTsync => 0,
            Flag::SeccompFilterFlagWaitKillableRecv if notifies(profile) => FLAG_WAIT_KILLABLE_RECV,
            Flag::SeccompFilterFlagWaitKillableRecv => {
                // The kernel answers EINVAL to this flag on a filter without a listener.
                let text = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY";
                problems.push(Problem::warning(At::item("linux.seccomp.flags[#]", i), CLAUSE, text));
                0
            }
        };
    }
    bits
}

fn default_action(profile: &LinuxSeccomp, problems: &mut Vec<Problem>) -> Option<u32> {
    if profile.default_action() == Action::ScmpActNotify {
        let text = "SCMP_ACT_NOTIFY cannot be used as default action";
        problems.push(Problem::error(At::field("linux.seccomp.defaultAction"), CLAUSE, text));
        return None;
    }
    let at = At::field("linux.seccomp.defaultErrnoRet");
    action(profile.default_action(), profile.default_errno_ret(), at, problems)
}

/// Whether an agent is asked about any call. An entry without names says nothing.
fn notifies(profile: &LinuxSeccomp) -> bool {
    let mut entries = profile.syscalls().iter().flatten();
    entries.any(|call| call.action() == Action::ScmpActNotify && !call.names().is_empty())
}

/// The flag that makes a listener, if one is wanted.
fn listener(profile: &LinuxSeccomp, problems: &mut Vec<Problem>) -> u32 {
    let path_given = profile.listener_path().as_ref().is_some_and(|path| !path.as_os_str().is_empty());
    let metadata_given = profile.listener_metadata().as_ref().is_some_and(|text| !text.is_empty());
    if metadata_given && !path_given {
        let text = "must not be set without listenerPath: nobody would see it";
        problems.push(Problem::warning(At::field("linux.seccomp.listenerMetadata"), CLAUSE, text));
    }
    if !notifies(profile) {
        return 0;
    }
    if !path_given {
        let text = "seccomp listenerPath is not set; SCMP_ACT_NOTIFY needs it";
        problems.push(Problem::error(At::field("linux.seccomp.listenerPath"), CLAUSE, text));
    }
    FLAG_NEW_LISTENER
}

fn call_action(call: &LinuxSyscall, i: usize, problems: &mut Vec<Problem>) -> Option<u32> {
    // Init reports the listener by write(2): nobody could answer that call yet.
    if call.action() == Action::ScmpActNotify && call.names().iter().any(|name| name == "write") {
        let text = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
        problems.push(Problem::error(At::item("linux.seccomp.syscalls[#].action", i), CLAUSE, text));
    }
    action(call.action(), call.errno_ret(), At::item("linux.seccomp.syscalls[#].errnoRet", i), problems)
}

/// The kernel's value of an action. `at` is the place of its errno.
fn action(action: Action, errno: Option<u32>, at: At, problems: &mut Vec<Problem>) -> Option<u32> {
    let (value, limit) = match action {
        Action::ScmpActKill | Action::ScmpActKillThread => (RET_KILL_THREAD, None),
        Action::ScmpActKillProcess => (RET_KILL_PROCESS, None),
        Action::ScmpActTrap => (RET_TRAP, None),
        Action::ScmpActErrno => (RET_ERRNO, Some(MAX_ERRNO)),
        Action::ScmpActTrace => (RET_TRACE, Some(u32::from(u16::MAX))),
        Action::ScmpActLog => (RET_LOG, None),
        Action::ScmpActAllow => (RET_ALLOW, None),
        Action::ScmpActNotify => (RET_NOTIFY, None),
    };
    match (limit, errno) {
        (None, None) => Some(value),
        (Some(limit), errno) if errno.unwrap_or(EPERM) <= limit => Some(value | errno.unwrap_or(EPERM)),
        (Some(limit), errno) => {
            let text = format!("{} is not an errno; expected 0 to {limit}", errno.unwrap_or(EPERM));
            problems.push(Problem::error(at, CLAUSE, text));
            None
        }
        (None, Some(errno)) => {
            let text =
                format!("{errno} is given, but {action} returns no errno; only SCMP_ACT_ERRNO and SCMP_ACT_TRACE do");
            problems.push(Problem::error(at, CLAUSE, text));
            None
        }
    }
}

/// An entry's compares: lists of which one must hold, each of tests that must all hold. Compares on different
/// arguments are one list; if an argument occurs twice, every compare is a list of its own (runc's reading of
/// the spec, kept for profiles that were written before AND existed).
fn alternatives(call: &LinuxSyscall, i: usize, problems: &mut Vec<Problem>) -> Vec<Tests> {
    let mut tests: Tests = Vec::new();
    for (k, arg) in call.args().iter().flatten().enumerate() {
        match u8::try_from(arg.index()) {
            Ok(index @ 0..=5) => tests.push(Test::new(index, arg)),
            _ => {
                let at = At::nested("linux.seccomp.syscalls[#].args[#].index", i, k);
                let text = format!("{} is not an argument; expected 0 to 5", arg.index());
                problems.push(Problem::error(at, CLAUSE, text));
            }
        }
    }
    tests.sort_by_key(|test| test.arg);
    if tests.windows(2).any(|pair| matches!(pair, [a, b] if a.arg == b.arg)) {
        return tests.into_iter().map(|test| vec![test]).collect();
    }
    vec![tests]
}

/// Whether calls newer than the profile get ENOSYS, so that a libc falls back to an older one. Not where the
/// default lets them through; a tracer is expected to answer for itself.
fn wants_stub(profile: &LinuxSeccomp) -> bool {
    !matches!(profile.default_action(), Action::ScmpActAllow | Action::ScmpActLog | Action::ScmpActTrace)
}

/// Compares written for the rules of one call.
struct Block {
    words: Words,
    rules: Ordered,
    target: Target,
}

/// What writing a program needs to know.
struct Compiler<'a> {
    rules: &'a Rules,
    default: u32,
    stub: bool,
    writer: Writer,
    /// Compares written already: x86 and x32 share them.
    blocks: Vec<Block>,
}

impl<'a> Compiler<'a> {
    fn new(rules: &'a Rules, default: u32, stub: bool) -> Self {
        Compiler { rules, default, stub, writer: Writer::default(), blocks: Vec::new() }
    }

    /// Sections, last one first, then the dispatch on the architecture before them. A caller of an architecture
    /// that the profile does not speak of is killed (SCMP_FLTATR_ACT_BADARCH's default).
    fn program(&mut self, archs: &[Arch], problems: &mut Vec<Problem>) -> Option<Vec<Insn>> {
        let mut audits: Vec<u32> = Vec::with_capacity(archs.len());
        for arch in archs {
            if !audits.contains(&arch.audit()) {
                audits.push(arch.audit());
            }
        }
        let mut sections = Vec::with_capacity(audits.len());
        for &audit in audits.iter().rev() {
            let ranges = self.section(audit, archs, problems)?;
            let tree = self.writer.search(&ranges);
            sections.push((audit, self.writer.load(0, tree)));
        }
        let mut dispatch = Target::Return(RET_KILL_THREAD);
        for (audit, section) in sections {
            dispatch = self.writer.jump(evaluate::op::JEQ, audit, section, dispatch);
        }
        self.writer.load(4, dispatch);
        let program = std::mem::take(&mut self.writer).finish();
        match program {
            Some(program) if program.len() <= MAX_INSNS => return Some(program),
            Some(program) => problems.push(Problem::error(
                At::field(SYSCALLS),
                CLAUSE,
                format!("needs {} instructions; the kernel takes at most {MAX_INSNS}", program.len()),
            )),
            None => problems.push(Problem::error(At::field(SYSCALLS), CLAUSE, "needs a jump that is too long")),
        }
        None
    }

    /// All numbers under one AUDIT_ARCH.
    fn section(&mut self, audit: u32, archs: &[Arch], problems: &mut Vec<Problem>) -> Option<Ranges> {
        let mut ranges = Ranges::default();
        if audit == Arch::X86_64.audit() {
            // x86_64 and x32 share an AUDIT_ARCH; what is not listed of the two is a foreign architecture. A
            // number of -1 stays with x86_64: it is what a tracer leaves of a call that it has skipped.
            for (arch, start) in [(Arch::X86_64, 0), (Arch::X32, arch::X32_BIT)] {
                if archs.contains(&arch) {
                    self.numbers(arch, start, &mut ranges, problems)?;
                } else {
                    ranges.set(start, Target::Return(RET_KILL_THREAD));
                }
            }
            if !archs.contains(&Arch::X32) {
                ranges.set(u32::MAX, Target::Return(self.default));
            }
        }
        for arch in archs.iter().filter(|arch| arch.audit() == audit && audit != Arch::X86_64.audit()) {
            self.numbers(*arch, 0, &mut ranges, problems)?;
        }
        Some(ranges)
    }

    /// The numbers of one architecture, from `start` to the end.
    fn numbers(&mut self, arch: Arch, start: u32, ranges: &mut Ranges, problems: &mut Vec<Problem>) -> Option<()> {
        let (newest, numbers) = self.rules.numbers(arch);
        let unknown = Target::Return(RET_ERRNO | ENOSYS);
        let default = Target::Return(self.default);
        // As runc has it: a profile that names nothing but call 0 says nothing about the age of others.
        let limit = newest.filter(|newest| self.stub && *newest != 0).map(|newest| newest + 1);
        let rest = |number: u32| if limit.is_some_and(|limit| number >= limit) { unknown } else { default };
        ranges.set(start, default);
        if matches!(arch, Arch::S390 | Arch::S390x) && limit.is_some() {
            // Numbers that s390's kernel does not know arrive here as 0, once setup(2).
            ranges.set(0, unknown);
            ranges.set(1, default);
        }
        let mut pending = limit;
        for group in numbers.chunk_by(|a, b| a.0 == b.0) {
            let Some(&(number, _)) = group.first() else { continue };
            if let Some(limit) = pending.take_if(|limit| *limit <= number) {
                ranges.set(limit, unknown);
            }
            let target = self.call(group, arch, problems)?;
            ranges.set(number, target);
            ranges.set(number + 1, rest(number + 1));
        }
        if let Some(limit) = pending {
            ranges.set(limit, unknown);
        }
        Some(())
    }

    /// What one number leads to.
    fn call(&mut self, group: &[(u32, usize)], arch: Arch, problems: &mut Vec<Problem>) -> Option<Target> {
        match self.rules.verdict(group, arch.wide()) {
            Ok(Verdict::Always(action)) => Some(Target::Return(action)),
            Ok(Verdict::FirstOf(rules)) => {
                if self.writer.len() + rules.len() > MAX_INSNS {
                    let text = format!("needs more than the {MAX_INSNS} instructions that the kernel takes");
                    problems.push(Problem::error(At::field(SYSCALLS), CLAUSE, text));
                    return None;
                }
                Some(self.block(rules, Words { wide: arch.wide(), big_endian: arch.big_endian() }))
            }
            Err(Conflict { earlier, later }) => {
                let text = format!(
                    "asks for another action than {SYSCALLS}[{earlier}] under the same argument compares; \
                     expected one action for each"
                );
                problems.push(Problem::error(At::item("linux.seccomp.syscalls[#].action", later), CLAUSE, text));
                None
            }
        }
    }

    /// Writes compares, the last ones first.
    fn block(&mut self, rules: Ordered, words: Words) -> Target {
        if let Some(block) = self.blocks.iter().find(|block| block.words == words && block.rules == rules) {
            return block.target;
        }
        let mut next = Target::Return(self.default);
        for run in rules.chunk_by(|(a, _), (b, _)| switchable(a, b)).rev() {
            next = match run {
                [(tests, action)] => {
                    let mut yes = Target::Return(*action);
                    for test in tests.iter().rev() {
                        yes = self.writer.test(test, words, yes, next);
                    }
                    yes
                }
                _ => {
                    let arg = run.first().and_then(|(tests, _)| tests.first()).map_or(0, |test| test.arg);
                    let datum = |tests: &Tests| tests.first().map_or(0, |test| test.datum);
                    let values: Vec<_> = run.iter().map(|(t, action)| (datum(t), Target::Return(*action))).collect();
                    self.writer.switch(arg, words, &values, next)
                }
            };
        }
        self.blocks.push(Block { words, rules, target: next });
        next
    }
}

/// Whether two rules compare one argument, and nothing else, with values that differ in the low half only.
fn switchable(a: &Tests, b: &Tests) -> bool {
    let ([a], [b]) = (a.as_slice(), b.as_slice()) else { return false };
    let equality = a.compare == Compare::Eq && b.compare == Compare::Eq;
    equality && a.arg == b.arg && a.datum >> 32 == b.datum >> 32
}

#[cfg(test)]
mod tests;
