//! A page of HTML as readable Markdown: its main text with headings, links, tables and code; navigation and advertisements left out.
//!
//! INVARIANT: runs on a thread with room for the deepest tree that is let in; a deeper one is taken as plain text. What comes out is data:
//! no script of the page is run, nothing is loaded.

use dom_query::{Document, NodeRef};
use dom_smoothie::{Config, Readability};
use htmd::HtmlToMarkdown;
use tokio::sync::oneshot;
use url::Url;

use crate::domain::{ErrorCode, Fault};

use super::page::{Link, Page};

/// Nesting of elements that is taken as it is. Browsers flatten at 512.
const DEEPEST: usize = 512;
/// Elements of a page whose main text is looked for.
const MOST_ELEMENTS: usize = 200_000;
/// Links that are told.
const MOST_LINKS: usize = 100;
/// Characters of a link's text and of the page's own data.
const LONGEST_TEXT: usize = 300;
/// Stack of the thread; only what is touched costs memory.
const STACK: usize = 64 << 20;

/// What is never part of a text.
const NOT_TEXT: &str = "script, style, noscript, template, iframe, object, embed, svg, canvas, form, button, input, select, textarea";
/// What stands around a text, where the text itself was not found.
const AROUND: &str = "nav, header, footer, aside";

/// The page. `base` is its address, for links that are told shortly.
///
/// # Errors
/// `INTERNAL` where no thread can be made.
pub(super) async fn page(html: String, base: Url) -> Result<Page, Fault> {
    let (sender, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("html".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let read = std::panic::catch_unwind(|| convert(&html, &base));
            // Nobody may be waiting any more.
            let _ = sender.send(read);
        })
        .map_err(|error| Fault::internal(format!("no thread for a page: {error}")))?;
    match receiver.await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(_)) | Err(_) => Err(Fault::new(ErrorCode::EgressFailed, "the page cannot be read as text").hint("the original is kept as an artifact")),
    }
}

/// The same on this thread, which must have the stack for it.
pub(super) fn convert(html: &str, base: &Url) -> Page {
    let document = Document::from(html);
    let base = document
        .select_single("base[href]")
        .attr("href")
        .and_then(|href| base.join(&href).ok())
        .filter(|base| matches!(base.scheme(), "http" | "https"))
        .unwrap_or_else(|| base.clone());
    if !is_shallow(&document) {
        let text = plain(&document);
        return Page { title: document.select_single("title").text().trim().to_owned(), markdown: text, ..Page::default() };
    }
    let mut page = article(html, &base).unwrap_or_else(|| whole(&document, &base));
    let language = || document.select_single("html").attr("lang").map(|lang| short(&lang));
    page.language = page.language.or_else(language).filter(|lang| !lang.is_empty());
    page
}

/// The page's main text, where it can be told from the rest.
fn article(html: &str, base: &Url) -> Option<Page> {
    let config = Config { max_elements_to_parse: MOST_ELEMENTS, ..Config::default() };
    let mut readability = Readability::new(html, Some(base.as_str()), Some(config)).ok()?;
    let article = readability.parse().ok()?;
    let content = Document::from(article.content.as_ref());
    let markdown = to_markdown(&article.content)?;
    if markdown.trim().is_empty() {
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
    let body = document.select_single("body");
    let html = if body.exists() { body.html() } else { document.html() };
    Page {
        title: short(&document.select_single("title").text()),
        links: links(document, base),
        markdown: to_markdown(&html).unwrap_or_else(|| plain(document)),
        ..Page::default()
    }
}

fn to_markdown(html: &str) -> Option<String> {
    let skipped = vec!["script", "style", "noscript", "template", "iframe", "svg", "head", "title"];
    let markdown = HtmlToMarkdown::builder().skip_tags(skipped).build().convert(html).ok()?;
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

/// Whether the tree is nested no deeper than is let in. Walks it without recursion.
fn is_shallow(document: &Document) -> bool {
    let root = document.root();
    let mut depth = 0_usize;
    let mut here: Option<NodeRef<'_>> = root.first_child();
    while let Some(node) = here {
        if depth > DEEPEST {
            return false;
        }
        if let Some(child) = node.first_child() {
            depth += 1;
            here = Some(child);
            continue;
        }
        let mut node = node;
        here = loop {
            if let Some(next) = node.next_sibling() {
                break Some(next);
            }
            match node.parent() {
                Some(parent) if depth > 0 => {
                    depth -= 1;
                    node = parent;
                }
                Some(_) | None => break None,
            }
        };
    }
    true
}

/// The texts of the page, a line each.
fn plain(document: &Document) -> String {
    document.select(NOT_TEXT).remove();
    let text = document.root().text();
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

fn short(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_TEXT { line } else { line.chars().take(LONGEST_TEXT).chain(['…']).collect() }
}
