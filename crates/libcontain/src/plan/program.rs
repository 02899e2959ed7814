//! Where the program may be: `args[0]` and `PATH`.

/// What is searched when the container's environment has no `PATH` (crun's default; runc finds nothing then).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The paths to try, in order: `name` itself if it holds a slash, otherwise one per directory of `path`.
///
/// An empty element or a relative one would mean the current directory, which is nothing that a container's `PATH` should
/// decide: it is left out, as Go's lookup refuses it.
pub(super) fn candidates(name: &str, path: Option<&str>) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let absolute = path.unwrap_or(DEFAULT_PATH).split(':').filter(|dir| dir.starts_with('/'));
    if name.is_empty() { vec![] } else { absolute.map(|dir| format!("{}/{name}", dir.trim_end_matches('/'))).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_paths_are_not() {
        assert_eq!(candidates("./x", Some("/bin")), ["./x"]);
        assert_eq!(candidates("sh", Some("/usr/bin::.:rel:/bin/:/")), ["/usr/bin/sh", "/bin/sh", "/sh"]);
        assert_eq!(candidates("sh", None).len(), 6);
        assert!(candidates("", Some("/bin")).is_empty());
    }
}
