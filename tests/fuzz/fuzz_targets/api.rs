//! Requests to the local API, and its answers as the command line reads them.
#![no_main]

use hither_api::{
    AcceptRequest, ApiError, CreateGroup, DecideGroup, Event, FetchRequest, FindRequest, JoinGroup, RelayRequest,
    SaveRequest, SendRequest, SetGroupPolicy, ShareInfo, ShareRequest, Status,
};
use serde::{Serialize, de::DeserializeOwned};

fn again<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(read) = serde_json::from_slice::<T>(data) {
        let written = serde_json::to_vec(&read).expect("texts and numbers");
        assert!(serde_json::from_slice::<T>(&written).is_ok(), "what was written cannot be read");
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    again::<ShareRequest>(data);
    again::<FetchRequest>(data);
    again::<AcceptRequest>(data);
    again::<FindRequest>(data);
    again::<SendRequest>(data);
    again::<SaveRequest>(data);
    again::<RelayRequest>(data);
    again::<CreateGroup>(data);
    again::<JoinGroup>(data);
    again::<DecideGroup>(data);
    again::<SetGroupPolicy>(data);
    again::<ShareInfo>(data);
    again::<Status>(data);
    again::<Event>(data);
    again::<ApiError>(data);
});
