//! The comparison with libseccomp: programs for the same profiles, asked the same questions. Skipped, with a word,
//! where cc or libseccomp-dev are missing.

use super::*;
use libcontain::plan::seccomp::{Call, Insn};
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
            Ok(output) => skip(&String::from_utf8_lossy(&output.stderr)),
            Err(error) => skip(&format!("cc: {error}")),
        }
    }

    /// The profile without the names that are newer than this libseccomp.
    fn known(&self, profile: &LinuxSeccomp) -> LinuxSeccomp {
        let names = profile.syscalls().iter().flatten().flat_map(|entry| entry.names());
        let output = Command::new(&self.program).args(names).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let known: BTreeSet<&str> = text.lines().collect();
        assert!(known.len() > 200, "it knows hardly a name: {known:?}");
        let mut value = serde_json::to_value(profile).unwrap();
        for entry in value["syscalls"].as_array_mut().unwrap() {
            entry["names"].as_array_mut().unwrap().retain(|name| known.contains(name.as_str().unwrap()));
        }
        serde_json::from_value(value).unwrap()
    }

    /// One program, or the errno, for each profile, built as runc builds it.
    fn programs(&self, profiles: &[LinuxSeccomp], native: spec::Arch) -> Vec<Result<Vec<Insn>, i32>> {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the oracle starts");
        let mut input = child.stdin.take().unwrap();
        let text: String = profiles.iter().map(|profile| script(profile, native)).collect();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        writer.join().unwrap();
        assert!(child.wait().unwrap().success(), "libseccomp fails or does not come back");
        output.lines().map(parse_program).collect()
    }
}

/// On stderr itself, which the test harness does not capture: a judge that is missing has to be missed.
fn skip<T>(why: &str) -> Option<T> {
    let _ = writeln!(std::io::stderr(), "SKIPPED: no libseccomp to compare with: {why}");
    None
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
fn script(profile: &LinuxSeccomp, native: spec::Arch) -> String {
    let default = Naive::value(profile.default_action(), profile.default_errno_ret());
    let mut text = format!("begin {default}\nnative {}\n", native as u32);
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

/// Calls that Linux has there (uapi of 6.7 and later) and libseccomp 2.5.4 does not know of.
const UNKNOWN: [(Arch, &str); 1] = [(Arch::X32, "map_shadow_stack")];

/// Where our program and libseccomp's differ, apart from the ENOSYS that runc's patch adds to the latter.
fn libseccomp_differs(
    profile: &LinuxSeccomp,
    native: Arch,
    theirs: &[Insn],
    numbers: fn(&LinuxSeccomp, Arch) -> Vec<u32>,
    vectors: &[[u64; 6]],
) -> Vec<String> {
    let (filter, naive) = (compiled(profile, native), Naive::new(profile, native));
    let mut differences = Vec::new();
    let family = if native == Arch::X86_64 { &X86_FAMILY[..] } else { &naive.archs };
    for (arch, audit) in audits(family) {
        let unknown =
            |nr: &u32| UNKNOWN.iter().any(|(of, name)| Call::named(name).and_then(|call| of.number(call)) == Some(*nr));
        for nr in numbers(profile, arch).into_iter().filter(|nr| !unknown(nr)) {
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
    for (name, json) in REAL {
        let profile = libseccomp.known(&parse(json));
        let vectors = vectors(&profile, 60);
        let theirs = libseccomp.programs(std::slice::from_ref(&profile), spec::Arch::ScmpArchX86_64).remove(0).unwrap();
        let found = libseccomp_differs(&profile, Arch::X86_64, &theirs, |_, arch| all_numbers(arch), &vectors);
        assert!(found.is_empty(), "{name}: {}", found.join("\n"));
        let ours = compiled(&profile, Arch::X86_64).program.len();
        println!("{name}: ours {ours} instructions, libseccomp's {}", theirs.len());
    }
}

/// The same profiles as an engine gives them on other machines. Not on s390x: libseccomp 2.5.4, asked on a little-endian
/// machine, writes some of the returns of a big-endian program in the wrong byte order.
#[test]
fn real_profiles_equal_libseccomp_elsewhere() {
    let Some(libseccomp) = Libseccomp::build() else { return };
    for (native, token, listed) in [
        (Arch::Aarch64, spec::Arch::ScmpArchAarch64, &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"][..]),
        (Arch::Riscv64, spec::Arch::ScmpArchRiscv64, &["SCMP_ARCH_RISCV64"]),
        (Arch::Ppc64le, spec::Arch::ScmpArchPpc64le, &["SCMP_ARCH_PPC64LE"]),
    ] {
        for (name, json) in REAL {
            let mut value = serde_json::to_value(libseccomp.known(&parse(json))).unwrap();
            value["architectures"] = serde_json::json!(listed);
            let profile: LinuxSeccomp = serde_json::from_value(value).unwrap();
            let vectors = vectors(&profile, 20);
            let theirs = libseccomp.programs(std::slice::from_ref(&profile), token).remove(0).unwrap();
            let found = libseccomp_differs(&profile, native, &theirs, |_, arch| all_numbers(arch), &vectors);
            let few: Vec<&str> = found.iter().take(20).map(String::as_str).collect();
            assert!(found.is_empty(), "{name} {native:?}: {} of {}", few.join("\n"), found.len());
        }
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
    for (profile, theirs) in profiles.iter().zip(libseccomp.programs(&profiles, spec::Arch::ScmpArchX86_64)) {
        let ours = compile(profile, Arch::X86_64, &mut Vec::new());
        match (&ours, &theirs) {
            (None, Err(_)) => refused += 1,
            _ if beyond_libseccomp(profile) => ambiguous += 1,
            (Some(_), Ok(theirs)) => {
                let found = libseccomp_differs(profile, Arch::X86_64, theirs, named_numbers, &vectors(profile, 40));
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
