// SPDX-License-Identifier: GPL-2.0
//! KCOV: which code this thread's system calls ran. Only what is instrumented counts, which is the module alone.

use anyhow::{Context, Result};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of linux/kcov.h, on 64-bit machines.
const KCOV_INIT_TRACE: u64 = 0x8008_6301;
const KCOV_ENABLE: u64 = 0x6364;
const KCOV_DISABLE: u64 = 0x6365;
const KCOV_TRACE_PC: u64 = 0;
/// Words of the buffer: the first counts the others.
const WORDS: usize = 64 << 10;
/// The low bits of an address tell the places in the module apart: its code is in one piece, and smaller than this.
const CODE: usize = 1 << 20;

/// The coverage of the thread that made this.
pub struct Kcov {
    file: File,
    buffer: *mut AtomicU64,
    /// A bit for each place.
    seen: Box<[u64]>,
    places: usize,
}

impl Kcov {
    /// Begins; none if the kernel has no KCOV.
    pub fn begin() -> Result<Option<Kcov>> {
        let Ok(file) = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/sys/kernel/debug/kcov")
        else {
            return Ok(None);
        };
        let fd = file.as_raw_fd();
        // SAFETY: these ioctls take numbers.
        nix::Error::result(unsafe { libc::ioctl(fd, KCOV_INIT_TRACE, WORDS) })
            .context("KCOV_INIT_TRACE")?;
        // SAFETY: a shared mapping of the size that was just asked for.
        let buffer = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                WORDS * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if buffer == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mapping kcov's buffer");
        }
        // SAFETY: as above.
        nix::Error::result(unsafe { libc::ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC) })
            .context("KCOV_ENABLE")?;
        Ok(Some(Kcov {
            file,
            buffer: buffer.cast(),
            seen: vec![0; CODE / 64].into_boxed_slice(),
            places: 0,
        }))
    }

    fn word(&self, n: usize) -> &AtomicU64 {
        assert!(n < WORDS);
        // SAFETY: the mapping has that many words and lives as long as this; the kernel writes whole ones.
        unsafe { &*self.buffer.add(n) }
    }

    /// Forgets what ran until now.
    pub fn reset(&self) {
        self.word(0).store(0, Ordering::SeqCst);
    }

    /// Whether anything ran since that never had before.
    pub fn anything_new(&mut self) -> bool {
        let number = (self.word(0).load(Ordering::SeqCst) as usize).min(WORDS - 1);
        let before = self.places;
        for n in 1..=number {
            let place = self.word(n).load(Ordering::Relaxed) as usize % CODE;
            let bit = 1 << (place % 64);
            if self.seen[place / 64] & bit == 0 {
                self.seen[place / 64] |= bit;
                self.places += 1;
            }
        }
        self.places > before
    }

    /// How many places in the code were reached.
    pub fn places(&self) -> usize {
        self.places
    }
}

impl Drop for Kcov {
    fn drop(&mut self) {
        // SAFETY: an ioctl without an argument; the mapping is ours, and nobody uses it any more.
        unsafe {
            libc::ioctl(self.file.as_raw_fd(), KCOV_DISABLE, 0);
            libc::munmap(self.buffer.cast(), WORDS * 8);
        }
    }
}
