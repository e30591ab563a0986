// SPDX-License-Identifier: GPL-2.0
//! Frames that are cut short or lie about themselves, from the wire and from a slave, in L2 and in L3. These cases run
//! while the in-tree module is not loaded: its open bugs could fail the run.

use super::bench::{everywhere, never, truncations, Bench, From};
use crate::cases;
use crate::cx::{Cx, Family, Suite, EACH, V4, V46, V6};
use crate::frames::{self};
use crate::lan::{Lan, Mode};
use crate::packet::Tap;
use anyhow::{ensure, Result};
use std::net::{IpAddr, Ipv6Addr};

cases! {
    "malformed", Suite::Own;
    truncated_ip: EACH, V46;
    truncated_ipv4_with_options: EACH, V4;
    truncated_arp: EACH, V4;
    truncated_solicitation: EACH, V6;
    wrong_ip_version: EACH, V46;
    wrong_header_length: EACH, V4;
    wrong_total_length: EACH, V46;
    wrong_arp_fields: EACH, V4;
    wrong_solicitation_fields: EACH, V6;
    extension_headers: EACH, V6;
    short_frames_past_the_qdisc: EACH, V46;
    ethertype_that_lies: EACH, V46;
    large_frames: EACH, V46;
    checksum_of_headers: EACH, V46;
    noise: EACH, V46;
}

async fn truncated_ip(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let bad = truncations(&bench.good(from, &[0x55; 40]));
        // An IPv6 header that is whole names its destination; the payload is the stack's to check.
        let whole = |f: &[u8]| cx.family == Family::V6 && f.len() >= 14 + 40;
        bench.survive(from, &bad, whole).await
    })
    .await
}

async fn truncated_ipv4_with_options(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        for length in [4, 20, 40] {
            // No-operation options, and a record route that fills the rest (RFC 791).
            let mut options = vec![1; length];
            if length >= 20 {
                options[..3].copy_from_slice(&[7, length as u8 - 1, 4]);
            }
            let whole = frames::with_options(&bench.good(from, b"options"), &options);
            bench.survive(from, &truncations(&whole), never).await?;
            bench.at_b.drain()?;
            bench.put(from, &whole);
            bench
                .at_b
                .expect("the whole frame with options", |f| f.bytes == whole)
                .await?;
        }
        Ok(())
    })
    .await
}

async fn truncated_arp(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let (source, to, _) = bench.ends(from);
        for request in [true, false] {
            let sender = (source, crate::lan::EXT_V4);
            let unicast = frames::arp(source, to, request, sender, (to, bench.b.v4));
            bench.survive(from, &truncations(&unicast), never).await?;
            let all = frames::arp(
                source,
                frames::BROADCAST,
                request,
                sender,
                ([0; 6], bench.b.v4),
            );
            // Broadcast goes to all, whatever it holds.
            bench.survive(from, &truncations(&all), |_| true).await?;
        }
        Ok(())
    })
    .await
}

async fn truncated_solicitation(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let (source, to, src) = bench.ends(from);
        let IpAddr::V6(src) = src else {
            unreachable!("an IPv6 case")
        };
        let group = frames::solicited_node(bench.b.v6);
        for (src, mac) in [
            (Ipv6Addr::UNSPECIFIED, to),
            (Ipv6Addr::UNSPECIFIED, frames::group_mac(group.into())),
            (src, to),
            (src, frames::group_mac(group.into())),
        ] {
            let whole = frames::solicit(source, mac, src, group, bench.b.v6);
            // To the shared MAC and cut before the end of the target: nobody's.
            let may = |f: &[u8]| mac != to || f.len() >= 14 + 40 + 24;
            bench.survive(from, &truncations(&whole), may).await?;
        }
        Ok(())
    })
    .await
}

async fn wrong_ip_version(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let good = bench.good(from, b"version");
        let right = good[14] >> 4;
        let bad: Vec<_> = (0..16)
            .filter(|v| *v != right)
            .map(|version| {
                let mut frame = good.clone();
                frame[14] = (version << 4) | frame[14] & 0xf;
                frame
            })
            .collect();
        bench.survive(from, &bad, never).await
    })
    .await
}

async fn wrong_header_length(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let good = bench.good(from, b"12345678");
        let mut bad = Vec::new();
        for words in (0..5).chain(12..16) {
            for checksum in [true, false] {
                let mut frame = good.clone();
                frame[14] = 0x40 | words;
                if checksum && words >= 5 && 14 + usize::from(words) * 4 <= frame.len() {
                    frames::header_checksum(&mut frame);
                }
                bad.push(frame);
            }
        }
        bench.survive(from, &bad, never).await
    })
    .await
}

async fn wrong_total_length(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let good = bench.good(from, &[1; 30]);
        let length = good.len() - 14;
        let (at, lengths) = match cx.family {
            Family::V6 => (14 + 4, [0, 1, 7, length - 41, length - 39, 1500, 65535]),
            _ => (14 + 2, [0, 1, 19, 20, length + 1, 1500, 65535]),
        };
        let bad: Vec<_> = lengths
            .into_iter()
            .map(|n| {
                let mut frame = good.clone();
                frame[at..at + 2].copy_from_slice(&(n as u16).to_be_bytes());
                if cx.family == Family::V4 {
                    frames::header_checksum(&mut frame);
                }
                frame
            })
            .collect();
        // A total length of the header alone is legal, and so is any payload length where nobody looks at it.
        let legal = |f: &[u8]| cx.family == Family::V6 || f[16..18] == 20u16.to_be_bytes();
        bench.survive(from, &bad, legal).await
    })
    .await
}

async fn wrong_arp_fields(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let (source, to, _) = bench.ends(from);
        let good = frames::arp(
            source,
            to,
            true,
            (source, crate::lan::EXT_V4),
            (to, bench.b.v4),
        );
        let mut bad = Vec::new();
        // Hardware type and length, protocol length: none of them an Ethernet and IPv4 ARP.
        for (at, value) in [
            (15, 0),
            (15, 99),
            (14, 1),
            (18, 0),
            (18, 5),
            (18, 7),
            (18, 255),
            (19, 0),
            (19, 3),
            (19, 16),
        ] {
            let mut frame = good.clone();
            frame[at] = value;
            bad.push(frame);
        }
        bench.survive(from, &bad, |_| true).await?;
        // Any operation is fine for finding the target.
        let mut frames = Vec::new();
        for operation in [0, 3, 8, 255] {
            let mut frame = good.clone();
            frame[21] = operation;
            frames.push(frame);
        }
        bench.survive(from, &frames, |_| true).await
    })
    .await
}

async fn wrong_solicitation_fields(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let (source, to, _) = bench.ends(from);
        let group = frames::solicited_node(bench.b.v6);
        let good = frames::solicit(source, to, Ipv6Addr::UNSPECIFIED, group, bench.b.v6);
        let mut bad = Vec::new();
        // Payload length, next header, hop limit, type, code, checksum.
        for (at, value) in [
            (18, 0),
            (18, 0xff),
            (19, 0),
            (19, 8),
            (20, 0),
            (20, 44),
            (20, 17),
            (21, 1),
            (54, 0),
            (55, 9),
            (56, 9),
        ] {
            let mut frame = good.clone();
            frame[at] = value;
            bad.push(frame);
        }
        // Targets that nobody can have.
        for target in [Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST, group] {
            bad.push(frames::solicit(
                source,
                to,
                Ipv6Addr::UNSPECIFIED,
                group,
                target,
            ));
        }
        // Options of length zero, and beyond the end.
        for option in [[1, 0], [1, 255], [14, 0]] {
            let mut body = vec![0; 4];
            body.extend(bench.b.v6.octets());
            body.extend(option);
            body.extend([0; 6]);
            bad.push(frames::icmp6(
                source,
                to,
                Ipv6Addr::UNSPECIFIED,
                group,
                255,
                135,
                0,
                &body,
            ));
        }
        bench.survive(from, &bad, |_| true).await
    })
    .await
}

/// Extension headers before the payload, whole, chained and cut: the destination is in the fixed header.
async fn extension_headers(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let good = bench.good(from, b"extended");
        let mut all = Vec::new();
        for kind in [0, 43, 44, 51, 60, 135, 139, 253] {
            for depth in [1, 8] {
                let mut frame = good.clone();
                let last = frame[20];
                frame[20] = kind;
                for n in 0..depth {
                    let next = if n == 0 { last } else { kind };
                    frame.splice(54..54, [next, 0, 0, 0, 0, 0, 0, 0]);
                }
                let length = (frame.len() - 54) as u16;
                frame[18..20].copy_from_slice(&length.to_be_bytes());
                all.extend(truncations(&frame).into_iter().skip(40).step_by(5));
                all.push(frame);
            }
        }
        bench.survive(from, &all, |_| true).await
    })
    .await
}

/// Past the qdisc the driver is the first to look at a frame: 14 to 60 bytes of every protocol.
async fn short_frames_past_the_qdisc(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let bench = Bench::new(cx, mode).await?;
        let tap = Tap::bypassing(&bench.a.ns, bench.a.index)?;
        for to in [bench.b.mac, bench.lan.wire_mac, frames::BROADCAST] {
            for ethertype in [0x0800, 0x86dd, 0x0806, 0x8808, 0x88b5, 0x0004] {
                for length in 0..46 {
                    let _ = tap.try_send(&frames::ethernet(
                        bench.a.mac,
                        to,
                        ethertype,
                        &vec![0x45; length],
                    ));
                }
            }
        }
        // Shorter than an Ethernet header.
        for length in 0..14 {
            ensure!(
                tap.try_send(&vec![0; length]).is_err(),
                "{length} bytes were sent"
            );
        }
        bench.sound().await?;
    }
    Ok(())
}

/// One protocol's contents under another's EtherType.
async fn ethertype_that_lies(cx: Cx) -> Result<()> {
    everywhere(cx, async |bench, from| {
        let good = bench.good(from, b"1234567890123456789012345678901234567890");
        let own = [good[12], good[13]];
        let bad: Vec<_> = [
            0x0800u16, 0x86dd, 0x0806, 0x8100, 0x88a8, 0x8847, 0x8864, 0x0003, 0x05dc, 0xffff,
        ]
        .into_iter()
        .filter(|e| e.to_be_bytes() != own)
        .map(|e| {
            let mut frame = good.clone();
            frame[12..14].copy_from_slice(&e.to_be_bytes());
            frame
        })
        .collect();
        // An Ethernet header rewritten on the way is not the same frame any more; what counts is the good one after it.
        bench
            .survive(from, &bad, |f| f[12..14] == [0x08, 0x06])
            .await
    })
    .await
}

/// As large as the MTU allows, with the headers at the very beginning of a packet that spans pages.
async fn large_frames(cx: Cx) -> Result<()> {
    let lan = Lan::with_mtu(cx, Mode::L2, 9000)?;
    let (a, b) = (lan.slave()?, lan.slave()?);
    let (at_a, at_b, wire) = (a.tap()?, b.tap()?, lan.wire_tap()?);
    let header = if cx.family == Family::V6 { 48 } else { 28 };
    for size in [4000, 4096, 8191, 9000 - header] {
        let payload = vec![size as u8; size];
        let local = frames::udp(a.mac, b.mac, a.ip(), b.ip(), (5, 7), &payload);
        at_a.send(&local)?;
        at_b.expect("the large frame of a sibling", |f| f.bytes == local)
            .await?;
        let outside = frames::udp(
            lan.wire_mac,
            lan.mac,
            lan.ext_ip(),
            b.ip(),
            (5, 7),
            &payload,
        );
        wire.send(&outside)?;
        at_b.expect("the large frame from the wire", |f| f.bytes == outside)
            .await?;
    }
    Ok(())
}

/// Good frames with bytes changed at random, always the same way.
/// A checksum that is left to be made, and begins in a header: in L3 the Ethernet header is gone by the time the master's
/// namespace makes it. The kernel does not take one that begins there (virtio_net_hdr_to_skb()).
async fn checksum_of_headers(cx: Cx) -> Result<()> {
    for mode in [Mode::L2, Mode::L3] {
        let lan = Lan::new(cx, mode)?;
        super::stream::without_offload(&lan)?;
        let a = lan.slave()?;
        crate::ping::ping(&a.ns, lan.ext_ip()).await?;
        let (tap, wire) = (a.tap()?, lan.wire_tap()?);
        let to = if mode == Mode::L2 {
            lan.wire_mac
        } else {
            a.mac
        };
        let frame = |text| frames::udp(a.mac, to, a.ip(), lan.ext_ip(), (5, 7), text);
        let (least, udp) = (20, if a.ip().is_ipv4() { 34 } else { 54 });
        for start in [0, 2, 12, 14, least - 1] {
            let sent = tap.try_send_with_checksum(start, 6, &frame(b"outside"));
            ensure!(sent == Err(nix::Error::EINVAL), "{start}: {sent:?}");
        }
        for start in least..udp {
            let _ = tap.try_send_with_checksum(start, 0, &frame(b"header"));
        }
        let sent = tap.try_send_with_checksum(udp, 6, &frame(b"inside"));
        ensure!(sent.is_ok(), "{mode:?}: {sent:?}");
        wire.expect("the datagram", |f| frames::is_udp(&f.bytes, 7, b"inside"))
            .await?;
    }
    Ok(())
}

async fn noise(cx: Cx) -> Result<()> {
    let mut state = 0x1234_5678_9abc_def1u64;
    let mut random = move || {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for mode in [Mode::L2, Mode::L3] {
        let bench = Bench::new(cx, mode).await?;
        for from in [From::Wire, From::Slave] {
            let (source, to, _) = bench.ends(from);
            let group = frames::solicited_node(bench.b.v6);
            let seeds = [
                bench.good(from, &[0; 64]),
                frames::arp(
                    source,
                    to,
                    true,
                    (source, crate::lan::EXT_V4),
                    (to, bench.b.v4),
                ),
                frames::solicit(source, to, Ipv6Addr::UNSPECIFIED, group, bench.b.v6),
                frames::solicit(
                    source,
                    frames::BROADCAST,
                    Ipv6Addr::UNSPECIFIED,
                    group,
                    bench.b.v6,
                ),
            ];
            let mut bad = Vec::new();
            for _ in 0..400 {
                let mut frame = seeds[random() % seeds.len()].clone();
                for _ in 0..1 + random() % 4 {
                    // Not the MACs: they decide only where on the way it is looked at.
                    let at = 12 + random() % (frame.len() - 12);
                    frame[at] = random() as u8;
                }
                frame.truncate(14 + random() % (frame.len() - 13));
                bad.push(frame);
            }
            bench.survive(from, &bad, |_| true).await?;
        }
        bench.sound().await?;
    }
    Ok(())
}
