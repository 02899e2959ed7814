//! `remount`: new options for what is mounted at a destination already, by an earlier entry of the list.
//!
//! With `bind` they are the mount's, and those that are not named go, as mount(2) has it; without, they are the file
//! system's as well, wherever else that is mounted.

use std::ffi::CString;

use super::bind::REMOUNT;
use super::libc_flag::MS_REMOUNT;
use super::mount_options::Options;
use super::rootfs::mount_flags;
use super::{Op, Planner, Remount};
use crate::error::At;

impl Planner<'_> {
    pub(super) fn remount(&mut self, at: At, target: CString, bind: bool, options: Options) {
        let options = options.of_one_mount();
        let data = self.text(at, options.data_text());
        let superblock = (!bind).then(|| (MS_REMOUNT | mount_flags(&options), data));
        let Options { set, clear, propagation, .. } = options.of_bind();
        let drop = REMOUNT & !set & !clear;
        self.step(at, Op::Remount(Remount { target, set, clear, drop, superblock, propagation }));
    }
}
