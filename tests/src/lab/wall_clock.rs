//! A wall clock that is wrong: a library that the programs of a device load first answers for the
//! system's.
//!
//! Only the wall clock is moved. The time since the machine began goes on as it does where somebody
//! sets a clock.

use super::tool::tool;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The variable that says by how many seconds the clock is wrong.
pub(super) const OFFSET: &str = "LAB_WALL_CLOCK";

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void) {
    const char *text = getenv("LAB_WALL_CLOCK");
    return text ? atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    long result = syscall(SYS_clock_gettime, clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) at->tv_sec += offset();
    return (int)result;
}

int gettimeofday(struct timeval *at, void *zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"#;

/// The library, compiled into a folder of the lab.
pub(super) fn library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("wall_clock.c"), folder.join("wall_clock.so"));
    if !library.exists() {
        std::fs::write(&source, SOURCE).unwrap();
        tool(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&library)
                .arg(&source),
        );
    }
    library
}
