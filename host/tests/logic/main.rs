// SPDX-License-Identifier: GPL-2.0

//! Tests of `logic/`: what in-tree ipvlan does with a packet, row by row, and properties.

mod audience;
mod behaviour;
mod config;
mod filter;
mod frame;
mod fuzz;
mod hash;
mod model;
mod mtu;
mod numbers;
mod packets;
mod routes;
mod world;
