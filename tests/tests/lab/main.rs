//! Hither as its users meet it: the real programs on devices of their own, joined by a real
//! network.
//!
//! A test is named after the requirement it shows, where there is one. See `hither_tests::lab` for
//! what is needed.
#![cfg(target_os = "linux")]
// This whole program is a test: it fails by panicking.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

mod acquainted_relay;
mod asks;
mod carriers;
mod catalogue;
mod chaos;
mod cheapest;
mod codes;
mod common;
mod daemon;
mod field_clocks;
mod field_crowds;
mod field_daemon;
mod field_disks;
mod field_fetch;
mod field_fetch_ends;
mod field_firewalls;
mod field_groups;
mod field_groups_forks;
mod field_links;
mod field_local;
mod field_names;
mod field_paths;
mod field_rollback;
mod field_share;
mod field_share_files;
mod field_slow;
mod field_strangers;
mod follow;
mod giving;
mod groups;
mod groups_joining;
mod groups_sharing;
mod hostile;
mod index;
mod limits;
mod nearby;
mod network;
mod own_devices;
mod page_browser;
mod page_lan;
mod page_relay;
mod page_world;
mod paired_pages;
mod parts;
mod patterns;
mod pipes;
mod prices;
mod reach_direct;
mod reach_lab;
mod reach_matrix;
mod receiving;
mod redial;
mod relay_blind;
mod relay_fleet;
mod relay_full;
mod relay_lan;
mod relay_mail;
mod relay_paths;
mod relay_rights;
mod relay_store;
mod relay_world;
mod relayed;
mod resume;
mod roaming;
mod safety;
mod scale;
mod secrecy;
mod settings;
mod several;
mod sites;
mod slow_way;
mod sources;
mod storage_engine;
mod unattended;
mod versions;
mod view;
mod visitors;
mod whole;
mod world;
