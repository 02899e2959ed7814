#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libcontain_fuzz::mount_options::judge(data));
