//! The program that runs inside: a shell script which prints what it sees, one section per kind of fact.
//!
//! It only prints. What should have been seen is computed from the config by [`super::verify`].

use std::collections::BTreeMap;

use serde_json::Value;

use super::bundle::strings;

/// What a probe printed: section name to lines.
#[derive(Debug)]
pub struct Probe(BTreeMap<String, Vec<String>>);

const FACTS: &str = r#"
s() { echo "@@$1"; }
s fds; ls -l /proc/$$/fd
s environ; tr '\0' '\n' </proc/$$/environ
s status; cat /proc/$$/status
s limits; cat /proc/$$/limits
s uid; id -u
s gid; id -g
s groups; id -G
s umask; umask
s cwd; pwd
s hostname; hostname
s oom; cat /proc/$$/oom_score_adj
s pid; echo $$
s pids; ls /proc | grep '^[0-9]'
s mountinfo; cat /proc/self/mountinfo
s lo; cat /sys/class/net/lo/flags; ls /sys/class/net
s ns; for n in cgroup ipc mnt net pid time user uts; do echo $n $(readlink /proc/$$/ns/$n); done
s dev; for f in /dev/*; do
  if [ -L $f ]; then echo $f link $(readlink $f); else echo $f $(stat -c '%t:%T %a %u:%g %F' $f); fi; done
s modes; for f in /dev /dev/shm /run /tmp; do [ -e $f ] && echo $f $(stat -c '%a' $f); done
s seccomp; unshare -U true 2>&1; echo unshare $?; linux32 true 2>&1; echo linux32 $?
"#;

const PATHS: &str = r#"
masked() { if [ -d $1 ]; then echo dir $1 $(ls -A $1 | wc -l); elif [ -e $1 ]; then echo file $1 $(cat $1 | wc -c)
  else echo absent $1 0; fi; }
ro_path() { if [ ! -e $1 ]; then echo absent $1; return; fi
  f=$1; [ -d $1 ] && f=$(find $1 -type f 2>/dev/null | head -n 1); [ -z "$f" ] && f=$1/.probe
  if (: >>$f) 2>/dev/null; then echo writable $1 $f; else echo refused $1 $( (: >>$f) 2>&1 ); fi; }
"#;

const DEVICES: &str = r#"
s devices; mkdir -p /tmp/nodes; mknod /tmp/nodes/kmsg c 1 11 && mknod /tmp/nodes/zero c 1 5
(: </tmp/nodes/kmsg) 2>&1; echo kmsg $?; head -c 1 /tmp/nodes/zero | wc -c; rm -r /tmp/nodes
"#;

/// The script for a config: its facts, and the paths, sysctls and devices that the config names.
pub fn script(config: &Value) -> String {
    let mut script = format!("{FACTS}{PATHS}");
    script.push_str("s masked\n");
    for path in strings(&config["linux"]["maskedPaths"]) {
        script.push_str(&format!("masked {path}\n"));
    }
    script.push_str("s readonly\n");
    for path in strings(&config["linux"]["readonlyPaths"]) {
        script.push_str(&format!("ro_path {path}\n"));
    }
    script.push_str("s sysctl\n");
    for key in config["linux"]["sysctl"].as_object().into_iter().flat_map(|m| m.keys()) {
        script.push_str(&format!("echo {key} $(cat /proc/sys/{})\n", key.replace('.', "/")));
    }
    if can_make_nodes(config) {
        script.push_str(DEVICES);
    }
    script.push_str("s end\n");
    script
}

/// Whether the program may make device nodes, and so can try the device rules.
pub fn can_make_nodes(config: &Value) -> bool {
    strings(&config["process"]["capabilities"]["effective"]).contains(&"CAP_MKNOD")
        && config["root"]["readonly"].as_bool() != Some(true)
}

impl Probe {
    pub fn parse(output: &str) -> Self {
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut current = "before".to_owned();
        for line in output.lines() {
            match line.strip_prefix("@@") {
                Some(name) => {
                    current = name.to_owned();
                    sections.entry(current.clone()).or_default();
                }
                None => sections.entry(current.clone()).or_default().push(line.to_owned()),
            }
        }
        assert!(sections.contains_key("end"), "the probe did not finish:\n{output}");
        Probe(sections)
    }

    pub fn lines(&self, section: &str) -> &[String] {
        self.0.get(section).unwrap_or_else(|| panic!("no section {section}"))
    }

    pub fn line(&self, section: &str) -> &str {
        self.lines(section).first().map_or("", String::as_str)
    }

    /// The value after `key` and a colon or blank in a section of key-value lines.
    pub fn value(&self, section: &str, key: &str) -> Option<String> {
        let mut lines = self.lines(section).iter();
        lines.find_map(|l| {
            let rest = l.strip_prefix(key)?;
            rest.starts_with([':', ' ', '\t']).then(|| rest.trim_start_matches(':').trim().to_owned())
        })
    }
}
