//! `linux.sysctl`: what belongs to a namespace of the container is set there, and nothing is set for the host.

use serde_json::{Value, json};

use crate::namespaces::{Holder, in_user_namespace, join};
use crate::netdevices::{Net, ready};
use crate::support::{Output, Sandbox, bundle, read, root};

fn config(sandbox: &Sandbox, sysctl: Value, script: &str) -> Value {
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["linux"]["sysctl"] = sysctl;
    config
}

/// Log lines are quoted once more.
fn says(out: &Output, text: &str) -> bool {
    out.stderr.replace("\\\"", "\"").contains(text)
}

#[track_caller]
fn refused(sandbox: &Sandbox, config: &Value, text: &str) {
    sandbox.write(config);
    let out = sandbox.verb(&["create"]).run();
    assert!(out.code == Some(1) && says(&out, text), "{text}: {out:#?}");
    sandbox.assert_clean();
}

#[test]
fn both_forms_of_every_kind() {
    if !root() {
        return;
    }
    let settings = [
        ("kernel.msgmax", "kernel/msgmax", "4097"),
        ("kernel/msgmnb", "kernel/msgmnb", "16385"),
        ("kernel.msgmni", "kernel/msgmni", "777"),
        ("kernel.sem", "kernel/sem", "32001\t1024000001\t501\t32001"),
        ("kernel.shmall", "kernel/shmall", "99999"),
        ("kernel.shmmax", "kernel/shmmax", "88888"),
        ("kernel/shmmni", "kernel/shmmni", "4097"),
        ("kernel.shm_rmid_forced", "kernel/shm_rmid_forced", "1"),
        ("fs.mqueue.msg_max", "fs/mqueue/msg_max", "11"),
        ("fs/mqueue/queues_max", "fs/mqueue/queues_max", "257"),
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward", "1"),
        ("net/ipv4/ping_group_range", "net/ipv4/ping_group_range", "0\t2147483647"),
        ("kernel.domainname", "kernel/domainname", "example.org"),
    ];
    let sandbox = Sandbox::new();
    let sysctl: Value = settings.iter().map(|(key, _, value)| ((*key).to_owned(), json!(value))).collect();
    let before = settings.map(|(_, path, _)| read(format!("/proc/sys/{path}")));
    let files = settings.map(|(_, path, _)| path).join(" ");
    sandbox.write(&config(&sandbox, sysctl, &format!("cd /proc/sys; cat {files}")));
    let out = sandbox.run_ok();
    assert_eq!(out.stdout.lines().collect::<Vec<_>>(), settings.map(|(.., value)| value));
    assert_eq!(settings.map(|(_, path, _)| read(format!("/proc/sys/{path}"))), before, "the host's");
    sandbox.assert_clean();
}

/// A device whose name has a dot: in the form with dots a slash stands for it.
#[test]
fn a_dot_in_a_name() {
    if !ready() {
        return;
    }
    let (sandbox, net) = (Sandbox::new(), Net::with("link add v.1 type veth peer name p"));
    let sysctl = json!({ "net.ipv4.conf.v/1.rp_filter": "2", "net/ipv4/conf/v.1/forwarding": "1" });
    let mut config = config(&sandbox, sysctl, "cd /proc/sys/net/ipv4/conf/v.1; cat rp_filter forwarding");
    config["linux"]["netDevices"] = json!({ "v.1": {} });
    sandbox.write(&config);
    assert_eq!(net.verb(&sandbox, "run").ok().stdout, "2\n1\n");
    sandbox.assert_clean();
}

#[test]
fn of_user_and_joined_namespaces() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let before = read("/proc/sys/user/max_uts_namespaces");
    let sysctl = json!({ "user.max_uts_namespaces": "77", "net.ipv4.ip_forward": "1", "kernel.shmmax": "88888" });
    let script = "cd /proc/sys; cat user/max_uts_namespaces net/ipv4/ip_forward kernel/shmmax";
    let mut own = config(&sandbox, sysctl, script);
    in_user_namespace(&sandbox, &mut own);
    sandbox.write(&own);
    assert_eq!(sandbox.run_ok().stdout, "77\n1\n88888\n");
    assert_eq!(read("/proc/sys/user/max_uts_namespaces"), before);

    let holder = Holder::new(&["-n", "-i", "-u"]);
    let sysctl = json!({ "net.ipv4.ip_forward": "1", "kernel.shmmax": "88888", "kernel.domainname": "x.example" });
    let sandbox = Sandbox::new();
    let script = "cd /proc/sys; cat net/ipv4/ip_forward kernel/shmmax kernel/domainname";
    let mut joined = config(&sandbox, sysctl, script);
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        join(&mut joined, kind, &holder.path(file));
    }
    sandbox.write(&joined);
    assert_eq!(sandbox.run_ok().stdout, "1\n88888\nx.example\n");
    sandbox.assert_clean();
}

/// A namespace that is named by a path and is the runtime's own is the host's.
#[test]
fn the_hosts_own_namespaces() {
    if !root() {
        return;
    }
    for (kind, file, key, text) in [
        (
            "network",
            "net",
            "net.ipv4.ip_forward",
            "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace",
        ),
        ("ipc", "ipc", "kernel.shmmax", "sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace"),
        ("uts", "uts", "kernel.domainname", "sysctl \"kernel.domainname\" is not in a separate kernel namespace"),
    ] {
        let sandbox = Sandbox::new();
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let before = read(&path);
        // what is there already: if it were set all the same, nothing would come of it
        let mut config = config(&sandbox, json!({ key: before.trim() }), "true");
        config.as_object_mut().unwrap().remove("hostname");
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|ns| ns["type"] != kind);
        refused(&sandbox, &config, &format!("linux.sysctl: {text}"));
        join(&mut config, kind, &format!("/proc/{}/ns/{file}", std::process::id()));
        refused(&sandbox, &config, &format!("linux.sysctl: {text}"));
        assert_eq!(read(&path), before);
        // without the setting it is allowed
        config["linux"].as_object_mut().unwrap().remove("sysctl");
        sandbox.write(&config);
        sandbox.run_ok();
    }
}

#[test]
fn what_is_no_setting_of_a_container() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    for (key, value, text) in [
        ("vm.swappiness", "1", "sysctl \"vm.swappiness\" is not in a separate kernel namespace"),
        ("kernel.core_pattern", "|/x", "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace"),
        (
            "kernel.hostname",
            "x",
            "sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field",
        ),
        (
            "user.max_net_namespaces",
            "1",
            "setting ucounts without a user namespace not allowed: user.max_net_namespaces",
        ),
        ("net.//.kernel.core_pattern", "|/x", "has a part that is \".\" or \"..\""),
        ("net/../kernel/core_pattern", "|/x", "has a part that is \".\" or \"..\""),
        ("net.ipv4.ip_forward", "1\nkernel.core_pattern=|/x", "must be one line without nul bytes"),
        ("net.ipv4.ip_forward", "1\u{0}", "must be one line without nul bytes"),
        // CVE-2022-0811 was a separator in a value; here it is only a value that the kernel refuses
        ("net.ipv4.ip_forward", "1+kernel.core_pattern=|/x", "linux.sysctl: write: invalid argument"),
        ("net.nonesuch", "1", "linux.sysctl: openat2: no such file or directory"),
    ] {
        refused(&sandbox, &config(&sandbox, json!({ key: value }), "true"), text);
    }
}
