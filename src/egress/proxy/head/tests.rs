use super::*;

/// Reads a head of which a part is there already, so that the reads that follow end at odd places.
async fn read_of(text: &str, before: usize, cap: usize) -> Result<(String, String), NoHead> {
    let (before, mut rest) = text.as_bytes().split_at(before);
    let (head, beyond) = read(&mut rest, before.to_vec(), cap).await?;
    // What was not read at all is beyond as well.
    Ok((String::from_utf8(head).unwrap(), String::from_utf8([&beyond, rest].concat()).unwrap()))
}

#[tokio::test]
async fn the_cap_is_exact_wherever_reads_end() {
    let text = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(9000));
    let full = format!("{text}what follows");
    for before in [0, 1, 100, 4000, text.len() - 3, text.len(), full.len()] {
        let (head, beyond) = read_of(&full, before, text.len()).await.unwrap();
        assert_eq!((format!("{head}\r\n\r\n"), beyond.as_str()), (text.clone(), "what follows"), "{before}");
        assert_eq!(read_of(&full, before, text.len() - 1).await.unwrap_err(), NoHead::TooLarge, "{before}");
    }
    assert_eq!(read_of("GET /", 0, 100).await.unwrap_err(), NoHead::Gone { begun: true });
    assert_eq!(read_of("", 0, 100).await.unwrap_err(), NoHead::Gone { begun: false });
}
