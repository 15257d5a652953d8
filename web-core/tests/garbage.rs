//! Whatever comes in, from the page or from the other end of a pipe, the core goes on: in
//! WebAssembly a panic would end it.

mod common;

use common::{Manner, World, message, shared};
use hither_proto::{Message, encode_frame};
use hither_web_core::{Core, vectors};
use proptest::prelude::*;

/// A message of the page with a kind that exists and fields that may be anything, small numbers most often.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let number = prop_oneof![0u32..5, any::<u32>()];
    let numbers = prop::collection::vec(number, 0..6);
    let tail = prop::collection::vec(any::<u8>(), 0..64);
    (0u8..20, numbers, tail).prop_map(|(kind, numbers, tail)| {
        let fields: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        [&[kind][..], &fields, &tail].concat()
    })
}

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        bytes(),
        // A frame of a length that fits, with anything in it.
        bytes().prop_map(|b| [&(b.len() as u32).to_be_bytes()[..], &b].concat()),
        // One field of the union, with anything in it.
        (1u8..32, bytes()).prop_map(|(field, b)| {
            let b = &b[..b.len().min(100)];
            let tag = u16::from(field) << 3 | 2;
            let tag = if tag < 128 {
                vec![tag as u8]
            } else {
                vec![tag as u8 | 128, (tag >> 7) as u8]
            };
            let body = [&tag[..], &[b.len() as u8], b].concat();
            [&(body.len() as u32).to_be_bytes()[..], &body].concat()
        }),
        any::<u64>().prop_map(|request| encode_frame(&Message::Served { request })),
        (0u64..5, any::<u32>(), 0u32..100).prop_map(|(request, position, length)| {
            let header = Message::Chunk {
                request,
                position,
                length,
            };
            [encode_frame(&header), vec![7; length as usize]].concat()
        }),
        (0u64..5, any::<u32>()).prop_map(|(request, retry_after_ms)| {
            encode_frame(&Message::Busy {
                request,
                retry_after_ms,
            })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn inputs_of_a_page_that_is_out_of_its_mind(inputs in prop::collection::vec(input(), 1..60), times in prop::collection::vec(any::<f64>(), 60)) {
        let mut core = Core::new();
        for (input, now) in inputs.iter().zip(&times) {
            core.handle(*now, input);
        }
        // A share that is being opened hears the same.
        let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Silent);
        world.open();
        for input in inputs {
            world.now += 40.0;
            world.core.handle(world.now, &input);
        }
    }

    #[test]
    fn a_pipe_that_carries_no_tls(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..10)) {
        let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Silent);
        world.open();
        for piece in pieces {
            for pipe in 1u32..6 {
                world.core.handle(world.now, &message(5, &[&pipe.to_le_bytes(), &piece]));
            }
        }
    }

    #[test]
    fn a_relay_that_says_anything_after_a_right_greeting(frames in prop::collection::vec(frame(), 1..30), reading: bool, purpose in 0usize..3) {
        let mut world = World::new(shared(&[("a", 100_000)], 4096, 3), Manner::Honest);
        world.open();
        world.wait(2000.0, |world| world.heard.opened.is_some());
        if reading {
            world.manner = Manner::Silent;
            world.read(1, 1, 5);
        }
        let pipes: Vec<u32> = world.peers.keys().copied().collect();
        for frame in frames {
            let Some(pipe) = pipes.get(purpose) else { break };
            let Some(peer) = world.peers.get_mut(pipe) else { break };
            peer.say(&frame);
            let out = peer.out();
            world.tell(message(5, &[&pipe.to_le_bytes(), &out]));
        }
        world.wait(5000.0, |_| false);
    }

    #[test]
    fn vectors_of_anything(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = vectors::compute(&bytes);
    }
}

#[test]
fn answers_by_http_that_were_not_asked_for() {
    let mut world = World::new(shared(&[("a", 10_000)], 4096, 3), Manner::Honest);
    world.open();
    for get in 0u32..5 {
        world.core.handle(
            1.0,
            &message(
                7,
                &[
                    &get.to_le_bytes(),
                    &200u16.to_le_bytes(),
                    &0u32.to_le_bytes(),
                ],
            ),
        );
        world
            .core
            .handle(1.0, &message(8, &[&get.to_le_bytes(), &[1; 5000]]));
        world
            .core
            .handle(1.0, &message(9, &[&get.to_le_bytes(), &[1]]));
    }
}
