//! Transfers for the tests of this folder.

use hither_api::{
    MapRun, MapState, Phase, SourceKind, SpanMap, TransferInfo, TransferView, ViewSource,
};

/// A transfer of 3 GB, 40 % of it here.
pub fn transfer(id: &str, phase: Phase, started: u64) -> TransferInfo {
    TransferInfo {
        transfer: id.into(),
        share: "s".into(),
        name: format!("film-{id}.mkv"),
        path: format!("/home/ada/film-{id}.mkv"),
        phase,
        bytes: 1_200_000_000,
        total: 3_000_000_000,
        rate: if phase == Phase::Fetching {
            118_000_000
        } else {
            0
        },
        devices: 2,
        started,
        ended: None,
        seconds: 0.0,
        reason: None,
        follow: None,
        names: Default::default(),
        currency: None,
        sources: Vec::new(),
    }
}

pub fn source(name: &str, kind: SourceKind, bytes: u64) -> ViewSource {
    ViewSource {
        device: format!("12D3KooW{name}"),
        name: name.into(),
        kind,
        open: true,
        bytes,
        rate: bytes / 10,
        in_flight: 4 << 20,
        rtt_ms: Some(0.42),
        price: 0.0,
        cost: 0.0,
        faults: 0,
    }
}

/// Two devices and a store give, a part was copied.
pub fn view(id: &str) -> TransferView {
    let store = ViewSource {
        price: 0.09,
        cost: 0.0123,
        faults: 2,
        rtt_ms: Some(31.0),
        ..source("", SourceKind::Store, 150_000_000)
    };
    let local = ViewSource {
        open: false,
        rate: 0,
        in_flight: 0,
        rtt_ms: None,
        ..source("desk", SourceKind::Local, 50_000_000)
    };
    let run = |cells, state, source| MapRun {
        cells,
        state,
        source,
    };
    let runs = vec![
        run(100, MapState::Earlier, None),
        run(50, MapState::Local, None),
        run(600, MapState::Source, Some(0)),
        run(16, MapState::InFlight, Some(0)),
        run(300, MapState::Source, Some(1)),
        run(16, MapState::InFlight, Some(1)),
        run(150, MapState::Source, Some(2)),
        run(1628, MapState::Missing, None),
    ];
    TransferView {
        transfer: transfer(id, Phase::Fetching, 9),
        remaining: Some(15),
        history: (0..40)
            .map(|second| 90_000_000 + second * 700_000)
            .collect(),
        sources: vec![
            source("laptop-2", SourceKind::Lan, 600_000_000),
            source("phone", SourceKind::Direct, 300_000_000),
            store,
            local,
        ],
        map: Some(SpanMap {
            cells: runs.iter().map(|run| run.cells).sum(),
            runs,
        }),
    }
}
