//! The comparison with libseccomp: programs for the same profiles, asked the same questions. Skipped, with a word,
//! where cc or libseccomp-dev are missing.

use super::*;
use libcontain::plan::seccomp::Insn;
use proptest::strategy::ValueTree as _;
use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// libseccomp, behind a small C program that is compiled here.
struct Libseccomp {
    program: tempfile::TempPath,
}

impl Libseccomp {
    fn build() -> Option<Self> {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/profiles/libseccomp.c");
        let program = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let built = Command::new("cc").args(["-O1", "-o"]).arg(&program).args([source, "-lseccomp"]).output();
        match built {
            Ok(output) if output.status.success() => Some(Libseccomp { program }),
            Ok(output) => {
                eprintln!("SKIPPED: no libseccomp to compare with: {}", String::from_utf8_lossy(&output.stderr));
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: no libseccomp to compare with: cc: {error}");
                None
            }
        }
    }

    /// One program, or the errno, for each profile, built as runc builds it.
    fn programs(&self, profiles: &[LinuxSeccomp]) -> Vec<Result<Vec<Insn>, i32>> {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let mut input = child.stdin.take().unwrap();
        let text: String = profiles.iter().map(script).collect();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success(), "libseccomp fails or does not come back");
        output.lines().map(parse_program).collect()
    }
}

fn parse_program(line: &str) -> Result<Vec<Insn>, i32> {
    if let Some(errno) = line.strip_prefix("error ") {
        return Err(errno.parse().unwrap());
    }
    let byte = |i: usize| u8::from_str_radix(&line[2 * i..2 * i + 2], 16).unwrap();
    let insns = (0..line.len() / 16).map(|i| 8 * i).map(|i| Insn {
        code: u16::from_ne_bytes([byte(i), byte(i + 1)]),
        jt: byte(i + 2),
        jf: byte(i + 3),
        k: u32::from_ne_bytes([byte(i + 4), byte(i + 5), byte(i + 6), byte(i + 7)]),
    });
    Ok(insns.collect())
}

/// A profile as runc hands it to libseccomp.
fn script(profile: &LinuxSeccomp) -> String {
    let default = Naive::value(profile.default_action(), profile.default_errno_ret());
    let mut text = format!("begin {default}\n");
    for arch in profile.architectures().iter().flatten() {
        text += &format!("arch {}\n", *arch as u32);
    }
    for entry in profile.syscalls().iter().flatten() {
        let action = Naive::value(entry.action(), entry.errno_ret());
        let args: Vec<_> = entry.args().iter().flatten().collect();
        let indices: BTreeSet<_> = args.iter().map(|arg| arg.index()).collect();
        let size = if indices.len() < args.len() { 1 } else { args.len().max(1) };
        for name in entry.names().iter().filter(|_| action != default) {
            let lists: Vec<_> = if args.is_empty() { vec![&args[..]] } else { args.chunks(size).collect() };
            for list in lists {
                text += &format!("rule {action} {name}");
                for arg in list {
                    let two = arg.value_two().unwrap_or(0);
                    text += &format!(" {} {} {} {two}", arg.index(), arg.op() as u32, arg.value());
                }
                text += "\n";
            }
        }
    }
    text + "end\n"
}

/// Where our program and libseccomp's differ, apart from the ENOSYS that runc's patch adds to the latter.
fn libseccomp_differs(
    profile: &LinuxSeccomp,
    theirs: &[Insn],
    numbers: fn(&LinuxSeccomp, Arch) -> Vec<u32>,
    vectors: &[[u64; 6]],
) -> Vec<String> {
    let (filter, naive) = (compiled(profile, Arch::X86_64), Naive::new(profile, Arch::X86_64));
    let mut differences = Vec::new();
    for (arch, audit) in audits(&X86_FAMILY) {
        for nr in numbers(profile, arch) {
            let patched = naive.arch(audit, nr).is_some_and(|arch| {
                let newest = naive.newest(arch);
                let skipped = arch == Arch::X86_64 && nr == u32::MAX;
                naive.stub() && newest != 0 && nr > newest && !skipped && naive.bearing(arch, nr).is_empty()
            });
            let difference = vectors.iter().find_map(|&args| {
                let data = Data { nr, arch: audit, instruction_pointer: 0x7f00_dead_beef, args };
                let theirs = if patched { Some(ENOSYS) } else { evaluate(theirs, &data) };
                let ours = evaluate(&filter.program, &data);
                (ours != theirs).then(|| format!("{data:x?}: ours {ours:x?}, libseccomp's {theirs:x?}"))
            });
            differences.extend(difference);
        }
    }
    differences
}

#[test]
fn real_profiles_equal_libseccomp() {
    let Some(libseccomp) = Libseccomp::build() else { return };
    let profiles = [parse(DOCKER), parse(PODMAN)];
    for (profile, theirs) in profiles.iter().zip(libseccomp.programs(&profiles)) {
        let vectors = vectors(profile, 60);
        let theirs = theirs.unwrap();
        assert_eq!(libseccomp_differs(profile, &theirs, |_, arch| all_numbers(arch), &vectors), Vec::<String>::new());
        println!("ours {} instructions, libseccomp's {}", compiled(profile, Arch::X86_64).program.len(), theirs.len());
    }
}

/// Whether libseccomp is no judge of a call: two rules with different actions may hold (it documents no order
/// for these), or several ordered compares meet (2.5.4 loses values: of `<= 5` and `<= 2^63`, 2^32 - 2).
fn beyond_libseccomp(profile: &LinuxSeccomp) -> bool {
    let naive = Naive::new(profile, Arch::X86_64);
    naive.named.iter().any(|(_, _, call)| {
        let rules = Arch::X86_64.number(*call).map(|nr| naive.bearing(Arch::X86_64, nr)).unwrap_or_default();
        let always = rules.iter().any(|rule| rule.checks.is_empty());
        let ordered = [Op::ScmpCmpLt, Op::ScmpCmpLe, Op::ScmpCmpGe, Op::ScmpCmpGt];
        let bounds = rules.iter().flat_map(|rule| &rule.checks).filter(|check| ordered.contains(&check.op)).count();
        !always && (bounds > 1 || rules.windows(2).any(|pair| pair[0].action != pair[1].action))
    })
}

/// Only entries with at most one compare, of calls that all three architectures have: libseccomp 2.5.4 drops
/// rules, forgets to load the number, or never returns for others. The naive reading judges those.
#[test]
fn random_profiles_equal_libseccomp() {
    let Some(libseccomp) = Libseccomp::build() else { return };
    let mut runner = TestRunner::deterministic();
    let strategy = profile(X86_NAMES, PLAIN, 2);
    let profiles: Vec<_> = (0..1000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let (mut refused, mut ambiguous) = (0, 0);
    let mut differing = Vec::new();
    for (profile, theirs) in profiles.iter().zip(libseccomp.programs(&profiles)) {
        let ours = compile(profile, Arch::X86_64, &mut Vec::new());
        match (&ours, &theirs) {
            (None, Err(_)) => refused += 1,
            _ if beyond_libseccomp(profile) => ambiguous += 1,
            (Some(_), Ok(theirs)) => {
                let found = libseccomp_differs(profile, theirs, named_numbers, &vectors(profile, 40));
                differing.extend(
                    found.first().map(|first| format!("{}\n  {first}", serde_json::to_string(profile).unwrap())),
                );
            }
            _ => differing.push(format!(
                "ours {}, libseccomp {theirs:?}: {}",
                ours.is_some(),
                serde_json::to_string(profile).unwrap()
            )),
        }
    }
    println!(
        "{} profiles, {refused} refused by both, {ambiguous} beyond it, {} different",
        profiles.len(),
        differing.len()
    );
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
