//! Which permissions this process gives away.

/// The usual one, for where the system does not say.
const USUAL: u32 = 0o022;

/// The process' umask: bits that nothing it makes gets. Read and not, as the system call does, set
/// for a moment.
pub fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    from_status(&status).unwrap_or(USUAL)
}

/// The umask in the text of `/proc/self/status`: octal, since Linux 4.7.
fn from_status(status: &str) -> Option<u32> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8)
        .ok()
        .map(|umask| umask & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_it_in_octal() {
        assert_eq!(
            from_status("Name:\tx\nUmask:\t0027\nState:\tR\n"),
            Some(0o027)
        );
        assert_eq!(from_status("Name:\tx\n"), None);
        assert!(umask() <= 0o777);
    }
}
