//! A page of HTML as readable Markdown: its main text with headings, links, tables and code; navigation and advertisements left out.
//!
//! INVARIANT: runs on a thread with room for the deepest tree that is let in; a page that is none is taken as plain text. What comes out is
//! data: no script of the page is run, nothing is loaded.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use dom_query::Document;
use dom_smoothie::{Config, Readability};
use htmd::HtmlToMarkdown;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::domain::{ErrorCode, Fault};

use super::page::{Link, Page};
use super::tree::{parse, text_alone};

/// Pages read at once; one that is stuck keeps its place.
static PLACES: Semaphore = Semaphore::const_new(8);
/// How long a page's tree, and where it has none its text, may take.
const EACH: Duration = Duration::from_secs(6);
/// How long it may take in all, until nobody waits any more.
const LONGEST: Duration = Duration::from_secs(20);
/// Links that are told.
const MOST_LINKS: usize = 100;
/// Characters of a link's text and of the page's own data.
const LONGEST_TEXT: usize = 300;
/// Stack of the thread; only what is touched costs memory.
const STACK: usize = 64 << 20;

/// What is never part of a text.
const NOT_TEXT: &str = "script, style, noscript, template, iframe, object, embed, svg, canvas, form, button, input, select, textarea";
/// What stands around a text, where the text itself was not found.
const AROUND: &str = "header, footer, aside";

/// The page. `base` is its address, for links that are told shortly.
///
/// # Errors
/// `EGRESS_FAILED` for a page that cannot be read, `TIMEOUT` for one that takes too long.
pub(super) async fn page(html: String, base: Url) -> Result<Page, Fault> {
    let place = PLACES.acquire().await.map_err(|_| Fault::internal("no more pages are read"))?;
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("html".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let _place = place;
            let read = std::panic::catch_unwind(AssertUnwindSafe(|| convert(&html, &base)));
            // Nobody may be waiting any more.
            drop(sender.send(read));
        })
        .map_err(|error| Fault::internal(format!("no thread for a page: {error}")))?;
    match timeout(LONGEST, receiver).await {
        Ok(Ok(Ok(page))) => Ok(page),
        Ok(Ok(Err(_)) | Err(_)) => {
            Err(Fault::new(ErrorCode::EgressFailed, "the page cannot be read as text").hint("python.run can look at the original"))
        }
        Err(_) => Err(Fault::new(ErrorCode::Timeout, format!("reading the page took longer than {} s", LONGEST.as_secs()))
            .hint("python.run can look at the original")),
    }
}

/// The same on this thread, which must have the stack for it.
#[must_use]
pub fn convert(html: &str, base: &Url) -> Page {
    let Some(document) = parse(html, Instant::now() + EACH) else {
        let (title, text) = text_alone(html, Instant::now() + EACH);
        return Page { title: short(&title), markdown: text, ..Page::default() };
    };
    let base = document
        .select_single("base[href]")
        .attr("href")
        .and_then(|href| base.join(&href).ok())
        .filter(|base| matches!(base.scheme(), "http" | "https"))
        .unwrap_or_else(|| base.clone());
    // A page of few words is taken whole, with these.
    document.select("nav").remove();
    let language = document.select_single("html").attr("lang").map(|lang| short(&lang)).filter(|lang| !lang.is_empty());
    let mut page = article(&document, &base).unwrap_or_else(|| whole(&document, &base));
    page.language = page.language.or(language);
    page
}

/// The page's main text, where it can be told from the rest.
fn article(document: &Document, base: &Url) -> Option<Page> {
    // Classes say in which language code is written.
    let config = Config { keep_classes: true, ..Config::default() };
    let mut readability = Readability::with_document(document.clone(), Some(base.as_str()), Some(config)).ok()?;
    let article = readability.parse().ok()?;
    let content = parse(&article.content, Instant::now() + EACH)?;
    let markdown = to_markdown(&article.content)?;
    if markdown.is_empty() {
        return None;
    }
    let told = |text: Option<String>| text.map(|text| short(&text)).filter(|text| !text.is_empty());
    Some(Page {
        title: short(&article.title),
        byline: told(article.byline),
        site: told(article.site_name),
        language: told(article.lang),
        published: told(article.published_time),
        links: links(&content, base),
        markdown,
    })
}

/// All of the page but what is never text.
fn whole(document: &Document, base: &Url) -> Page {
    document.select(NOT_TEXT).remove();
    document.select(AROUND).remove();
    for anchor in document.select("a[href]").iter() {
        if let Some(url) = anchor.attr("href").and_then(|href| base.join(href.trim()).ok()) {
            anchor.set_attr("href", url.as_str());
        }
    }
    let body = document.select_single("body");
    let html = if body.exists() { body.html() } else { document.html() };
    Page {
        title: short(&document.select_single("title").text()),
        links: links(document, base),
        markdown: to_markdown(&html).unwrap_or_default(),
        ..Page::default()
    }
}

/// Of HTML that a tree was written as: it is no larger than that.
fn to_markdown(html: &str) -> Option<String> {
    let skipped = vec!["script", "style", "noscript", "template", "iframe", "svg", "head", "title"];
    let markdown = HtmlToMarkdown::builder().skip_tags(skipped).scripting_enabled(false).build().convert(html).ok()?;
    Some(markdown.trim().to_owned())
}

fn links(document: &Document, base: &Url) -> Vec<Link> {
    let mut seen = std::collections::BTreeSet::new();
    let all = document.select("a[href]");
    let links = all.iter().filter_map(|anchor| {
        let mut url = base.join(anchor.attr("href")?.trim()).ok()?;
        if !matches!(url.scheme(), "http" | "https") || url.as_str().len() > 2048 {
            return None;
        }
        let is_here = url.fragment().is_some() && without_fragment(&url) == without_fragment(base);
        url.set_fragment(None);
        (!is_here && seen.insert(url.to_string())).then(|| Link::new(short(&anchor.text()), url.into()))
    });
    links.take(MOST_LINKS).collect()
}

fn without_fragment(url: &Url) -> String {
    let mut url = url.clone();
    url.set_fragment(None);
    url.into()
}

fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_TEXT { line } else { line.chars().take(LONGEST_TEXT).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        "https://site.test/a/b".parse().unwrap()
    }

    #[test]
    fn without_a_main_text_the_whole_page_is_given_with_whole_links() {
        let page = convert(
            "<html lang=de><title> A  title </title><nav>around</nav><p>One <a href='../c'>link</a></p><script>x()</script>",
            &base(),
        );
        assert_eq!((page.title.as_str(), page.language.as_deref()), ("A title", Some("de")));
        assert!(page.markdown.contains("[link](https://site.test/c)"), "{}", page.markdown);
        assert!(!page.markdown.contains("around") && !page.markdown.contains("x()"), "{}", page.markdown);
        assert_eq!(page.links, [Link::new("link".into(), "https://site.test/c".into())]);
    }

    #[test]
    fn links_lead_only_to_the_web_and_stand_once() {
        let html = "<base href='https://other.test/dir/'><p><a href='x#1'>one</a> <a href='x#2'>again</a> <a href='javascript:alert(1)'>no</a>\
                    <a href='mailto:a@b.test'>no</a> <a href='data:text/html,x'>no</a> <a href='//third.test'>three</a></p>";
        let urls: Vec<String> = convert(html, &base())
            .links
            .iter()
            .map(|link| serde_json::to_value(link).unwrap()["url"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(urls, ["https://other.test/dir/x", "https://third.test/"]);
    }

    /// What the browser would take for nested a thousand deep is text here, and soon.
    #[tokio::test]
    async fn a_hostile_page_is_text_in_bounded_time() {
        let fonts: String = (0..400).map(|n| format!("<p><font color=c{n}></p>")).collect();
        for html in [
            format!("<title>t</title>{}bottom", "<div>".repeat(20_000)),
            format!("<title>t</title>{fonts}{}bottom", "<p>x".repeat(20_000)),
            format!("<title>t</title>{}bottom", "<table><tr><td>".repeat(10_000)),
            format!("<title>t</title>{}bottom", "<b><i>".repeat(100_000)),
        ] {
            let page = page(html, base()).await.unwrap();
            assert_eq!(page.title, "t");
            assert!(page.markdown.ends_with("bottom"));
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 200, ..Default::default() })]

        #[test]
        fn a_soup_of_tags_is_read(parts in proptest::collection::vec((0..40_usize, "[a-z &;<>\"'=/!\\-]{0,6}"), 0..120)) {
            const TAGS: [&str; 40] = [
                "<p>", "</p>", "<div class=main>", "</div>", "<article>", "</article>", "<table>", "<tr>", "<td>", "</table>", "<a href='x'>", "</a>",
                "<b>", "</i>", "<pre>", "<code class=language-x>", "</pre>", "<ul>", "<ol start=9>", "<li>", "</ul>", "<h1>", "</h2>", "<img src=x alt=y>",
                "<br>", "<hr>", "<blockquote>", "</blockquote>", "<svg>", "<math>", "<template>", "<script>", "</script>", "<select>", "<option>",
                "<!--", "-->", "<![CDATA[", "<title>", "<noscript>",
            ];
            let html: String = parts.iter().map(|(tag, text)| format!("{}{text}", TAGS[*tag])).collect();
            let _page = convert(&html, &base());
        }
    }
}
