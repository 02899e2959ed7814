//! Bind mounts: which flags they get, and who copies what is mounted.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Mount;

use super::mount_options::{Options, attr};
use super::rootfs::{clean, is_path, may_cover};
use super::{Bind, Mapped, Op, Open, Planner, Tree};
use crate::error::At;
use crate::kernel::Call;

/// Flags that a bind remount sets exactly. (Those about access times are kept: [`Options::of_bind`].)
pub(super) const REMOUNT: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

impl Planner<'_> {
    /// The mounts of the config. A destination that begins with the path of the rootfs is taken for the path inside it, as in
    /// runc: configs were written like that before there was a specification.
    pub(super) fn mounts(&self) -> Vec<Mount> {
        let mut mounts = self.spec.mounts().clone().unwrap_or_default();
        for mount in &mut mounts {
            if let Some(inside) = self.inside_rootfs(mount.destination().as_os_str().as_bytes()) {
                mount.set_destination(OsStr::from_bytes(&inside).into());
            }
        }
        mounts
    }

    fn inside_rootfs(&self, path: &[u8]) -> Option<Vec<u8>> {
        inside(self.absolute_root().as_os_str().as_bytes(), path)
    }

    /// A host tree.
    pub(super) fn tree(&mut self, at: At, path: CString, recursive: bool) -> Tree {
        if self.opens_in_parent() {
            Tree::Slot(self.need(at, Open::Tree { path, recursive }))
        } else {
            Tree::Path { path, recursive }
        }
    }

    pub(super) fn bind(
        &mut self,
        index: usize,
        mount: &Mount,
        target: CString,
        options: Options,
        (inherit, mapped): (u64, Option<Mapped>),
    ) {
        let at = At::item("mounts[#].source", index);
        let Some(source) = mount.source().as_ref().filter(|s| !s.as_os_str().is_empty()) else {
            return self.problem(at, "config.md#mounts", "a bind mount needs a source");
        };
        let path = self.text(at, self.request.bundle.join(source).into_os_string().into_encoded_bytes());
        let recursive = options.recursive || mount.typ().as_deref() == Some("rbind");
        let inside = self.inside_rootfs(path.as_bytes());
        let tree = match (inside, mapped) {
            (Some(inside), mapped) => {
                if mapped.is_some() {
                    self.needs_calls(at, [Call::PidfdGetfd]);
                }
                Tree::Inside { path: self.text(at, inside), recursive, mapped }
            }
            (None, Some(mapped)) => {
                Tree::Slot(self.need(at, Open::MappedTree { path: path.clone(), recursive, mapped }))
            }
            (None, None) => self.tree(at, path.clone(), recursive),
        };
        let inherit = inherited(&tree, inherit);
        let source = path;
        let Options { set, clear, exact, mut tree_set, tree_clear, propagation, .. } = options.of_bind();
        let sys = clean(Path::new(OsStr::from_bytes(source.to_bytes()))) == b"/sys";
        if sys && recursive && set & attr::RDONLY != 0 && self.is_rootless() {
            // Below lie cgroups that may be the caller's own, and so his container's (CVE-2023-25809).
            tree_set |= attr::RDONLY & !tree_clear;
        }
        let drop = if exact { REMOUNT & !set & !clear } else { 0 };
        let must_be_proc = is_path(mount, "/proc");
        let may_cover_proc = must_be_proc || may_cover(mount.destination());
        let op = Op::Bind(Bind {
            target,
            source,
            tree,
            inherit,
            set,
            clear,
            drop,
            tree_set,
            tree_clear,
            propagation,
            may_cover_proc,
            must_be_proc,
        });
        self.step(At::item("mounts[#]", index), op);
    }
}

/// What the parent has copied belongs to peer groups of the host. What init itself copies has the propagation of its mount
/// namespace, or of the mount inside the rootfs, already.
pub(super) fn inherited(tree: &Tree, propagation: u64) -> u64 {
    match tree {
        Tree::Slot(_) => propagation,
        Tree::Path { .. } | Tree::Inside { .. } => 0,
    }
}

/// The part of a host path that is inside the rootfs, if by its words it leads there.
fn inside(root: &[u8], path: &[u8]) -> Option<Vec<u8>> {
    let [root, path] = [root, path].map(|path| clean(Path::new(OsStr::from_bytes(path))));
    match path.strip_prefix(root.as_slice())? {
        // The host's root is the container's: there a path means the same in both.
        _ if root == b"/" => None,
        b"" => Some(b"/".to_vec()),
        inside => inside.starts_with(b"/").then(|| inside.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_into_the_rootfs() {
        for (root, path, expected) in [
            ("/b/rootfs", "/b/rootfs/etc/x", Some("/etc/x")),
            ("/b/rootfs/", "/b//./rootfs/mnt/../etc", Some("/etc")),
            ("/b/rootfs", "/b/rootfs", Some("/")),
            ("/b/rootfs", "/b/rootfs2/x", None),
            ("/b/rootfs", "/b/rootfs/../x", None),
            ("/b/rootfs", "/b", None),
            ("/b/rootfs", "/etc/b/rootfs/x", None),
            ("/", "/etc", None),
            ("/b/..", "/etc", None),
        ] {
            let found = inside(root.as_bytes(), path.as_bytes());
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{path} in {root}");
        }
    }
}
