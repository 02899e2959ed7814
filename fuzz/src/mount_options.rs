//! Bytes are the options of one mount, a line each, or numbers of known words where a byte is not printable. Nothing is
//! set and cleared at once, what is no word reaches the file system, and the last word of a kind decides.

use libcontain::plan::mount_options::{Options, attr, known_words, parse};

pub fn judge(data: &[u8]) {
    let words: Vec<&str> = known_words().collect();
    let options: Vec<String> = data
        .split(|byte| *byte == b'\n')
        .map(|line| match line.first().and_then(|first| usize::from(*first).checked_sub(128)) {
            Some(number) => words[number % words.len()].to_owned(),
            None => String::from_utf8_lossy(line).into_owned(),
        })
        .collect();
    let parsed = parse(&options);
    assert_eq!(parsed, parse(&options));
    consistent(&parsed);
    consistent(&parsed.clone().of_one_mount());
    let bound = parsed.clone().of_bind();
    consistent(&bound);
    // All of the flags about access times, or none.
    let times = attr::ATIME | attr::NODIRATIME;
    assert!([0, times].contains(&((bound.set | bound.clear) & times)), "{bound:x?}");
    data_is_kept(&options, &parsed, &words);
    last_word_decides(&options, &parsed);
}

fn consistent(options: &Options) {
    for (set, clear) in [(options.set, options.clear), (options.tree_set, options.tree_clear)] {
        assert_eq!(set & clear & !attr::ATIME, 0, "{options:x?}");
        assert!(set & attr::ATIME == 0 || clear & attr::ATIME == attr::ATIME, "{options:x?}");
        // What the kernel would refuse as a value of the field.
        assert!([0, attr::NOATIME, attr::STRICTATIME].contains(&(set & attr::ATIME)), "{options:x?}");
    }
    assert!(options.bind || !options.recursive);
}

fn data_is_kept(options: &[String], parsed: &Options, words: &[&str]) {
    let known = |option: &&String| words.contains(&option.as_str());
    let given: usize = options.iter().filter(|o| !known(o)).map(|o| o.len()).sum();
    let kept = |(key, value): &(String, Option<String>)| key.len() + value.as_ref().map_or(0, |value| value.len() + 1);
    let kept: usize = parsed.data.iter().map(kept).sum();
    let commas: usize = options.iter().filter(|o| !known(o)).map(|o| o.matches(',').count()).sum();
    assert!(kept <= given && kept + commas >= given, "{options:?} {:?}", parsed.data);
}

fn last_word_decides(options: &[String], parsed: &Options) {
    for (on, off, bit) in [
        ("ro", "rw", attr::RDONLY),
        ("nosuid", "suid", attr::NOSUID),
        ("nodev", "dev", attr::NODEV),
        ("noexec", "exec", attr::NOEXEC),
        ("nodiratime", "diratime", attr::NODIRATIME),
        ("nosymfollow", "symfollow", attr::NOSYMFOLLOW),
    ] {
        let last = |word: &str| options.iter().rposition(|option| option == word);
        let (is_set, is_clear) = (parsed.set & bit != 0, parsed.clear & bit != 0);
        assert_eq!((is_set, is_clear), (last(on) > last(off), last(off) > last(on)), "{options:?}");
        let (on, off) = (format!("r{on}"), format!("r{off}"));
        let (is_set, is_clear) = (parsed.tree_set & bit != 0, parsed.tree_clear & bit != 0);
        assert_eq!((is_set, is_clear), (last(&on) > last(&off), last(&off) > last(&on)), "{options:?}");
    }
}
