//! Bind mounts: which flags they get, and who copies what is mounted.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Mount;

use super::mount_options::{Options, attr};
use super::rootfs::{clean, is_path, may_cover};
use super::{Bind, Mapped, Op, Open, Planner, Tree};
use crate::error::At;

/// Flags that a bind remount sets exactly. (Those about access times are kept: [`Options::of_bind`].)
pub(super) const REMOUNT: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;

impl Planner<'_> {
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
        let tree = match mapped {
            Some(mapped) => Tree::Slot(self.need(at, Open::MappedTree { path: path.clone(), recursive, mapped })),
            None => self.tree(at, path.clone(), recursive),
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
/// namespace already.
pub(super) fn inherited(tree: &Tree, propagation: u64) -> u64 {
    match tree {
        Tree::Slot(_) => propagation,
        Tree::Path { .. } => 0,
    }
}
