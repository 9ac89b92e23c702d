//! A mail server that speaks SMTP (RFC 5321) with STARTTLS (RFC 3207), TLS from the start (RFC 8314) or none, and logins (RFC 4954).

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;

/// When the connection is secured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tls {
    Start,
    Implicit,
    None,
}

/// What it does with recipients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Manner {
    Takes,
    /// Puts the first mail off.
    BusyOnce,
    Refuses,
    /// Takes the mail and closes before it says so, the first time.
    ForgetsToSayOnce,
}

/// A mail that it took, or was about to take.
#[derive(Debug, Clone, Default)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
    pub login: Option<String>,
    pub was_secured: bool,
}

impl Mail {
    /// A header's value, unfolded.
    pub fn header(&self, name: &str) -> Vec<String> {
        let text = self.data.replace("\r\n ", " ").replace("\r\n\t", " ");
        let head = text.split_once("\r\n\r\n").map_or(text.as_str(), |(head, _)| head).to_owned();
        let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect()
    }
}

pub struct MailServer {
    pub port: u16,
    /// The root that its certificate, for `localhost`, is from.
    pub root_pem: String,
    mails: Arc<Mutex<Vec<Mail>>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

#[derive(Clone)]
struct Server {
    tls: Tls,
    manner: Manner,
    config: Arc<rustls::ServerConfig>,
    mails: Arc<Mutex<Vec<Mail>>>,
    connections: Arc<AtomicUsize>,
}

impl MailServer {
    pub fn start(tls: Tls, manner: Manner) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &root).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let server = Server { tls, manner, config: Arc::new(config), mails: mails.clone(), connections: Arc::default() };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || drop(server.serve(stream)));
            }
        });
        Self { port, root_pem: root.pem(), mails }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().unwrap().clone()
    }
}

fn line(stream: &mut dyn Stream) -> std::io::Result<String> {
    let (mut bytes, mut one) = (Vec::new(), [0]);
    while !bytes.ends_with(b"\r\n") {
        stream.read_exact(&mut one)?;
        bytes.push(one[0]);
    }
    Ok(String::from_utf8(bytes).unwrap().trim_end().to_owned())
}

fn say(stream: &mut dyn Stream, text: &str) -> std::io::Result<()> {
    stream.write_all(format!("{text}\r\n").as_bytes())?;
    stream.flush()
}

impl Server {
    fn secure(&self, stream: TcpStream) -> Box<dyn Stream> {
        Box::new(rustls::StreamOwned::new(rustls::ServerConnection::new(self.config.clone()).unwrap(), stream))
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let n = self.connections.fetch_add(1, Ordering::SeqCst);
        let raw = stream.try_clone()?;
        let mut secured = self.tls == Tls::Implicit;
        let mut stream: Box<dyn Stream> = if secured { self.secure(stream) } else { Box::new(stream) };
        say(&mut stream, "220 mail.test ready")?;
        let mut mail = Mail::default();
        loop {
            let said = line(&mut stream)?;
            let (verb, rest) = said.split_once(' ').unwrap_or((&said, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => {
                    let offers = match (self.tls, secured) {
                        (Tls::Start, false) => "250-mail.test\r\n250 STARTTLS",
                        _ => "250-mail.test\r\n250-8BITMIME\r\n250 AUTH PLAIN LOGIN",
                    };
                    say(&mut stream, offers)?;
                }
                "STARTTLS" => {
                    say(&mut stream, "220 go ahead")?;
                    stream = self.secure(raw.try_clone()?);
                    secured = true;
                }
                _ if self.tls == Tls::Start && !secured => say(&mut stream, "530 Must issue a STARTTLS command first")?,
                "AUTH" => {
                    let packed = rest.strip_prefix("PLAIN ").unwrap_or_default();
                    mail.login = Some(String::from_utf8(STANDARD.decode(packed).unwrap()).unwrap().replace('\0', "|"));
                    say(&mut stream, "235 2.7.0 welcome")?;
                }
                "MAIL" => {
                    rest.clone_into(&mut mail.from);
                    say(&mut stream, "250 ok")?;
                }
                "RCPT" => {
                    mail.to.push(rest.to_owned());
                    say(
                        &mut stream,
                        match self.manner {
                            Manner::Refuses => "550 5.1.1 their words",
                            Manner::BusyOnce if n == 0 => "451 4.7.1 their words",
                            Manner::Takes | Manner::BusyOnce | Manner::ForgetsToSayOnce => "250 ok",
                        },
                    )?;
                }
                "DATA" => {
                    say(&mut stream, "354 go on")?;
                    loop {
                        let text = line(&mut stream)?;
                        if text == "." {
                            break;
                        }
                        mail.data += text.strip_prefix('.').unwrap_or(&text);
                        mail.data += "\r\n";
                    }
                    mail.was_secured = secured;
                    self.mails.lock().unwrap().push(std::mem::take(&mut mail));
                    if self.manner == Manner::ForgetsToSayOnce && n == 0 {
                        return Ok(());
                    }
                    say(&mut stream, "250 2.0.0 queued")?;
                }
                "QUIT" => return say(&mut stream, "221 bye"),
                _ => say(&mut stream, "250 ok")?,
            }
        }
    }
}
