//! Reading MovieLens: both layouts, what is derived, what is refused; and the real `ml-latest-small`.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use marquee_catalogue::movielens::{MAX_TAGS_OF_A_MOVIE, maturity_of, read_titles};
use marquee_catalogue::{CatalogueError, Maturity, Regions, Title};
use marquee_events::ErrorKind;

fn read(files: &[(&str, &[u8])]) -> Result<Vec<Title>, CatalogueError> {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    read_titles(dir.path()).map_err(|error| match error {
        // The folder is another one each time.
        CatalogueError::Invalid { what, field, problem } => {
            let what = what.replace(&format!("{}/", dir.path().display()), "");
            CatalogueError::Invalid { what, field, problem }
        }
        other => other,
    })
}

fn movies(lines: &str) -> Result<Vec<Title>, CatalogueError> {
    read(&[("movies.csv", format!("movieId,title,genres\n{lines}").as_bytes())])
}

fn check_refused(files: &[(&str, &[u8])], expected: &Expect) {
    let error = read(files).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    expected.assert_eq(&error.to_string());
}

#[test]
fn a_movie_becomes_a_title() {
    let tags = "userId,movieId,tag,timestamp\n\
                1,1,Pixar,1\n2,1,pixar ,2\n3,1,fun,3\n4,1,\"toys, alive\",4\n5,1, ,5\n";
    let movies = "movieId,title,genres\r\n1,Toy Story (1995),Adventure|Animation|Children\r\n";
    let titles = read(&[("movies.csv", movies.as_bytes()), ("tags.csv", tags.as_bytes())]).unwrap();
    let expected = Title {
        title_id: "ml-1".to_owned(),
        name: "Toy Story".to_owned(),
        year: Some(1995),
        genres: ["Adventure", "Animation", "Children"].map(str::to_owned).to_vec(),
        tags: ["pixar", "fun", "toys, alive"].map(str::to_owned).to_vec(),
        maturity: Maturity::AllAges,
        regions: Regions::Everywhere,
        duration_ms: None,
        added_at_ms: 788_918_400_000,
    };
    assert_eq!(titles, [expected]);
}

#[test]
fn the_year_is_what_stands_last_in_brackets() {
    for (title, name, year) in [
        ("Toy Story (1995)", "Toy Story", Some(1995)),
        ("\"American President, The (1995)\"", "American President, The", Some(1995)),
        ("Assembly (Ji jie hao) (2007) ", "Assembly (Ji jie hao)", Some(2007)),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", Some(2006)),
        ("Fargo (2014-)", "Fargo", Some(2014)),
        ("Fleabag (2016– )", "Fleabag", Some(2016)),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", Some(1968)),
        ("Babylon 5", "Babylon 5", None),
        ("Weekend (1234)", "Weekend (1234)", None),
        ("Robots (four)", "Robots (four)", None),
        ("Robots (+199)", "Robots (+199)", None),
        ("Robots (19955)", "Robots (19955)", None),
        ("Robots (ôôô)", "Robots (ôôô)", None),
        ("(1995)", "(1995)", None),
    ] {
        let read = &movies(&format!("1,{title},Drama\n")).unwrap()[0];
        assert_eq!((read.name.as_str(), read.year), (name, year), "{title}");
        assert_eq!(read.added_at_ms == 0, year.is_none(), "{title}");
    }
}

#[test]
fn maturity_errs_on_the_strict_side() {
    for (genres, maturity) in [
        ("Children", Maturity::AllAges),
        ("Animation|Children|Comedy", Maturity::AllAges),
        ("Animation|Children's", Maturity::AllAges),
        ("Animation|Comedy", Maturity::Age16),
        ("Children|Crime", Maturity::Age16),
        ("Children|War", Maturity::Age16),
        ("Children's|Thriller", Maturity::Age16),
        ("Children|Horror", Maturity::Age18),
        ("Comedy|Horror", Maturity::Age18),
        ("Drama", Maturity::Age16),
        ("(no genres listed)", Maturity::Age18),
        ("", Maturity::Age18),
    ] {
        let read = &movies(&format!("1,A,{genres}\n")).unwrap()[0];
        assert_eq!(read.maturity, maturity, "{genres}");
        assert_eq!(maturity_of(&read.genres), maturity, "{genres}");
    }
}

#[test]
fn the_most_frequent_tags_are_kept() {
    let mut tags = "userId,movieId,tag,timestamp\n".to_owned();
    for number in 0..30 {
        for user in 0..=number {
            writeln!(tags, "{user},7,Tag {number:02},0").unwrap();
        }
    }
    tags += &format!("1,7,{},0\n", "long ".repeat(60)).repeat(50);
    let movies = b"movieId,title,genres\n7,A,Drama\n8,B,Drama\n";
    let titles = read(&[("movies.csv", movies), ("tags.csv", tags.as_bytes())]).unwrap();
    let expected: Vec<_> = (30 - MAX_TAGS_OF_A_MOVIE..30).rev().map(|number| format!("tag {number:02}")).collect();
    assert_eq!(titles[0].tags, expected);
    assert!(titles[1].tags.is_empty());
}

#[test]
fn the_older_layout_says_the_same() {
    let csv = "movieId,title,genres\n1,Toy Story (1995),Animation|Children\n73,\"Misérables, Les (1995)\",Drama|War\n";
    let csv_tags = "userId,movieId,tag,timestamp\n15,73,Victor Hugo,1\n";
    let dat = "1::Toy Story (1995)::Animation|Children\n73::Misérables, Les (1995)::Drama|War\n";
    let expected = read(&[("movies.csv", csv.as_bytes()), ("tags.csv", csv_tags.as_bytes())]).unwrap();
    let dat_tags = b"15::73::Victor Hugo::1\n";
    assert_eq!(read(&[("movies.dat", dat.as_bytes()), ("tags.dat", dat_tags)]).unwrap(), expected);
    // MovieLens 1M is in ISO 8859-1.
    let latin: Vec<u8> = dat.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    assert_eq!(read(&[("movies.dat", &latin), ("tags.dat", dat_tags)]).unwrap(), expected);
}

#[test]
fn errors_name_file_line_and_field() {
    let header = "movieId,title,genres\n1,A (1995),Drama\n";
    let movies = |line: &str| format!("{header}{line}\n").into_bytes();
    check_refused(
        &[("movies.csv", b"movieId,name,genres\n")],
        &expect!["movies.csv, line 1, field `title`: the header has no such column"],
    );
    check_refused(
        &[("movies.csv", &movies("two,B,Drama"))],
        &expect!["movies.csv, line 3, field `movieId`: `two` is not a number from 0 to 4294967295"],
    );
    check_refused(&[("movies.csv", &movies("2,B"))], &expect!["movies.csv, line 3, field `genres`: it is missing"]);
    check_refused(
        &[("movies.csv", &movies("2,B,C,Drama"))],
        &expect!["movies.csv, line 3, field `genres`: the line has 4 fields, its header 3"],
    );
    check_refused(
        &[("movies.csv", &movies("1,B,Drama"))],
        &expect!["movies.csv, line 3, field `movieId`: movie 1 is there twice"],
    );
    check_refused(
        &[("movies.csv", &movies("2,,Drama"))],
        &expect!["movies.csv, line 3, field `title`: it is empty (title `ml-2`)"],
    );
    check_refused(
        &[("movies.csv", &movies("2,B,Drama||War"))],
        &expect!["movies.csv, line 3, field `genres`: number 2: it is empty (title `ml-2`)"],
    );
    check_refused(
        &[("movies.csv", &[header.as_bytes(), b"2,\xff,Drama\n"].concat())],
        &expect!["movies.csv, line 3, field `title`: it is not UTF-8"],
    );
    check_refused(
        &[("movies.csv", header.as_bytes()), ("tags.csv", b"userId,movieId,tag,timestamp\n1,9,fun,0\n")],
        &expect!["tags.csv, line 2, field `movieId`: there is no movie 9 in the movies"],
    );
    check_refused(
        &[("movies.dat", b"1::A::Drama\n2::B\n")],
        &expect!["movies.dat, line 2, field `genres`: it is missing"],
    );
    check_refused(
        &[("movies.dat", b"1::A::B::Drama\n")],
        &expect!["movies.dat, line 1, field `genres`: the line has 4 fields instead of 3"],
    );
}

/// The published files end their lines as Windows does; empty lines count, too.
#[test]
fn lines_are_counted_as_people_do() {
    check_refused(
        &[("movies.csv", b"movieId,title,genres\r\n1,A (1995),Drama\r\n2,B\r\n")],
        &expect!["movies.csv, line 3, field `genres`: it is missing"],
    );
    check_refused(
        &[("movies.csv", b"movieId,title,genres\n\n1,A (1995),Drama\n\n\n2,B\n")],
        &expect!["movies.csv, line 6, field `genres`: it is missing"],
    );
}

#[test]
fn an_unclosed_quote_does_not_swallow_the_file() {
    let rest = "2,Jumanji (1995),Drama\n".repeat(200);
    check_refused(
        &[("movies.csv", format!("movieId,title,genres\n1,\"Toy Story (1995),Drama\n{rest}").as_bytes())],
        &expect!["movies.csv, line 2, field `genres`: it is missing"],
    );
}

#[test]
fn a_folder_without_movies_is_refused() {
    let error = read(&[("ratings.csv", b"")]).unwrap_err();
    assert!(matches!(&error, CatalogueError::Unreadable { path, .. } if path.ends_with("movies.csv")), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

/// The figures come from a few lines of Python over the same files.
#[test]
fn the_real_data_set_is_read() {
    let data = std::env::var_os("MARQUEE_DATA").map(PathBuf::from);
    assert!(data.is_some() || std::env::var_os("CI").is_none(), "CI must set MARQUEE_DATA");
    let Some(data) = data else {
        println!("left out: MARQUEE_DATA is not set, there is no real data to test with");
        return;
    };
    let titles = read_titles(&data.join("ml-latest-small")).unwrap();
    assert_eq!(titles.len(), 9742);
    assert_eq!(titles.iter().filter(|title| title.genres.is_empty()).count(), 34);
    assert_eq!(titles.iter().filter(|title| title.year.is_none()).count(), 12);
    let at = |maturity| titles.iter().filter(|title| title.maturity == maturity).count();
    assert_eq!((at(Maturity::AllAges), at(Maturity::Age16), at(Maturity::Age18)), (641, 8089, 1012));
    let by_id: HashMap<_, _> = titles.iter().map(|title| (title.title_id.as_str(), title)).collect();
    let pulp_fiction = by_id["ml-296"];
    assert_eq!((pulp_fiction.name.as_str(), pulp_fiction.year), ("Pulp Fiction", Some(1994)));
    assert_eq!(pulp_fiction.maturity, Maturity::Age16);
    assert_eq!(pulp_fiction.tags.len(), MAX_TAGS_OF_A_MOVIE);
    let twice = "cult film, drugs, good dialogue, great soundtrack, hit men, non-linear, quentin tarantino, tarantino";
    assert_eq!(pulp_fiction.tags[..8].join(", "), twice);
    assert_eq!(by_id["ml-1"].maturity, Maturity::AllAges);
    assert_eq!(by_id["ml-1"].tags, ["pixar", "fun"]);
}
