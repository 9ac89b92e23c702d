//! Bodies unpacked: what a server sent in gzip or deflate, as it was before.
//!
//! INVARIANT: no more than the cap is ever unpacked, whatever the packed size; an encoding that was not asked for is an error.
//! Nothing here is done unasked: `Egress::send` hands on what came.

use std::io::Read as _;

use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use crate::domain::{Bytes, ErrorCode, Fault};

use super::Answer;

/// Encodings laid over one another that are unpacked.
const MOST_LAYERS: usize = 2;

/// The answer with its body unpacked, at most `cap` bytes, and without the headers that told of the packing.
///
/// # Errors
/// `LIMIT_EXCEEDED` beyond the cap; `EGRESS_FAILED` for a broken body or another encoding.
pub fn decoded(mut answer: Answer, cap: Bytes) -> Result<Answer, Fault> {
    let told = answer.headers.iter().filter(|(name, _)| name == "content-encoding");
    let layers: Vec<String> = told
        .flat_map(|(_, value)| value.split(','))
        .map(|word| word.trim().to_ascii_lowercase())
        .filter(|word| !word.is_empty() && word != "identity")
        .collect();
    if layers.is_empty() {
        return Ok(answer);
    }
    if layers.len() > MOST_LAYERS {
        return Err(Fault::new(ErrorCode::EgressFailed, format!("the answer is packed {} times over", layers.len())));
    }
    for layer in layers.iter().rev() {
        answer.body = unpacked(&answer.body, layer, cap)?.into();
    }
    answer.headers.retain(|(name, _)| name != "content-encoding" && name != "content-length");
    Ok(answer)
}

fn unpacked(body: &[u8], layer: &str, cap: Bytes) -> Result<Vec<u8>, Fault> {
    match layer {
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(body), cap),
        // Some servers mean the bare format, some the one with a head.
        "deflate" => read(ZlibDecoder::new(body), cap)
            .or_else(|fault| if fault.code == ErrorCode::LimitExceeded { Err(fault) } else { read(DeflateDecoder::new(body), cap) }),
        _ => Err(Fault::new(ErrorCode::EgressFailed, "the answer is packed in a way that was not asked for")
            .hint("the server ignores `Accept-Encoding`")),
    }
}

fn read(decoder: impl std::io::Read, cap: Bytes) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    let read = decoder.take(cap.0.saturating_add(1)).read_to_end(&mut out);
    if super::send::len(out.len()) > cap.0 {
        return Err(Fault::new(ErrorCode::LimitExceeded, format!("the answer unpacks to more than the {} bytes allowed", cap.0))
            .hint("fetch a smaller resource, or allow more bytes"));
    }
    read.map_err(|_| Fault::new(ErrorCode::EgressFailed, "the answer's body is packed, and broken"))?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn answer(encoding: &str, body: Vec<u8>) -> Answer {
        let headers = vec![("content-encoding".to_owned(), encoding.to_owned()), ("content-length".to_owned(), body.len().to_string())];
        Answer { status: 200, reason: "OK".into(), headers, body: body.into(), url: "http://a/".into(), hops: 0 }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_packed_comes_out_as_it_was() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
        zlib.write_all(b"plain").unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::fast());
        bare.write_all(b"plain").unwrap();
        let bodies = [
            ("gzip", gzip(b"plain")),
            ("GZIP", gzip(b"plain")),
            ("deflate", zlib.finish().unwrap()),
            ("deflate", bare.finish().unwrap()),
            ("gzip, gzip", gzip(&gzip(b"plain"))),
            ("identity", b"plain".to_vec()),
        ];
        for (encoding, body) in bodies {
            let decoded = decoded(answer(encoding, body), Bytes(100)).unwrap();
            assert_eq!(decoded.body.as_ref(), b"plain", "{encoding}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_cap() {
        // 64 MiB in 64 KiB, twice packed in a few hundred bytes: a naive `read_to_end` would take it all.
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100 << 10);
        for (encoding, body) in [("gzip", bomb.clone()), ("gzip, gzip", gzip(&bomb))] {
            assert_eq!(decoded(answer(encoding, body), Bytes(1 << 20)).unwrap_err().code, ErrorCode::LimitExceeded);
        }
        let mut naive = Vec::new();
        MultiGzDecoder::new(bomb.as_slice()).read_to_end(&mut naive).unwrap();
        assert_eq!(naive.len(), 64 << 20);
    }

    #[test]
    fn a_broken_or_unknown_packing_is_told() {
        for (encoding, body) in
            [("gzip", b"not gzip".to_vec()), ("br", b"x".to_vec()), ("gzip,gzip,gzip", gzip(b"x")), ("deflate", vec![255; 9])]
        {
            assert_eq!(decoded(answer(encoding, body), Bytes(100)).unwrap_err().code, ErrorCode::EgressFailed, "{encoding}");
        }
    }
}
