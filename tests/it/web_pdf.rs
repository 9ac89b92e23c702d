//! PDF files through `web.fetch`: their text, and what hostile ones cost, which is one child of the program.

use serde_json::json;

use crate::support::Toolgate;
use crate::support::web_server::{Reply, WebServer};
use crate::web::{call, value};

/// A PDF of these objects, from 1 on; the first is the catalogue.
fn pdf(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut file = b"%PDF-1.7\n".to_vec();
    let mut places = Vec::new();
    for (number, object) in (1..).zip(objects) {
        places.push(file.len());
        file.extend_from_slice(format!("{number} 0 obj\n").as_bytes());
        file.extend_from_slice(object);
        file.extend_from_slice(b"\nendobj\n");
    }
    let table = file.len();
    file.extend_from_slice(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).as_bytes());
    for place in places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    file.extend_from_slice(format!("trailer << /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF", objects.len() + 1).as_bytes());
    file
}

fn stream(extra: &str, content: &[u8]) -> Vec<u8> {
    [format!("<< /Length {} {extra} >>\nstream\n", content.len()).as_bytes(), content, b"\nendstream"].concat()
}

/// One page with this content.
fn page(content: Vec<u8>) -> Vec<Vec<u8>> {
    let font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>";
    vec![
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 /MediaBox [0 0 612 792] >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /Resources << /Font << /F1 5 0 R >> >> /Contents 4 0 R >>".to_vec(),
        content,
        font.as_bytes().to_vec(),
    ]
}

fn packed(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_pdf_is_read_and_a_hostile_one_costs_a_child_and_no_more() {
    let text = page(stream("", b"BT /F1 24 Tf 72 700 Td (Runtimes poll futures) Tj ET"));
    // 2 GiB of zeroes, packed twice in some kilobytes.
    let zeroes = packed(&packed_zeroes(2 << 30));
    let bomb = page(stream("/Filter [/FlateDecode /FlateDecode]", &zeroes));
    // Nobody in the line of parents has a media box, and the line is a circle.
    let mut circle = page(stream("", b""));
    circle[1] = b"<< /Type /Pages /Kids [3 0 R] /Count 1 /Parent 3 0 R >>".to_vec();
    let mut files = vec![
        ("/text.pdf", pdf(&text)),
        ("/bomb.pdf", pdf(&bomb)),
        ("/circle.pdf", pdf(&circle)),
        ("/nested.pdf", pdf(&page(stream("", format!("{}{}", "[".repeat(200_000), "]".repeat(200_000)).as_bytes())))),
        ("/nobox.pdf", pdf(&text).windows(1).flatten().copied().collect()),
        ("/cut.pdf", pdf(&text)[..200].to_vec()),
        ("/empty.pdf", b"%PDF-1.7".to_vec()),
    ];
    files[4].1 = String::from_utf8(files[4].1.clone()).unwrap().replace("MediaBox", "NoMedBox").into_bytes();
    let served = files.clone();
    let server = WebServer::start(move |asked| match served.iter().find(|(path, _)| *path == asked.path()) {
        Some((_, file)) => Reply::new(200, "application/pdf", file.clone()),
        None => Reply::new(404, "text/plain", ""),
    });
    let toolgate = Toolgate::new();
    for (path, file) in &files {
        let fetched = value(&call(&toolgate, &server, &[], "web.fetch", &json!({ "url": format!("{}{path}", server.base()) })).exits(0));
        assert_eq!(fetched["original"]["size"], file.len(), "{path}: the original is kept: {fetched}");
        if *path == "/text.pdf" {
            assert_eq!(
                (&fetched["text"], &fetched["content_type"]),
                (&json!("Runtimes poll futures"), &json!("application/pdf")),
                "{fetched}"
            );
        } else {
            assert!(fetched["unread"].as_str().is_some_and(|why| why.contains("PDF")) && fetched["text"] == "", "{path}: {fetched}");
        }
    }
}

/// So many zeroes in the packed form, without holding them.
fn packed_zeroes(count: usize) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    let part = vec![0; 1 << 20];
    for _ in 0..count >> 20 {
        encoder.write_all(&part).unwrap();
    }
    encoder.finish().unwrap()
}
