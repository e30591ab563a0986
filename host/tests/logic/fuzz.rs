// SPDX-License-Identifier: GPL-2.0

//! The fuzzer's question to `logic/`, over the corpus it has left; `make fuzz` goes on from there.

#[path = "../../fuzz/target.rs"]
mod target;

use std::fs;
use std::path::Path;

#[test]
fn corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/fuzz/corpus");
    let mut inputs = 0;
    for entry in fs::read_dir(&corpus).expect("there is a corpus") {
        let path = entry.expect("readable").path();
        let data = fs::read(&path).expect("readable");
        // Named before it may fail: libFuzzer's own files are named by their hash.
        println!("{}", path.display());
        target::run(&data);
        inputs += 1;
    }
    assert!(inputs >= 50, "the corpus has only {inputs} inputs");
}

/// Each byte of each input of the corpus, changed a little, and each of its beginnings.
#[test]
fn neighbours_of_the_corpus() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("host/fuzz/corpus");
    for entry in fs::read_dir(&corpus).expect("there is a corpus") {
        let mut data = fs::read(entry.expect("readable").path()).expect("readable");
        data.truncate(200);
        for at in 0..data.len() {
            target::run(&data[..at]);
            for value in [0, 0xff, data[at] ^ 1, data[at] ^ 0x80] {
                let old = std::mem::replace(&mut data[at], value);
                target::run(&data);
                data[at] = old;
            }
        }
    }
}
