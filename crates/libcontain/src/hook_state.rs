//! The state document that hooks read (runtime.md#state): compact JSON, made before the pid is known.

use std::collections::BTreeMap;

use oci_spec::runtime::Spec;

use crate::plan::Request;

/// The version of the runtime-spec that this library implements.
pub const SPEC_VERSION: &str = "1.3.0";

/// The document in two halves; the decimal pid goes between them.
pub(crate) fn around_pid(request: &Request<'_>, spec: &Spec, status: &str) -> [Vec<u8>; 2] {
    let annotations: BTreeMap<&str, &str> =
        spec.annotations().iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let bundle = request.bundle.to_string_lossy();
    halves(request.id, status, &bundle, &annotations)
}

/// As [`around_pid`], from the parts that the state file keeps.
pub(crate) fn halves(id: &str, status: &str, bundle: &str, annotations: &BTreeMap<&str, &str>) -> [Vec<u8>; 2] {
    let head = format!(r#"{{"ociVersion":"{SPEC_VERSION}","id":{},"status":"{status}""#, quoted(id));
    let mut tail = format!(r#","bundle":{}"#, quoted(bundle));
    if !annotations.is_empty() {
        tail += ",\"annotations\":";
        tail += &serde_json::to_string(annotations).unwrap_or_else(|_| "{}".into());
    }
    tail.push('}');
    [format!("{head},\"pid\":").into_bytes(), tail.into_bytes()]
}

/// The document with a pid, or without one (a stopped container has none).
pub(crate) fn document(halves: &[Vec<u8>; 2], pid: Option<u32>) -> Vec<u8> {
    let [head, tail] = halves;
    match pid {
        Some(pid) => [head, pid.to_string().as_bytes(), tail].concat(),
        None => [head.strip_suffix(b",\"pid\":").unwrap_or(head), tail.as_slice()].concat(),
    }
}

/// The container process state that goes to a seccomp agent together with one descriptor
/// (config-linux.md#containerprocessstate). `state` is the state document.
pub(crate) fn process_state(pid: u32, metadata: &str, state: &[u8]) -> Vec<u8> {
    let metadata = if metadata.is_empty() { String::new() } else { format!(r#""metadata":{},"#, quoted(metadata)) };
    let head = format!(r#"{{"ociVersion":"{SPEC_VERSION}","fds":["seccompFd"],"pid":{pid},{metadata}"state":"#);
    [head.as_bytes(), state, b"}"].concat()
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_learns_of_what_process_the_listener_is() {
        let text = |metadata| String::from_utf8(process_state(7, metadata, b"{}")).unwrap();
        let head = r#"{"ociVersion":"1.3.0","fds":["seccompFd"],"pid":7,"#;
        assert_eq!(text(""), format!(r#"{head}"state":{{}}}}"#));
        assert_eq!(text("a\"b"), format!(r#"{head}"metadata":"a\"b","state":{{}}}}"#));
    }

    #[test]
    fn the_document_is_compact_json_with_or_without_a_pid() {
        let annotations = BTreeMap::from([("b", "\"quoted\""), ("a", "1")]);
        let halves = halves("c1", "creating", "/b", &annotations);
        assert_eq!(
            String::from_utf8(document(&halves, Some(42))).unwrap(),
            r#"{"ociVersion":"1.3.0","id":"c1","status":"creating","pid":42,"bundle":"/b","annotations":{"a":"1","b":"\"quoted\""}}"#
        );
        let stopped = document(&super::halves("c1", "stopped", "/b", &BTreeMap::new()), None);
        assert_eq!(
            String::from_utf8(stopped).unwrap(),
            r#"{"ociVersion":"1.3.0","id":"c1","status":"stopped","bundle":"/b"}"#
        );
    }
}
