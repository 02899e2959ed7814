//! What a kubelet asks of containerd: pods of a RuntimeClass whose handler is `cntr`.
//!
//! Debian has neither a kubelet nor crictl. The calls are gRPC, which is a POST over HTTP/2: curl makes them, and the few
//! messages are written and read here, field by field (k8s.io/cri-api, runtime/v1/api.proto). Pods have the network of
//! the room, so that no CNI is needed.

use std::fs;

use super::{Containerd, IMAGE};
use crate::checks::Check;
use crate::image;
use crate::support::{have, read, wait_for};

pub const CHECKS: &[Check<Containerd>] = &[("cri_config", config), ("cri_pod", pod)];

/// The image of a pod's own container.
pub const PAUSE: &str = "docker.io/library/pause:latest";

/// The config that docs/engines.md shows is understood, and the plugin runs with it.
fn config(c: &Containerd) {
    let containerd = c.room.command("containerd").arg("--config").arg(c.room.path("config.toml"));
    let dump = containerd.args(&["config", "dump"]).ok().stdout;
    let runtimes = dump.split("containerd.runtimes.cntr.options]").nth(1).unwrap_or_else(|| panic!("{dump}"));
    let binary = crate::support::runtime();
    let line = format!("BinaryName = \"{}\"", binary.display());
    assert!(runtimes.lines().nth(1).is_some_and(|l| l.trim() == line), "{dump}");
    let plugins = c.ok(&["plugins", "ls"]);
    let cri = plugins.lines().find(|l| l.contains(" cri ")).unwrap_or_else(|| panic!("{plugins}"));
    assert!(cri.trim().ends_with("ok"), "{cri}");
}

fn pod(c: &Containerd) {
    if !have("curl") {
        return;
    }
    for (name, command) in [(IMAGE, ["sh", ""]), (PAUSE, ["sleep", "100000"])] {
        let archive = image::archive_of(c.room.dir(), name, &command);
        c.ok(&["-n", "k8s.io", "images", "import", &archive.to_string_lossy()]);
        let known =
            || call(c, "ImageService/ImageStatus", &message(1, &[text(1, name)])).is_ok_and(|image| !image.is_empty());
        wait_for("containerd to see the image", || known().then_some(()));
    }
    let network = message(2, &[message(1, &[number(1, 2)])]); // NamespaceMode NODE
    let metadata = message(1, &[text(1, "pod"), text(2, "uid"), text(3, "tests")]);
    let sandbox = [metadata, message(8, &[text(1, &c.room.cgroup_parent()), network])];
    let request = |handler: &str| [message(1, &sandbox), text(2, handler)].concat();
    let error = call(c, "RuntimeService/RunPodSandbox", &request("nosuch")).expect_err("no such class");
    assert!(error.contains("nosuch"), "{error}");
    let pod = first(call(c, "RuntimeService/RunPodSandbox", &request("cntr")));
    assert_eq!(c.ok(&["-n", "k8s.io", "task", "ls", "-q"]).trim(), pod);

    let script = "trap 'exit 0' TERM; touch /ready; while :; do sleep 0.1; done";
    let resources = |limit: u64| [number(1, 100_000), number(2, 50_000), number(4, limit)];
    let config = [
        message(1, &[text(1, "container")]),
        message(2, &[text(1, IMAGE)]),
        [text(3, "sh"), text(3, "-c"), text(3, script)].concat(),
        message(15, &[message(1, &resources(64 << 20))]),
    ];
    let create = [text(1, &pod), message(2, &config), message(3, &sandbox)].concat();
    let container = first(call(c, "RuntimeService/CreateContainer", &create));
    let of_container = text(1, &container);
    call(c, "RuntimeService/StartContainer", &of_container).unwrap();

    // an exec probe: the status, and both streams
    let probe = |script: &str| {
        let request = [of_container.clone(), text(2, "sh"), text(2, "-c"), text(2, script), number(3, 20)].concat();
        let answer = call(c, "RuntimeService/ExecSync", &request).unwrap();
        let field = |n: u64| answer.iter().find(|f| f.0 == n).map_or(Value::Number(0), |f| f.1.clone());
        (field(1), field(2), field(3))
    };
    wait_for("the program", || (probe("test -e /ready").2 == Value::Number(0)).then_some(()));
    let seen = probe("echo out; echo err >&2; exit 3");
    assert_eq!(seen, (Value::Text("out\n".into()), Value::Text("err\n".into()), Value::Number(3)));
    let request = [of_container.clone(), text(2, "sleep"), text(2, "1000"), number(3, 1)].concat();
    let error = call(c, "RuntimeService/ExecSync", &request).expect_err("its time is up");
    assert!(error.contains("timeout 1s exceeded") || error.contains("deadline"), "{error}");
    let request = [of_container.clone(), text(2, "nosuch"), number(3, 20)].concat();
    let error = call(c, "RuntimeService/ExecSync", &request).expect_err("no such program");
    assert!(error.contains("executable file not found in $PATH"), "{error}");

    let cgroup = c.room.cgroup("cri-containerd", &container);
    let limit = || {
        let files = [format!("/memory{cgroup}/memory.limit_in_bytes"), format!("{cgroup}/memory.max")];
        let mut files = files.iter().map(|f| format!("/sys/fs/cgroup{f}")).filter(|f| std::path::Path::new(f).exists());
        read(files.next().expect("a limit")).trim().to_owned()
    };
    assert_eq!(limit(), (64 << 20).to_string());
    let update = [of_container.clone(), message(2, &resources(96 << 20))].concat();
    call(c, "RuntimeService/UpdateContainerResources", &update).unwrap();
    assert_eq!(limit(), (96 << 20).to_string());

    call(c, "RuntimeService/StopContainer", &[of_container.clone(), number(2, 20)].concat()).unwrap();
    call(c, "RuntimeService/RemoveContainer", &of_container).unwrap();
    call(c, "RuntimeService/StopPodSandbox", &text(1, &pod)).unwrap();
    call(c, "RuntimeService/RemovePodSandbox", &text(1, &pod)).unwrap();
    assert_eq!(c.ok(&["-n", "k8s.io", "task", "ls", "-q"]), "");
}

/// The value of a field: those of these messages are numbers, or text (ids, output).
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Number(u64),
    Text(String),
}

/// A call of the runtime's API: the fields of its answer, or the text of the error.
fn call(c: &Containerd, method: &str, request: &[u8]) -> Result<Vec<(u64, Value)>, String> {
    let file = |what: &str| c.room.path(&format!("cri.{what}"));
    let length = u32::try_from(request.len()).unwrap().to_be_bytes();
    fs::write(file("request"), [&[0], &length[..], request].concat()).unwrap();
    let curl = format!(
        "exec curl --silent --show-error --http2-prior-knowledge --unix-socket containerd.sock \
            --header 'content-type: application/grpc' --header 'te: trailers' --data-binary @cri.request \
            --output cri.answer --dump-header cri.headers http://localhost/runtime.v1.{method}"
    );
    c.room.shell(&format!("cd {} && {curl}", c.room.dir().display())).ok();
    let headers = read(file("headers")).replace('\r', "");
    if !headers.lines().any(|l| l == "grpc-status: 0") {
        return Err(headers);
    }
    Ok(fields(fs::read(file("answer")).unwrap().get(5..).unwrap_or_default()))
}

/// The id that an answer consists of.
fn first(answer: Result<Vec<(u64, Value)>, String>) -> String {
    match answer.unwrap().first() {
        Some((1, Value::Text(id))) => id.clone(),
        other => panic!("no id: {other:?}"),
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = read_number(&mut bytes);
        let value = read_number(&mut bytes);
        fields.push(match tag & 7 {
            0 => (tag >> 3, Value::Number(value)),
            2 => {
                let (text, rest) = bytes.split_at(value as usize);
                bytes = rest;
                (tag >> 3, Value::Text(String::from_utf8_lossy(text).into_owned()))
            }
            other => panic!("a field of type {other}"),
        });
    }
    fields
}

/// Seven bits a byte, the lowest first; the eighth says that there are more.
fn read_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a byte");
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}

fn write_number(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

fn number(field: u64, value: u64) -> Vec<u8> {
    [write_number(field << 3), write_number(value)].concat()
}

fn text(field: u64, text: &str) -> Vec<u8> {
    bytes(field, text.as_bytes())
}

fn message(field: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(field, &fields.concat())
}

fn bytes(field: u64, bytes: &[u8]) -> Vec<u8> {
    [write_number(field << 3 | 2), write_number(bytes.len() as u64), bytes.to_vec()].concat()
}
