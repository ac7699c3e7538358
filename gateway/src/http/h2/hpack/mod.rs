//! HPACK (RFC 7541): header blocks to fields and back.
//!
//! In: the block of one message, whole; out: its fields into a [`Sink`], and the other way round. Knows nothing of
//! frames or streams. The tables of both directions are bounded by `http2_header_table_size`.

mod decode;
mod encode;
mod huffman;
mod table;

pub(super) use decode::{Decoder, Sink};
pub(super) use encode::{Encoder, list_size};
pub(super) use table::{Label, Pseudo};

/// The size of both tables before any settings (RFC 9113 section 6.5.2).
pub(super) const INITIAL_TABLE_SIZE: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::decode::Broken;
    use super::*;
    use crate::http::Name;

    #[derive(Default)]
    struct List(Vec<(Vec<u8>, Vec<u8>)>);

    impl Sink for List {
        fn field(&mut self, label: Label<'_>, value: &[u8]) {
            let name = match label {
                Label::Pseudo(pseudo) => pseudo.text().as_bytes(),
                Label::Name(name) => name.text().as_bytes(),
                Label::Invalid(text) => text,
            };
            self.0.push((name.to_vec(), value.to_vec()));
        }
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |d: u8| (d as char).to_digit(16).unwrap() as u8;
        digits.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    }

    fn decode(decoder: &mut Decoder, block: &str) -> Result<String, Broken> {
        let mut list = List::default();
        decoder.decode(&hex(block), &mut list)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lines: Vec<String> = list.0.iter().map(|(n, v)| format!("{}: {}", text(n), text(v))).collect();
        Ok(lines.join("\n"))
    }

    fn expect(decoder: &mut Decoder, block: &str, wanted: &[&str]) {
        assert_eq!(decode(decoder, block).unwrap(), wanted.join("\n"));
    }

    #[test]
    fn literals_of_section_c_2() {
        expect(
            &mut Decoder::new(),
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &["custom-key: custom-header"],
        );
        expect(&mut Decoder::new(), "040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"]);
        expect(&mut Decoder::new(), "1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"]);
        expect(&mut Decoder::new(), "82", &[":method: GET"]);
    }

    const FIRST: &[&str] = &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
    const SECOND: &[&str] =
        &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"];
    const THIRD: &[&str] = &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ];

    #[test]
    fn requests_of_sections_c_3_and_c_4() {
        let plain = &mut Decoder::new();
        expect(plain, "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", FIRST);
        expect(plain, "8286 84be 5808 6e6f 2d63 6163 6865", SECOND);
        expect(plain, "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", THIRD);
        let coded = &mut Decoder::new();
        expect(coded, "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", FIRST);
        expect(coded, "8286 84be 5886 a8eb 1064 9cbf", SECOND);
        expect(coded, "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", THIRD);
    }

    #[test]
    fn responses_of_sections_c_5_and_c_6_with_a_table_of_256_bytes() {
        let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
        let location = "location: https://www.example.com";
        let first = &[":status: 302", "cache-control: private", date, location][..];
        let second = &[":status: 307", "cache-control: private", date, location][..];
        let third = &[
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            location,
            "content-encoding: gzip",
            "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        ][..];
        let plain = &mut Decoder::new();
        expect(plain, "3fe1 01", &[]);
        expect(
            plain,
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120
             474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            first,
        );
        expect(plain, "4803 3330 37c1 c0bf", second);
        expect(
            plain,
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738
             666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33
             3630 303b 2076 6572 7369 6f6e 3d31",
            third,
        );
        let coded = &mut Decoder::new();
        expect(coded, "3fe1 01", &[]);
        expect(
            coded,
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718
             63c7 8f0b 97c8 e9ae 82ae 43d3",
            first,
        );
        expect(coded, "4883 640e ffc1 c0bf", second);
        expect(
            coded,
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7
             b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
            third,
        );
    }

    #[test]
    fn broken_blocks_are_refused() {
        for (block, why) in [
            ("80", "index 0"),
            ("be", "empty dynamic table"),
            ("ff80808080808001", "integer too large"),
            ("ff", "cut in an integer"),
            ("00", "no name"),
            ("400a63", "cut in a string"),
            ("8220", "size update at the end"),
            ("202020", "too many size updates"),
            ("3fe21f", "size update above the setting"),
            ("0401ff", "padding of eight bits"),
        ] {
            let result = decode(&mut Decoder::new(), block);
            assert_eq!(result.is_err(), why != "padding of eight bits", "{why}");
        }
        assert!(decode(&mut Decoder::new(), "0481ff").is_err());
        assert!(decode(&mut Decoder::new(), "2020").is_ok());
    }

    #[test]
    fn a_smaller_table_setting_must_be_followed() {
        let mut decoder = Decoder::new();
        decoder.allow(100);
        assert!(decode(&mut decoder, "82").is_err());
        assert!(decode(&mut decoder, "3f4582").is_ok());
        assert!(decode(&mut decoder, "82").is_ok());
    }

    #[test]
    fn an_encoder_announces_the_peers_table_sizes() {
        let mut encoder = Encoder::new(4096);
        encoder.allow(0);
        encoder.allow(1000);
        let mut out = Vec::new();
        encoder.begin(&mut out);
        assert_eq!(out, hex("20 3fc907"));
        encoder.begin(&mut out);
        assert_eq!(out.len(), 4);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            lists in prop::collection::vec(
                prop::collection::vec(("[a-z]{1,3}|date|server|cookie|x-[a-z]{1,40}", "[ -~]{0,60}"), 0..20), 1..20),
            tables in prop::collection::vec(0usize..5000, 1..20),
        ) {
            let mut encoder = Encoder::new(4096);
            let mut decoder = Decoder::new();
            for (list, table) in lists.iter().zip(tables.iter().cycle()) {
                encoder.allow(*table);
                decoder.allow((*table).min(4096));
                let mut block = Vec::new();
                encoder.begin(&mut block);
                for (name, value) in list {
                    encoder.field(Name::from(name.as_str()), value.as_bytes(), &mut block);
                }
                if block.is_empty() {
                    continue;
                }
                let mut found = List::default();
                decoder.decode(&block, &mut found).unwrap();
                let wanted: Vec<_> = list.iter().map(|(n, v)| (n.clone().into_bytes(), v.clone().into_bytes())).collect();
                prop_assert_eq!(found.0, wanted);
            }
        }

        #[test]
        fn no_bytes_make_the_decoder_fail_hard(blocks: Vec<Vec<u8>>) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let _ = decoder.decode(&block, &mut List::default());
            }
        }
    }
}
