#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| libcontain_fuzz::gvariant::judge(data));
