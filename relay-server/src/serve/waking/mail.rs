//! Mail by the operator's server: always over TLS, with one sentence in it that says nothing.

use super::post::extra_roots;
use crate::config::{MailWake, WakeConfig};
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use std::time::Duration;

/// Longest time for one step of a conversation with the server.
const PATIENCE: Duration = Duration::from_secs(10);
/// Port at which TLS begins at once (RFC 8314); at any other it begins with STARTTLS.
const SUBMISSIONS: u16 = 465;
/// Its content.
const SUBJECT: &str = "Hither: something waits for you";
const SENTENCE: &str = "Something waits for one of your devices. Connect it, or open the page, to see \
                        it.\n\nThe relay does not know from whom it is, or what it is.\n";

/// Sends mail.
pub(super) struct Mailer {
    server: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    /// As configured; the password is read now.
    pub(super) fn new(config: &WakeConfig, mail: &MailWake) -> Result<Self, String> {
        let wrong = |key: &str, error: &dyn std::fmt::Display| format!("wake.mail.{key}: {error}");
        let (host, port) = mail
            .server
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
            .ok_or_else(|| wrong("server", &"write host:port"))?;
        let mut tls = TlsParameters::builder(host.to_owned());
        for root in extra_roots(config)? {
            let root = Certificate::from_der(root.to_vec());
            tls = tls.add_root_certificate(root.map_err(|error| wrong("server", &error))?);
        }
        let tls = tls.build().map_err(|error| wrong("server", &error))?;
        let tls = match mail.tls.unwrap_or(port == SUBMISSIONS) {
            true => Tls::Wrapper(tls),
            false => Tls::Required(tls),
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(PATIENCE));
        if let Some(user) = &mail.user {
            let path = mail
                .password_file
                .as_ref()
                .ok_or_else(|| wrong("password_file", &"is needed beside user"))?;
            let password =
                std::fs::read_to_string(path).map_err(|error| wrong("password_file", &error))?;
            let password = password.trim_end_matches(['\r', '\n']).to_owned();
            server = server.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self {
            server: server.build(),
            from: mail.from.parse().map_err(|error| wrong("from", &error))?,
        })
    }

    /// Sends the sentence to an address.
    pub(super) async fn send(&self, to: &str) -> Result<(), String> {
        let to = to.parse().map_err(|error| format!("{error}"))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(SUBJECT)
            .header(ContentType::TEXT_PLAIN)
            .body(SENTENCE.to_owned())
            .map_err(|error| error.to_string())?;
        self.server
            .send(message)
            .await
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

/// True for an address that mail can be sent to.
pub(super) fn is_address(text: &str) -> bool {
    text.parse::<lettre::Address>().is_ok()
}
