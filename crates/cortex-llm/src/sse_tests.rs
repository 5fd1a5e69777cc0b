//! The splitter against a naive reading of the standard, at every chunk boundary.

use proptest::prelude::*;

use super::*;

fn decode(chunks: &[&[u8]], limit: usize) -> Result<Vec<(String, String)>, FrameTooLarge> {
    let mut decoder = SseDecoder::new(limit);
    let mut frames = VecDeque::new();
    for chunk in chunks {
        decoder.feed(Bytes::copy_from_slice(chunk), &mut frames)?;
    }
    decoder.finish(&mut frames)?;
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(frames.iter().map(|frame| (text(&frame.event), text(&frame.data))).collect())
}

/// The standard, read line by line from the whole text.
fn naive(text: &str) -> Vec<(String, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut out, mut event, mut data) = (Vec::new(), String::new(), None::<String>);
    for line in text.split('\n').chain([""]) {
        if line.is_empty() {
            let event = std::mem::take(&mut event);
            out.extend(data.take().map(|data| (event, data)));
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                data = Some(data.map_or(value.to_owned(), |before| format!("{before}\n{value}")));
            }
            "event" => event = value.to_owned(),
            _ => {}
        }
    }
    out
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zé{}\": ]{0,12}".prop_map(|value| format!("data: {value}")),
        1 => "[a-z]{0,5}".prop_map(|value| format!("data:{value}")),
        1 => Just("data".to_owned()),
        1 => "[a-z]{0,5}".prop_map(|value| format!("event: {value}")),
        1 => "[a-z ]{0,5}".prop_map(|value| format!(":{value}")),
        1 => Just("id: 7".to_owned()),
        3 => Just(String::new()),
    ]
}

fn stream() -> impl Strategy<Value = String> {
    let ending = prop_oneof![Just("\n"), Just("\r"), Just("\r\n")];
    let lines = prop::collection::vec((line(), ending), 0..20);
    (any::<bool>(), lines).prop_map(|(mark, lines)| {
        let start = if mark { "\u{feff}" } else { "" };
        lines.into_iter().fold(start.to_owned(), |text, (line, end)| text + &line + end)
    })
}

proptest! {
    #[test]
    fn any_chunking_reads_as_the_standard_says(text in stream(), cuts in prop::collection::vec(0usize..300, 0..8)) {
        let bytes = text.as_bytes();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(decode(&chunks, 1 << 20), Ok(naive(&text)));
    }

    #[test]
    fn one_byte_at_a_time_reads_the_same(text in stream()) {
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(decode(&chunks, 1 << 20), Ok(naive(&text)));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&[&bytes], 64);
    }
}

#[test]
fn a_frame_within_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"data: hello\n\n");
    let mut frames = VecDeque::new();
    SseDecoder::new(100).feed(chunk.clone(), &mut frames).expect("small");
    assert_eq!(frames[0].data.as_ptr(), chunk[6..].as_ptr());
}

#[test]
fn a_frame_is_bounded_however_it_comes() {
    let long = [b'x'; 65];
    assert!(decode(&[b"data: ", &long], 64).is_err(), "in a line without end");
    let whole = [b"data: ".as_slice(), &long, b"\n\n"].concat();
    assert!(decode(&[&whole], 64).is_err(), "in one chunk");
    let lines = b"data: 12345678\n".repeat(9);
    assert!(decode(&[&lines], 64).is_err(), "in many lines");
    assert!(decode(&[b"data: 12345678\n\n".repeat(9).as_slice()], 64).is_ok(), "many frames");
}
