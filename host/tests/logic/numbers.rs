// SPDX-License-Identifier: GPL-2.0

//! The numbers of slaves: 65533 of them, handed out in turn.

use ipvlan_rs_host::logic::numbers::Turn;

/// What the kernel's ida does.
struct Ida(Vec<bool>);

#[derive(Debug, PartialEq)]
struct Full;

impl Ida {
    fn new() -> Self {
        Self(vec![false; 0x1_0000])
    }

    fn take(&mut self, min: u16, max: u16) -> Result<u16, Full> {
        let free = (min..=max).find(|n| !self.0[usize::from(*n)]).ok_or(Full)?;
        self.0[usize::from(free)] = true;
        Ok(free)
    }

    fn give(&mut self, n: u16) {
        assert!(self.0[usize::from(n)], "{n} was not taken");
        self.0[usize::from(n)] = false;
    }
}

const ALL: usize = (Turn::LAST - Turn::FIRST + 1) as usize;

#[test]
fn numbers_come_in_turn_and_wrap() {
    let (mut ida, mut turn) = (Ida::new(), Turn::START);
    // Two that stay, as of slaves that live longer.
    let mut held = Vec::new();
    for _ in 0..2 {
        let (n, next) = turn.take(Full, |min, max| ida.take(min, max)).unwrap();
        held.push(n);
        turn = next;
    }
    assert_eq!(held, [1, 2]);
    // One slave after the other, twice round: each number once per round, and never one that is held.
    for _ in 0..2 {
        for expected in 3..=Turn::LAST {
            let (n, next) = turn.take(Full, |min, max| ida.take(min, max)).unwrap();
            assert_eq!(n, expected);
            ida.give(n);
            turn = next;
        }
    }
}

#[test]
fn numbers_run_out_and_come_back() {
    let (mut ida, mut turn) = (Ida::new(), Turn::START);
    for _ in 0..ALL {
        (_, turn) = turn.take(Full, |min, max| ida.take(min, max)).unwrap();
    }
    assert_eq!(turn.take(Full, |min, max| ida.take(min, max)), Err(Full));
    for freed in [1, 4711, Turn::LAST, 2] {
        ida.give(freed);
        let (n, next) = turn.take(Full, |min, max| ida.take(min, max)).unwrap();
        assert_eq!(n, freed);
        turn = next;
    }
}

#[test]
fn other_errors_are_passed_on() {
    let (_, later) = Turn::START.take(0, |min, _| Ok(min)).unwrap();
    let mut asked = 0;
    let refused = later.take(0, |_, _| {
        asked += 1;
        Err(12)
    });
    assert_eq!((refused, asked), (Err(12), 1));
}
