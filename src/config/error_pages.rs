//! `[listener.error_pages]`: files that weir's own refusals are answered with, by status or class.
//!
//! Here: the section, and that each file is a page: of bounded size, text, of a known kind. The bytes are part of
//! the configuration, so that a reload sees a changed page as it sees a changed key. This room opens no file: who
//! parses hands a reader in. Not here: when weir refuses (`exchange`, `proxy`).

use super::address;
use super::fault::Wrong;
use super::model::{Answers, ErrorPage, ErrorPages, PageBody};
use super::section::Section;
use super::values::{self, quoted};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a page: each may wait, for seconds, for clients that do not read.
pub const PAGE_BYTES_MAX: usize = 64 << 10;

/// The statuses with which weir itself refuses: all others are backends' alone.
pub const OWN_STATUSES: [u16; 12] = [400, 404, 408, 413, 414, 417, 431, 501, 502, 503, 504, 505];

/// What a file is, by the end of its name.
const KINDS: [(&str, &str); 5] = [
    ("html", "text/html; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
];

pub(super) fn error_pages(s: Section<'_>) -> ErrorPages {
    let report = s.report;
    let mut pages = ErrorPages::default();
    for entry in s.entries() {
        let page = || {
            let answers = answers(entry.name)?;
            let file = values::text(entry.value.get_ref())
                .and_then(|text| address::file(text, "/etc/weir/503.html"))?;
            let content_type = kind(&file)?;
            let body = report.read_file(&file, PAGE_BYTES_MAX).map_err(|cause| {
                let what = format!("{} cannot be read: {cause}", quoted(&file.display().to_string()));
                Wrong::new(what, "create it, readable to weir's user, or remove the key")
            });
            let body = body.and_then(|body| page_body(&file, body))?;
            Ok(ErrorPage { answers, file, content_type, body })
        };
        match page() {
            Ok(page) => {
                if let Answers::Status(status) = page.answers
                    && !OWN_STATUSES.contains(&status)
                {
                    let own = OWN_STATUSES.map(|status| status.to_string()).join(", ");
                    let what =
                        format!("weir never answers {status} itself, and backends' answers stay theirs");
                    report.warn(&entry.place, Wrong::new(what, format!("remove it; weir's own are {own}")));
                }
                pages.0.push(page);
            }
            Err(wrong) => report.error(&entry.place, wrong),
        }
    }
    pages
}

/// "503" or "5xx".
fn answers(key: &str) -> Result<Answers, Wrong> {
    match key {
        "4xx" => return Ok(Answers::Class(4)),
        "5xx" => return Ok(Answers::Class(5)),
        _ => {}
    }
    let status = key.parse::<u16>().ok().filter(|status| key.len() == 3 && (400..=599).contains(status));
    status.map(Answers::Status).ok_or_else(|| {
        let what = format!("{} is no status of an error and no class of them", quoted(key));
        Wrong::new(what, "write one such as \"503\", or \"4xx\" or \"5xx\"")
    })
}

fn kind(file: &Path) -> Result<&'static str, Wrong> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = KINDS.iter().find(|(name, _)| *name == extension).map(|(_, kind)| *kind);
    known.ok_or_else(|| {
        let what = format!("the end of {} does not say what it is", quoted(&file.display().to_string()));
        let known = KINDS.map(|(name, _)| format!(".{name}")).join(", ");
        Wrong::new(what, format!("name a file that ends in one of {known}"))
    })
}

fn page_body(file: &Path, body: Vec<u8>) -> Result<PageBody, Wrong> {
    let wrong = |what: String, remedy| {
        Err(Wrong::new(format!("{} {what}", quoted(&file.display().to_string())), remedy))
    };
    if body.is_empty() {
        return wrong("is empty".to_owned(), "write the page, or remove the key");
    }
    if body.len() > PAGE_BYTES_MAX {
        let most = values::size_text(PAGE_BYTES_MAX as u64);
        return wrong(format!("has more than {most}"), "make it smaller; let it fetch what is large");
    }
    if std::str::from_utf8(&body).is_err() {
        return wrong("is not UTF-8".to_owned(), "save it as UTF-8");
    }
    Ok(PageBody(Arc::from(body)))
}

#[cfg(test)]
mod tests {
    use super::super::{Checked, Faults, parse_with};
    use super::*;

    /// What a configuration with this section comes to; "/big.html" and the like are what their names say.
    fn parsed(section: &str) -> Result<Checked, Faults> {
        let text = format!(
            "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\nerror_pages = {{ {section} }}\n\
             [[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n"
        );
        let read = |path: &Path, max: usize| match path.to_str() {
            Some("/none.html") => Err("No such file or directory".to_owned()),
            Some("/big.html") => Ok(vec![b'x'; max + 1]),
            Some("/whole.html") => Ok(vec![b'x'; max]),
            Some("/empty.html") => Ok(Vec::new()),
            Some("/latin.html") => Ok(b"\xe9".to_vec()),
            _ => Ok(path.to_string_lossy().into_owned().into_bytes()),
        };
        parse_with(&text, "weir.toml", &read)
    }

    #[test]
    fn an_exact_status_wins_over_its_class_and_the_end_of_the_name_says_the_kind() {
        let section =
            "\"5xx\" = \"/a.html\", 503 = \"/b.json\", \"404\" = \"/c.svg\", \"413\" = \"/whole.html\"";
        let checked = parsed(section).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(checked.warnings, []);
        let pages = &checked.config.listeners[0].error_pages;
        for (status, expected) in [
            (503, Some(("/b.json", "application/json"))),
            (502, Some(("/a.html", "text/html; charset=utf-8"))),
            (404, Some(("/c.svg", "image/svg+xml"))),
            (400, None),
            (200, None),
        ] {
            let found = pages.of(status).map(|page| (page.file.to_str().unwrap_or(""), page.content_type));
            assert_eq!(found, expected, "{status}");
        }
        assert_eq!(pages.of(413).map(|page| page.body.0.len()), Some(PAGE_BYTES_MAX));
    }

    #[test]
    fn a_page_that_is_none_is_a_fault_at_its_line_and_key_with_a_remedy() {
        for (section, wrong, remedy) in [
            ("\"503\" = \"/none.html\"", "cannot be read: No such file", "create it"),
            ("\"503\" = \"/big.html\"", "has more than 64KiB", "smaller"),
            ("\"503\" = \"/empty.html\"", "is empty", "write the page"),
            ("\"503\" = \"/latin.html\"", "is not UTF-8", "UTF-8"),
            ("\"503\" = \"/a.php\"", "does not say what it is", ".html, .json, .txt, .xml, .svg"),
            ("\"503\" = \"a.html\"", "not the absolute path", "write one such as"),
            ("\"503\" = 5", "is not a string", "quotes"),
            ("\"200\" = \"/a.html\"", "no status of an error", "\"4xx\" or \"5xx\""),
            ("\"5XX\" = \"/a.html\"", "no status of an error", "\"4xx\" or \"5xx\""),
            ("\"+503\" = \"/a.html\"", "no status of an error", "\"503\""),
        ] {
            let Err(faults) = parsed(section) else { panic!("{section} is taken") };
            let [fault] = faults.0.as_slice() else { panic!("{faults}") };
            assert_eq!(fault.line, 4, "{fault}");
            assert!(fault.key.starts_with("listener[0].error_pages."), "{fault}");
            assert!(fault.wrong.contains(wrong) && fault.remedy.contains(remedy), "{fault}");
        }
    }

    #[test]
    fn a_page_for_what_only_backends_answer_is_a_warning() {
        let warnings = parsed("\"500\" = \"/a.html\"").map(|checked| checked.warnings).unwrap_or_default();
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(warning.wrong.contains("never answers 500"), "{warning}");
    }

    #[test]
    fn a_changed_page_is_another_configuration() {
        let of = |body: &str| {
            let text = "[[listener]]\naddress = \"127.0.0.1:1\"\npool = \"app\"\nerror_pages.503 = \"/a.html\"\n\
                        [[pool.app.backend]]\naddress = \"127.0.0.1:2\"\n";
            let read = |_: &Path, _: usize| Ok(body.as_bytes().to_vec());
            parse_with(text, "weir.toml", &read).map(|checked| checked.config)
        };
        assert!(of("one").is_ok() && of("one") == of("one") && of("one") != of("two"));
    }
}
