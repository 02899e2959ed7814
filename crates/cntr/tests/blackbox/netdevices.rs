//! `linux.netDevices`: devices that the runtime moves into the container, and gives back when it fails.
//!
//! "The host" of these tests is a network namespace that each makes for itself: the machine's own devices are
//! never touched, and no two tests can meet.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::namespaces::{Holder, in_user_namespace, join};
use crate::support::{Cmd, Output, Sandbox, bundle, have, host, read, root, wait_for, words};

/// A network namespace in the part of the host's.
pub(crate) struct Net {
    _holder: Holder,
    path: String,
}

impl Net {
    /// Each line is one command of ip(8).
    pub fn with(commands: &str) -> Self {
        let holder = Holder::new(&["-n"]);
        let net = Net { path: holder.path("net"), _holder: holder };
        for line in commands.lines().map(str::trim).filter(|line| !line.is_empty()) {
            net.ip(line);
        }
        net
    }

    fn ip(&self, arguments: &str) -> String {
        let net = format!("--net={}", self.path);
        host("nsenter", &[&[net.as_str(), "ip"], words(arguments).as_slice()].concat())
    }

    /// The runtime as a process of that host.
    pub fn verb(&self, sandbox: &Sandbox, verb: &str) -> Cmd {
        sandbox.verb(&[verb]).wrapped(&["nsenter", &format!("--net={}", self.path), "--"])
    }

    fn has(&self, device: &str) -> bool {
        self.state().iter().any(|link| link["ifname"] == device)
    }

    /// Every device with all that a container must not change by failing.
    fn state(&self) -> Vec<Value> {
        let all: Value = serde_json::from_str(&self.ip("-j -d address")).unwrap();
        let mut all = all.as_array().unwrap().clone();
        for link in &mut all {
            let up = link["flags"].as_array().unwrap().contains(&json!("UP"));
            let addresses = link["addr_info"].as_array().unwrap().iter().filter(|a| a["scope"] != "link");
            let keep =
                ["family", "local", "address", "prefixlen", "broadcast", "scope", "label", "metric", "noprefixroute"];
            let kept = |a: &Value| Value::Array(keep.iter().map(|key| a[key].clone()).collect());
            let addresses: Vec<Value> = addresses.map(kept).collect();
            let facts =
                ["ifname", "ifindex", "mtu", "address", "master"].map(|key| (key.to_owned(), link[key].clone()));
            *link = facts.into_iter().collect();
            link["up"] = up.into();
            link["addresses"] = addresses.into();
        }
        all.sort_by_key(|link| link["ifindex"].as_u64());
        all
    }
}

/// A veth pair, one side with addresses of many kinds.
const VETH: &str = "
    link add e0 address 02:00:00:00:00:07 mtu 1400 type veth peer name p0
    address add 10.1.0.2/24 broadcast 10.1.0.255 dev e0 label e0:one
    address add 10.1.0.3/24 dev e0
    address add 192.0.2.1/32 peer 192.0.2.9 dev e0 metric 77
    address add 169.254.7.7/16 dev e0 scope link
    address add 10.9.0.1/24 dev e0 valid_lft 1000 preferred_lft 500
    link set e0 up
    address add 2001:db8::2/64 dev e0 nodad
    address add 2001:db8::3/64 dev e0 nodad noprefixroute
";

fn config(sandbox: &Sandbox, devices: Value, script: &str) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["netDevices"] = devices;
    config
}

pub(crate) fn ready() -> bool {
    root() && have("ip") && have("nsenter")
}

/// The paragraph of a device in what ip(8) prints, as words.
fn device<'a>(output: &'a str, name: &str) -> Vec<&'a str> {
    let mut lines = output.lines().skip_while(|line| words(line).get(1).is_none_or(|w| device_name(w) != name));
    let first = lines.next().unwrap_or_else(|| panic!("no device {name} in:\n{output}"));
    let more = lines.take_while(|line| line.starts_with(' '));
    std::iter::once(first).chain(more).flat_map(words).collect()
}

fn device_name(word: &str) -> &str {
    word.trim_end_matches(':').split('@').next().unwrap_or("")
}

fn has(words: &[&str], phrase: &str) -> bool {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words.windows(phrase.len()).any(|window| window == phrase)
}

/// Log lines are quoted once more.
fn says(out: &Output, text: &str) -> bool {
    out.stderr.replace("\\\"", "\"").contains(text)
}

/// VETH's e0 as it has to be seen in a container.
#[track_caller]
fn assert_moved(output: &str, name: &str) {
    let seen = device(output, name);
    for phrase in [
        "mtu 1400",
        "link/ether 02:00:00:00:00:07",
        "inet 10.1.0.2/24 brd 10.1.0.255 scope global",
        "inet 10.1.0.3/24 scope global secondary",
        "inet 192.0.2.1 peer 192.0.2.9/32",
        "inet6 2001:db8::2/64 scope global",
        "inet6 2001:db8::3/64 scope global",
    ] {
        assert!(has(&seen, phrase), "{phrase}:\n{output}");
    }
    assert!(seen[2].contains(",UP") || seen[2].contains("<UP"), "not up:\n{output}");
    for phrase in ["169.254.7.7/16", "10.9.0.1/24", "e0:one"] {
        assert!(!seen.contains(&phrase), "{phrase} must stay behind:\n{output}");
    }
}

#[test]
fn name_addresses_mac_mtu_and_up() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    sandbox.write(&config(
        &sandbox,
        json!({ "e0": { "name": "eth0" }, "p0": {} }),
        "ip address; cat /sys/class/net/p0/operstate",
    ));
    let out = net.verb(&sandbox, "run").ok();
    assert_moved(&out.stdout, "eth0");
    // it was down, and has kept its name
    let peer = device(&out.stdout, "p0");
    assert!(peer[2].contains("UP") && out.stdout.ends_with("up\n"), "{out:#?}");
    // the kernel has removed them together with the container's namespace
    wait_for("the end of a network namespace", || (!net.has("e0") && !net.has("p0")).then_some(()));
    sandbox.assert_clean();
}

/// The same name keeps the label of an IPv4 address, which begins with it.
#[test]
fn a_label_stays_with_the_name() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    sandbox.write(&config(&sandbox, json!({ "e0": {} }), "ip address show dev e0"));
    let out = net.verb(&sandbox, "run").ok();
    assert!(has(&device(&out.stdout, "e0"), "inet 10.1.0.2/24 brd 10.1.0.255 scope global e0:one"), "{out:#?}");
}

#[test]
fn templates_are_numbered_by_the_kernel() {
    if !ready() {
        return;
    }
    let taps = "tuntap add t1 mode tap\n tuntap add t2 mode tap\n address add 10.2.0.1/24 dev t2";
    let (sandbox, net) = (Sandbox::new(), Net::with(taps));
    let devices = json!({ "t1": { "name": "eth%d" }, "t2": { "name": "eth%d" } });
    sandbox.write(&config(&sandbox, devices.clone(), "ip address"));
    let out = net.verb(&sandbox, "run").ok();
    device(&out.stdout, "eth0");
    assert!(has(&device(&out.stdout, "eth1"), "inet 10.2.0.1/24 scope global"), "{out:#?}");

    // a name and an index that are taken already
    let net = Net::with(taps);
    let inside = Net::with("link add eth0 type veth peer name x\n link add y type veth peer name z\n link del y");
    let mut joined = config(&sandbox, devices, "ip address");
    join(&mut joined, "network", &inside.path);
    sandbox.write(&joined);
    let out = net.verb(&sandbox, "run").ok();
    device(&out.stdout, "eth1");
    assert!(has(&device(&out.stdout, "eth2"), "inet 10.2.0.1/24 scope global"), "{out:#?}");
    sandbox.assert_clean();
}

#[test]
fn into_a_user_namespace() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    let script = "ip address; ip link set eth0 mtu 1000 && ip link show eth0";
    let mut config = config(&sandbox, json!({ "e0": { "name": "eth0" } }), script);
    in_user_namespace(&sandbox, &mut config);
    sandbox.write(&config);
    let out = net.verb(&sandbox, "run").ok();
    assert_moved(&out.stdout, "eth0");
    assert!(out.stdout.contains("mtu 1000"), "it belongs to the container's root: {out:#?}");
    sandbox.assert_clean();
}

/// A namespace that outlives the container keeps what it has got.
#[test]
fn into_a_joined_namespace() {
    if !ready() {
        return;
    }
    let (sandbox, net, inside) = (Sandbox::new(), Net::with(VETH), Net::with("link set lo up"));
    let mut config = config(&sandbox, json!({ "e0": { "name": "eth0" } }), "ip address");
    join(&mut config, "network", &inside.path);
    sandbox.write(&config);
    assert_moved(&net.verb(&sandbox, "run").ok().stdout, "eth0");
    sandbox.assert_clean();
    assert!(!net.has("e0") && net.has("p0") && inside.has("eth0"));
}

/// Before any hook, and for the container of `create` and `start` as for that of `run`.
#[test]
fn hooks_see_the_device() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    let mut config = config(&sandbox, json!({ "e0": { "name": "eth0" } }), "sleep 1000");
    for (list, enter) in [("prestart", true), ("createRuntime", true), ("createContainer", false)] {
        let file = sandbox.path(list).display().to_string();
        // in the runtime's namespaces the pid is what leads there
        let enter = if enter { "nsenter -n -t $(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')" } else { "" };
        let script = format!("{enter} ip address >{file}");
        config["hooks"][list] =
            json!([{ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"] }]);
    }
    sandbox.write(&config);
    net.verb(&sandbox, "create").ok();
    for list in ["prestart", "createRuntime", "createContainer"] {
        let seen = read(sandbox.path(list));
        assert!(has(&device(&seen, "eth0"), "inet 10.1.0.3/24 scope global secondary"), "{list}: {seen}");
    }
    sandbox.verb(&["start"]).ok();
    sandbox.verb(&["delete", "--force"]).ok();
    sandbox.assert_clean();
}

type Edit = fn(&mut Value);

/// What fails, how it is made to, and what is said.
const FAILURES: [(&str, Edit, &str); 10] = [
    (
        "missing",
        |c| c["linux"]["netDevices"]["nosuch"] = json!({}),
        "link not found for interface nosuch on runtime namespace: no such device",
    ),
    (
        "cannot be moved",
        |c| c["linux"]["netDevices"]["z0"] = json!({}),
        "network device \"z0\": fail to move it to the container's network namespace as \"z0\": invalid argument",
    ),
    (
        "taken",
        |c| c["linux"]["netDevices"]["p0"] = json!({ "name": "lo" }),
        "the name \"lo\" is taken in the container's network namespace: file exists",
    ),
    (
        "taken by a template",
        |c| c["linux"]["netDevices"] = json!({ "e0": { "name": "eth%d" }, "p0": { "name": "eth0" } }),
        "the name \"eth0\" is taken",
    ),
    (
        "a hook",
        |c| c["hooks"]["createRuntime"] = json!([{ "path": "/bin/false" }]),
        "error running createRuntime hook #0",
    ),
    (
        "a hook inside",
        |c| c["hooks"]["createContainer"] = json!([{ "path": "/bin/false" }]),
        "error running createContainer hook #0",
    ),
    (
        "a mount",
        |c| {
            bundle::set(
                c,
                "/mounts/-",
                Some(json!({ "destination": "/mnt", "type": "tmpfs", "source": "x", "options": ["bogus=1"] })),
            )
        },
        "bogus",
    ),
    ("the program", |c| c["process"]["args"] = json!(["/no/such"]), "no such file or directory"),
    ("no program", |c| c["process"]["args"] = json!(["/etc/passwd"]), "permission denied"),
    ("poststart", |c| c["hooks"]["poststart"] = json!([{ "path": "/bin/false" }]), "error running poststart hook #0"),
];

/// Whatever fails, before, while or after devices are moved: the host is as before.
#[test]
fn a_failure_gives_everything_back() {
    if !ready() {
        return;
    }
    let ports = "link add z0 type bridge\n link add b0 type bridge\n link set p0 master b0\n link set p0 up\n";
    for (case, edit, text) in FAILURES {
        let (sandbox, net) = (Sandbox::new(), Net::with(&format!("{VETH}{ports}")));
        let mut config = config(&sandbox, json!({ "e0": { "name": "eth0" }, "p0": {} }), "sleep 1000");
        edit(&mut config);
        sandbox.write(&config);
        let before = net.state();
        let out = net.verb(&sandbox, "run").run();
        assert!(out.code != Some(0) && says(&out, text), "{case}: {out:#?}");
        assert_eq!(before, net.state(), "{case}: {}", out.stderr);
        sandbox.assert_clean();
    }
}

/// A failure with a name that exists in there, and an index that does.
#[test]
fn a_joined_namespace_gives_back_too() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    let inside = Net::with("link add one type veth peer name two\n link add three type veth peer name four");
    let mut config = config(&sandbox, json!({ "e0": { "name": "eth%d" }, "p0": { "name": "one" } }), "true");
    join(&mut config, "network", &inside.path);
    sandbox.write(&config);
    let before = (net.state(), inside.state());
    let out = net.verb(&sandbox, "create").run();
    assert!(says(&out, "the name \"one\" is taken"), "{out:#?}");
    assert_eq!(before, (net.state(), inside.state()));
    sandbox.assert_clean();
}

#[track_caller]
fn refused(net: &Net, sandbox: &Sandbox, text: &str) -> Output {
    let out = net.verb(sandbox, "create").run();
    assert!(out.code == Some(1) && says(&out, text), "{text}: {out:#?}");
    sandbox.assert_clean();
    out
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_touched() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(VETH));
    let before = net.state();
    let mut own = config(&sandbox, json!({ "e0": {} }), "true");
    join(&mut own, "network", &net.path);
    sandbox.write(&own);
    refused(&net, &sandbox, "unable to move network devices without a NET namespace");
    own["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != "network");
    sandbox.write(&own);
    refused(&net, &sandbox, "unable to move network devices without a NET namespace");
    sandbox.write(&config(&sandbox, json!({ "e0": { "name": "a/b" } }), "true"));
    refused(&net, &sandbox, "invalid network device name \"a/b\"");
    assert_eq!(before, net.state());
}

/// The container's namespace dies with its init, and the kernel deletes what is virtual; `delete` has nothing to do with
/// devices and is not confused.
#[test]
fn a_killed_create_is_cleaned_up() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with(&format!("{VETH} link add other type veth peer name another")));
    let mark = sandbox.path("mark");
    let mut config = config(&sandbox, json!({ "e0": { "name": "eth0" } }), "sleep 1000");
    let script = format!("echo >{}; exec sleep 30", mark.display());
    config["hooks"]["createRuntime"] =
        json!([{ "path": "/bin/sh", "args": ["sh", "-c", script, &sandbox.id, sandbox.dir()] }]);
    sandbox.write(&config);
    let running = net.verb(&sandbox, "create").spawn();
    wait_for("the hook", || fs::metadata(&mark).ok());
    running.signal(Signal::SIGKILL);
    running.wait();
    net.verb(&sandbox, "delete").args(&["--force"]).ok();
    wait_for("the end of a network namespace", || (!net.has("p0")).then_some(()));
    assert!(!net.has("e0") && net.has("other") && net.has("another"));
}
