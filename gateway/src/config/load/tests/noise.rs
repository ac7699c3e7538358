//! Whatever is read, nothing panics.

use proptest::prelude::*;

use super::*;

/// A file that comes along, with some bytes taken out, doubled, or put in from elsewhere.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "{",
        "}",
        "[",
        "]",
        "=",
        ".",
        ",",
        "\n",
        "#",
        "\u{0}",
        "é",
        "0",
        "-1",
        "true",
        "[[route]]\n",
        "[pool.a]\n",
        "match",
        "tls = \"dev\"\n",
        "1979-05-27",
        "nan",
        "{id}",
        "\"\"\"",
        "\r",
        "99999999999999999999",
    ]);
    let change = (any::<prop::sample::Index>(), 0usize..40, pieces);
    (0..FILES.len(), any::<bool>(), prop::collection::vec(change, 1..6)).prop_map(|(file, full, changes)| {
        let mut text = if full { uncommented(FILES[file].1) } else { FILES[file].1.to_owned() };
        for (at, length, piece) in changes {
            let place = |text: &str, at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
            let start = place(&text, at.index(text.len() + 1)).unwrap();
            let end = place(&text, start + length).unwrap();
            text.replace_range(start..end, piece);
        }
        text
    })
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in mutated()) {
        if let Err(problems) = parse(&text, Path::new("g.toml")) {
            prop_assert!(!problems.problems.is_empty());
            let lines = text.matches('\n').count() + 1;
            prop_assert!(problems.problems.iter().all(|problem| (1..=lines).contains(&problem.line)), "{}", problems);
        }
    }

    #[test]
    fn no_noise_makes_it_panic(text in "\\PC*") {
        let _ = parse(&text, Path::new("g.toml"));
    }
}
