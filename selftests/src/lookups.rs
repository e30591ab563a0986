// SPDX-License-Identifier: GPL-2.0
//! Counts the look-ups of routes to one address, as the kernel's own trace events tell them: what shows that a route was
//! remembered is that there was none.

use crate::cx::Skip;
use crate::mounts;
use anyhow::{Context, Result};
use std::fs;
use std::net::IpAddr;

/// Look-ups are counted while it lives.
pub struct Lookups {
    event: String,
    trace: String,
    to: String,
}

impl Lookups {
    /// # Errors
    ///
    /// [`Skip`] on a kernel without trace events.
    pub fn of(to: IpAddr) -> Result<Lookups> {
        let event = if to.is_ipv4() {
            "fib/fib_table_lookup"
        } else {
            "fib6/fib6_table_lookup"
        };
        let tracing = mounts::tracefs();
        let event = format!("{tracing}/events/{event}/enable");
        if !fs::exists(&event)? {
            return Err(Skip(format!("this kernel cannot trace look-ups: no {event}")).into());
        }
        fs::write(&event, "1").context(event.clone())?;
        // As the event prints it, before the port.
        let to = format!("-> {to}/");
        Ok(Lookups {
            event,
            trace: format!("{tracing}/trace"),
            to,
        })
    }

    /// How many there are while `f` runs, one for each table that is asked.
    pub fn during(&self, f: impl FnOnce() -> Result<()>) -> Result<usize> {
        // Opening it to write empties it.
        fs::write(&self.trace, "").context(self.trace.clone())?;
        f()?;
        let seen = fs::read_to_string(&self.trace).context(self.trace.clone())?;
        Ok(seen.lines().filter(|l| l.contains(&self.to)).count())
    }
}

impl Drop for Lookups {
    fn drop(&mut self) {
        let _ = fs::write(&self.event, "0");
    }
}
