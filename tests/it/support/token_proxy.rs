//! A proxy on this machine that adds a token to every request, for clients that can send none. It answers for the address of the server behind it
//! and takes nothing else away: a foreign `Host` or `Origin` reaches the server as it came.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};

/// Proxies to `server` until the process ends; where clients find it.
pub fn start(server: SocketAddr, token: String) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let here = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let token = token.clone();
            std::thread::spawn(move || drop(pass(client, here, server, &token)));
        }
    });
    here
}

/// One request and its answer: the connection ends with it, so that none goes by without the token.
fn pass(client: TcpStream, here: SocketAddr, server: SocketAddr, token: &str) -> std::io::Result<()> {
    let mut from_client = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    if from_client.read_line(&mut head)? == 0 {
        return Ok(());
    }
    loop {
        let mut line = String::new();
        if from_client.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
        match name.as_str() {
            "connection" => {}
            "host" | "origin" => head.push_str(&line.replace(&here.to_string(), &server.to_string())),
            _ => head.push_str(&line),
        }
    }
    head.push_str(&format!("Authorization: Bearer {token}\r\nConnection: close\r\n\r\n"));
    let mut to_server = TcpStream::connect(server)?;
    to_server.write_all(head.as_bytes())?;
    let (from_server, to_client) = (to_server.try_clone()?, client);
    let answer = std::thread::spawn(move || copy(from_server, to_client));
    // A client that goes away is heard of by the server.
    copy(from_client, to_server)?;
    answer.join().unwrap()
}

/// Piece by piece, as they come: a stream of events must not wait for its end.
fn copy(mut from: impl Read, mut to: TcpStream) -> std::io::Result<()> {
    let mut piece = [0; 16 << 10];
    loop {
        match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => to.write_all(&piece[..read])?,
        }
    }
    drop(to.shutdown(Shutdown::Write));
    Ok(())
}
