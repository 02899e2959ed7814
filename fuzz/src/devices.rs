//! Bytes are device rules. The lines for v1 and the program for v2 answer every request as the kernel's v1 controller,
//! fed with the rules one by one, would; or the rules are refused.

use libcontain::Level;
use libcontain::plan::devices::{Kind, Policy, policy};
use libcontain::spec::{LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType};

use super::bytes::Bytes;

/// One rule or request: block, major, minor, access bits (mknod 1, read 2, write 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    block: bool,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

/// The controller of v1: whether it allows by default, and the exceptions.
#[derive(Debug, Default)]
struct Controller {
    allow: bool,
    exceptions: Vec<Device>,
}

pub fn judge(data: &[u8]) {
    let (rules, asked) = decode(data);
    let mut problems = Vec::new();
    let planned = policy(&rules, &mut problems);
    assert_eq!(planned, policy(&rules, &mut Vec::new()));
    assert!(problems.iter().all(|problem| !problem.to_string().is_empty()));
    let kernel = of_lines(&planned);
    let refused = problems.iter().any(|problem| problem.level == Level::Error);
    let asked_for = if refused { None } else { Some(of_rules(&rules)) };
    let program = match planned.program() {
        Ok(program) => program.map(|program| program.bytes().concat()),
        Err(text) => return assert!(!text.is_empty()), // larger than the kernel takes
    };
    let exceptions = planned.exceptions.iter().map(|e| (e.kind == Kind::Block, e.major, e.minor));
    let near = exceptions.map(|(block, major, minor)| Device { block, major, minor, access: 0 });
    let requests: Vec<Device> = asked.iter().copied().chain(near).flat_map(requests).collect();
    for (request, answer) in requests.iter().zip(run(program.as_deref(), &requests)) {
        assert_eq!(answer, kernel.answers(*request), "{request:?} {planned:?}");
        let wanted = asked_for.as_ref().is_none_or(|controller| controller.answers(*request) == answer);
        assert!(wanted, "{request:?} {planned:?} {rules:?}");
    }
}

/// Every access to a device and to its neighbours.
fn requests(device: Device) -> impl Iterator<Item = Device> {
    [(0, 0), (0, 1), (1, 0)].into_iter().flat_map(move |(more, next)| {
        let major = Some(device.major.unwrap_or(9).wrapping_add(more));
        let minor = Some(device.minor.unwrap_or(9).wrapping_add(next));
        (1..8).map(move |access| Device { major, minor, access, ..device })
    })
}

/// Rules as a config has them, and devices to ask about.
fn decode(data: &[u8]) -> (Vec<LinuxDeviceCgroup>, Vec<Device>) {
    const ACCESS: [&str; 10] = ["rwm", "r", "w", "m", "rw", "rm", "mw", "wr", "", "x"];
    const KINDS: [LinuxDeviceType; 6] = [
        LinuxDeviceType::C,
        LinuxDeviceType::B,
        LinuxDeviceType::C,
        LinuxDeviceType::A,
        LinuxDeviceType::P,
        LinuxDeviceType::U,
    ];
    let mut bytes = Bytes::new(data);
    let (mut rules, mut asked) = (Vec::new(), Vec::new());
    while !bytes.is_empty() && rules.len() < 200 {
        let head = bytes.byte();
        let mut number = |wide: bool| match bytes.byte() {
            255 => None,
            254 => Some(-1),
            253 => Some(i64::from(bytes.u32())),
            252 => Some(i64::MIN),
            small if wide => Some(i64::from(small % 4)),
            small => Some(i64::from(small)),
        };
        let (major, minor) = (number(true), number(false));
        let mut rule = LinuxDeviceCgroupBuilder::default().allow(head & 1 != 0).typ(KINDS[usize::from(head >> 1) % 6]);
        rule = rule.access(*bytes.pick(&ACCESS));
        if let Some(major) = major {
            rule = rule.major(major);
        }
        if let Some(minor) = minor {
            rule = rule.minor(minor);
        }
        rules.push(rule.build().unwrap());
        let id = |number: Option<i64>| number.and_then(|number| u32::try_from(number).ok());
        asked.push(Device { block: head & 2 != 0, major: id(major), minor: id(minor), access: 0 });
    }
    (rules, asked)
}

/// The controller after the lines of a policy were written to it.
fn of_lines(policy: &Policy) -> Controller {
    let mut controller = Controller::default();
    for (file, line) in policy.lines() {
        let words: Vec<&str> = line.split([' ', ':']).collect();
        controller.write(file == "devices.allow", &words);
    }
    controller
}

/// The controller after the rules of the config and runc's own were written to it.
fn of_rules(rules: &[LinuxDeviceCgroup]) -> Controller {
    let mut controller = Controller::default();
    for rule in rules {
        let number = |number: Option<i64>| number.filter(|n| *n != -1).map_or("*".to_owned(), |n| n.to_string());
        let (major, minor) = (number(rule.major()), number(rule.minor()));
        let words = match rule.typ() {
            Some(LinuxDeviceType::A) => vec!["a"],
            Some(LinuxDeviceType::B) => vec!["b", &major, &minor, rule.access().as_deref().unwrap()],
            _ => vec!["c", &major, &minor, rule.access().as_deref().unwrap()],
        };
        controller.write(rule.allow(), &words);
    }
    for kind in ["b", "c"] {
        controller.write(true, &[kind, "*", "*", "m"]);
    }
    for (major, minor) in [
        ("1", "3"),
        ("1", "8"),
        ("1", "7"),
        ("5", "0"),
        ("1", "5"),
        ("1", "9"),
        ("136", "*"),
        ("5", "2"),
        ("10", "200"),
    ] {
        controller.write(true, &["c", major, minor, "rwm"]);
    }
    controller
}

impl Controller {
    /// A write to `devices.allow` or `devices.deny`: `devcgroup_update_access` of security/device_cgroup.c.
    fn write(&mut self, allow: bool, words: &[&str]) {
        let [kind @ ("b" | "c"), major, minor, letters] = *words else {
            assert_eq!(words, ["a"]);
            *self = Controller { allow, exceptions: Vec::new() };
            return;
        };
        let number = |word: &str| (word != "*").then(|| word.parse::<u32>().unwrap());
        let bit = |letter| 1 << "mrw".find(letter).unwrap();
        let access = letters.chars().fold(0u8, |bits, letter| bits | bit(letter));
        let (block, major, minor) = (kind == "b", number(major), number(minor));
        let same = |e: &&mut Device| (e.block, e.major, e.minor) == (block, major, minor);
        match self.exceptions.iter_mut().find(same) {
            Some(exception) if allow == self.allow => exception.access &= !access,
            Some(exception) => exception.access |= access,
            None if allow == self.allow => {}
            None => self.exceptions.push(Device { block, major, minor, access }),
        }
        self.exceptions.retain(|exception| exception.access != 0);
    }

    /// `match_exception` and `match_exception_partial` of security/device_cgroup.c.
    fn answers(&self, request: Device) -> bool {
        let is = |rule: Option<u32>, asked: Option<u32>| rule.is_none() || rule == asked;
        let mut speaking = self.exceptions.iter().filter(|exception| {
            exception.block == request.block && is(exception.major, request.major) && is(exception.minor, request.minor)
        });
        if self.allow {
            !speaking.any(|exception| exception.access & request.access != 0)
        } else {
            speaking.any(|exception| request.access & !exception.access == 0)
        }
    }
}

/// What the program says. It is made once: rbpf verifies it each time.
fn run(program: Option<&[u8]>, requests: &[Device]) -> Vec<bool> {
    let context = |request: &Device| {
        let kind: u32 = if request.block { 1 } else { 2 };
        let head = kind | u32::from(request.access) << 16;
        [head, request.major.unwrap(), request.minor.unwrap()].map(u32::to_ne_bytes).concat()
    };
    let Some(program) = program else { return vec![true; requests.len()] };
    let mut contexts: Vec<Vec<u8>> = requests.iter().map(context).collect();
    let machine = rbpf::EbpfVmRaw::new(Some(program)).unwrap();
    contexts.iter_mut().map(|context| machine.execute_program(context).unwrap() == 1).collect()
}
