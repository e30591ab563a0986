// SPDX-License-Identifier: GPL-2.0
//! The kernel log as a witness: a complaint fails the case during which it appeared.

use anyhow::{bail, Context, Result};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Mutex;

/// What no kernel log may contain. The list follows the netdev CI's (crash signatures, reference trackers) plus what the
/// stock kernel can report (refcount, list, UBSAN, KFENCE, stalls, hung tasks, device references).
const COMPLAINTS: &[&str] = &[
    "WARNING:",
    "BUG:",
    "Oops",
    "] RIP: ",
    "RIP: 0010",
    "Call Trace:",
    "general protection",
    "Unable to handle",
    "kernel panic",
    "Kernel panic",
    "refcount_t:",
    "ref_tracker:",
    "leaked reference",
    "list_add corruption",
    "list_del corruption",
    "UBSAN:",
    "KFENCE:",
    "KASAN:",
    "unreferenced object",
    "scheduling while atomic",
    "sleeping function called",
    "suspicious RCU",
    "trying to register non-static key",
    "ODEBUG:",
    "stalls on CPU",
    "self-detected stall",
    "soft lockup",
    "blocked for more than",
    "unregister_netdevice: waiting",
    "Dead loop on virtual device",
    "rust_kernel: panicked",
    "panicked at",
];

/// One line of the kernel log.
#[derive(Clone, Debug)]
pub struct Line(pub String);

impl Line {
    /// Registers, code bytes and guesses of a crash dump, which tell less than the space they take.
    pub fn is_dump_detail(&self) -> bool {
        const DETAILS: &[&str] = &[
            "RAX:",
            "RDX:",
            "RBP:",
            "RSP:",
            "R10:",
            "R13:",
            "FS:",
            "CS:",
            "CR2:",
            "PKRU:",
            "Code:",
            "Tainted:",
            "Modules linked in:",
            "Hardware name:",
            "DR0:",
            "DR3:",
            "<TASK>",
            "</TASK>",
            "CPU:",
        ];
        self.0.contains(" ? ") || DETAILS.iter().any(|d| self.0.trim_start().starts_with(d))
    }

    /// Whether this line reports a defect of the kernel.
    pub fn is_complaint(&self) -> bool {
        if self.0.contains("Dead loop on virtual device") && self.is_expected() {
            return false;
        }
        // A fault that was injected into the tracker itself.
        if crate::fault::injecting() && self.0.contains("ref_tracker: memory allocation failure") {
            return false;
        }
        COMPLAINTS.iter().any(|c| self.0.contains(c))
    }
}

impl Line {
    fn is_expected(&self) -> bool {
        LOOPING.lock().is_ok_and(|nets| {
            nets.iter()
                .any(|net| self.0.contains(&format!("(net {net})")))
        })
    }
}

/// Namespaces, by their cookies, in which the in-tree driver may run into the core's limit of recursion, since it has none
/// of its own (D11).
static LOOPING: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Takes a namespace's loops for the in-tree driver's.
pub fn expect_loops(cookie: u64) {
    if let Ok(mut nets) = LOOPING.lock() {
        nets.push(cookie);
    }
}

/// A reader of `/dev/kmsg` that keeps its place.
pub struct Kmsg(File);

impl Kmsg {
    /// Starts at the oldest message there is, so that a complaint while booting counts too.
    pub fn open() -> Result<Kmsg> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open("/dev/kmsg")
            .context("cannot open /dev/kmsg")?;
        Ok(Kmsg(file))
    }

    /// Starts with what is logged from now on.
    pub fn from_now_on() -> Result<Kmsg> {
        let mut kmsg = Kmsg::open()?;
        kmsg.0
            .seek(SeekFrom::End(0))
            .context("cannot go to the end of /dev/kmsg")?;
        Ok(kmsg)
    }

    /// Fails if the kernel complained since the last look.
    pub fn calm(&mut self) -> Result<()> {
        let complaint = self.read().into_iter().find(Line::is_complaint);
        complaint.map_or(Ok(()), |line| bail!("the kernel complains: {}", line.0))
    }

    /// Everything logged since the last call.
    pub fn read(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut buffer = [0u8; 8192];
        loop {
            match self.0.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => {
                    // "priority,sequence,time,flags;text", then continuation lines that start with a space.
                    let record = String::from_utf8_lossy(&buffer[..n]);
                    let text = record.split_once(';').map_or("", |(_, t)| t);
                    lines.push(Line(text.lines().next().unwrap_or("").to_string()));
                }
                // The ring overran us: the next read continues with the oldest record that is left.
                Err(e) if e.raw_os_error() == Some(libc::EPIPE) => lines.push(Line(
                    "WARNING: the kernel log overran; what was lost may have been a complaint"
                        .into(),
                )),
                Err(_) => break,
            }
        }
        lines
    }
}
