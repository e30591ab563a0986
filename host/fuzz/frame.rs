// SPDX-License-Identifier: GPL-2.0

//! libFuzzer's entry.

#![no_main]

mod target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| target::run(data));
