//! An allocator that kills every process but the one that it was first used in: the proof that init, a clone of a
//! process with many threads, neither allocates nor frees.
//!
//! What it catches is counted in memory that all processes share: after `Ready` nobody would see init's end.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

pub struct Trap;

/// The process that may allocate.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The page that is shared with every clone.
static CAUGHT: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
/// Set in a process that is to be caught, which is then no failure.
static ON_PURPOSE: AtomicBool = AtomicBool::new(false);

fn pid() -> i32 {
    // SAFETY: getpid(2) cannot fail and touches no memory; not libc's function, so that nothing is cached.
    i32::try_from(unsafe { libc::syscall(libc::SYS_getpid) }).unwrap_or(-1)
}

fn check() {
    let pid = pid();
    match OWNER.compare_exchange(0, pid, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => share(),
        Err(owner) if owner == pid => {}
        Err(_) => caught(),
    }
}

/// The first allocation of a process is before `main`, with one thread.
fn share() {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice: nothing else is touched.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, flags, -1, 0) };
    if page != libc::MAP_FAILED {
        CAUGHT.store(page.cast(), Ordering::SeqCst);
    }
}

#[cold]
fn caught() {
    // SAFETY: the mapping that `share` made is never removed, is aligned, and zeroed by the kernel.
    let counter = unsafe { CAUGHT.load(Ordering::SeqCst).as_ref() };
    if let Some(counter) = counter.filter(|_| !ON_PURPOSE.load(Ordering::SeqCst)) {
        counter.fetch_add(1, Ordering::SeqCst);
        let text = b"TRAP: a cloned process used the heap\n";
        // SAFETY: the buffer is valid for the length given.
        unsafe { libc::syscall(libc::SYS_write, 2, text.as_ptr(), text.len()) };
    }
    // SAFETY: abort has no preconditions. For the first process of a pid namespace, which ignores a SIGABRT of its own,
    // libc goes on to an invalid instruction.
    unsafe { libc::abort() }
}

/// How often a process was caught.
pub fn catches() -> u32 {
    // SAFETY: as in `caught`.
    unsafe { CAUGHT.load(Ordering::SeqCst).as_ref() }.expect("the shared page").load(Ordering::SeqCst)
}

/// From here this process, a fork, wants to be caught.
pub fn on_purpose() {
    ON_PURPOSE.store(true, Ordering::SeqCst);
}

// SAFETY: everything is System's, which keeps the contract; `check` does not unwind and does not allocate.
unsafe impl GlobalAlloc for Trap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        check();
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(ptr, layout, size) }
    }
}
