//! `[wake]`: how devices that are not connected are woken.

use serde::Deserialize;
use std::path::PathBuf;

/// `[wake]`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WakeConfig {
    /// Browsers are woken by web push.
    pub push: bool,
    /// The operator's address for push services when something is wrong: `mailto:…` or `https://…`; `None`:
    /// the address of the page.
    pub contact: Option<String>,
    /// Addresses that a device names are posted to.
    pub webhooks: bool,
    /// Hosts that are posted to at all: a name, `*.name` for those below it, `*` for all.
    pub hosts: Vec<String>,
    /// Hosts may be on the operator's own network, at any port.
    pub private: bool,
    /// PEM file of certificates that are trusted besides those of the system.
    pub roots: Option<PathBuf>,
    /// The server by which mail is sent; `None`: none is.
    pub mail: Option<MailWake>,
}

/// `wake.mail`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailWake {
    /// `host:port`; at port 465 TLS begins at once, elsewhere by STARTTLS.
    pub server: String,
    /// The sender of the mail.
    pub from: String,
    /// The name that the server asks for.
    pub user: Option<String>,
    /// File with the password.
    pub password_file: Option<PathBuf>,
    /// TLS begins at once, whatever the port.
    pub tls: Option<bool>,
}

impl Default for WakeConfig {
    fn default() -> Self {
        let hosts = [
            "fcm.googleapis.com",
            "updates.push.services.mozilla.com",
            "*.push.apple.com",
            "*.notify.windows.com",
        ];
        Self {
            push: true,
            contact: None,
            webhooks: false,
            hosts: hosts.map(str::to_owned).to_vec(),
            private: false,
            roots: None,
            mail: None,
        }
    }
}

impl WakeConfig {
    /// Names what is wrong with it.
    pub(super) fn wrong(&self) -> Option<&'static str> {
        let begins = |text: &String| text.starts_with("mailto:") || text.starts_with("https://");
        if !self.contact.as_ref().is_none_or(begins) {
            return Some("wake.contact begins with mailto: or https://");
        }
        if self.hosts.iter().any(|host| !is_host(host)) {
            return Some("wake.hosts has names of hosts: name, *.name, or * for all");
        }
        let mail = self.mail.as_ref()?;
        if mail.user.is_some() != mail.password_file.is_some() {
            return Some("wake.mail.user and wake.mail.password_file are set together");
        }
        let port = mail
            .server
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) {
            return Some("wake.mail.server is host:port");
        }
        if mail.from.parse::<lettre::message::Mailbox>().is_err() {
            return Some("wake.mail.from is an address for mail");
        }
        None
    }
}

/// A star stands for all, or before a dot; the rest is a name or an address.
fn is_host(text: &str) -> bool {
    let rest = match text.strip_prefix('*') {
        Some("") => return true,
        Some(rest) => rest.strip_prefix('.').unwrap_or("*"),
        None => text,
    };
    !rest.is_empty()
        && rest
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_named() {
        let wrong = |change: fn(&mut WakeConfig)| {
            let mut config = WakeConfig::default();
            change(&mut config);
            config.wrong().is_some()
        };
        assert!(!wrong(|_| {}));
        assert!(!wrong(|wake| wake.hosts = vec!["*".into(), "[::1]".into()]));
        assert!(wrong(|wake| wake.hosts = vec!["https://a".into()]));
        assert!(wrong(|wake| wake.hosts = vec!["*a".into()]));
        assert!(wrong(|wake| wake.contact = Some("me".into())));
        let mail = |server: &str, from: &str, user: Option<&str>| MailWake {
            server: server.into(),
            from: from.into(),
            user: user.map(Into::into),
            password_file: None,
            tls: None,
        };
        let wrong = |mail| {
            let mail = Some(mail);
            let config = WakeConfig {
                mail,
                ..WakeConfig::default()
            };
            config.wrong().is_some()
        };
        assert!(!wrong(mail(
            "smtp.example.org:587",
            "Relay <a@example.org>",
            None
        )));
        assert!(wrong(mail("smtp.example.org", "a@example.org", None)));
        assert!(wrong(mail("smtp.example.org:587", "nobody", None)));
        assert!(wrong(mail(
            "smtp.example.org:587",
            "a@example.org",
            Some("a")
        )));
    }
}
