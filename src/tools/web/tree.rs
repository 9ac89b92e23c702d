//! HTML as a tree, within bounds; and of a page that does not keep to them, its text.
//!
//! INVARIANT: time and memory are bounded whatever the bytes are. A few bytes can ask for a tree without end (unclosed formatting opens
//! anew in each paragraph) or for quadratic work (nesting, attributes), so the parser gets small parts, and is stopped between them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use dom_query::{Document, NodeId};
use html5ever::buffer_queue::BufferQueue;
use html5ever::tendril::{StrTendril, TendrilSink as _};
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};
use html5ever::tree_builder::{ElementFlags, NodeOrText, QuirksMode, TreeBuilderOpts, TreeSink};
use html5ever::{Attribute, ParseOpts, QualName, parse_document};
use tokio::time::Instant;

/// Bytes that the parser gets at once: what one part can at worst ask for is that many times the deepest nesting.
const PART: usize = 512;
/// Nesting of elements that is taken as it is. Browsers flatten at 512.
const DEEPEST: usize = 512;
/// Nodes of a tree.
const MOST_NODES: usize = 300_000;

/// The page's tree; `None` where it is too deep, too large, or not ready by then.
pub(super) fn parse(html: &str, until: Instant) -> Option<Document> {
    let tree_builder = TreeBuilderOpts { scripting_enabled: false, ..TreeBuilderOpts::default() };
    let mut parser = parse_document(Counted::default(), ParseOpts { tree_builder, ..ParseOpts::default() });
    for part in parts(html) {
        parser.process(StrTendril::from_slice(part));
        let counted = &parser.tokenizer.sink.sink;
        if counted.nodes.get() > MOST_NODES || !is_open_path_shallow(&counted.document) || Instant::now() > until {
            return None;
        }
    }
    let document = parser.finish();
    // What a template holds is no part of the page, and lies outside the tree that was measured.
    document.select("template").remove();
    is_shallow(&document).then_some(document)
}

/// Title and text of a page without a tree: linear, and what was read by then.
pub(super) fn text_alone(html: &str, until: Instant) -> (String, String) {
    let tokenizer = Tokenizer::new(Texts::default(), TokenizerOpts::default());
    let queue = BufferQueue::default();
    for part in parts(html) {
        queue.push_back(StrTendril::from_slice(part));
        // It stops after each script, so as if that were run now.
        while !queue.is_empty() && !matches!(tokenizer.feed(&queue), html5ever::TokenizerResult::Done) {}
        if Instant::now() > until {
            break;
        }
    }
    tokenizer.end();
    let Texts { title, text, .. } = tokenizer.sink;
    let text = text.into_inner();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    (title.into_inner(), lines.collect::<Vec<_>>().join("\n"))
}

/// Small parts, cut between characters.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.floor_char_boundary(PART);
        let (part, after) = rest.split_at_checked(end)?;
        rest = after;
        (!part.is_empty()).then_some(part)
    })
}

/// Whether the path that is being written to is no deeper than is let in.
fn is_open_path_shallow(document: &Document) -> bool {
    let mut here = Some(document.root());
    for _ in 0..=DEEPEST {
        let Some(node) = here else { return true };
        here = node.last_child();
    }
    false
}

/// Whether no path is deeper than is let in. Walks without recursion.
fn is_shallow(document: &Document) -> bool {
    let mut depth = 0_usize;
    let mut here = document.root().first_child();
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

/// A document that counts its nodes and keeps no list of what was wrong with the page.
#[derive(Default)]
struct Counted {
    document: Document,
    nodes: Cell<usize>,
}

impl Counted {
    fn one_more(&self) {
        self.nodes.set(self.nodes.get().saturating_add(1));
    }
}

impl TreeSink for Counted {
    type Handle = NodeId;
    type Output = Document;
    type ElemName<'a> = <Document as TreeSink>::ElemName<'a>;

    fn finish(self) -> Document {
        self.document
    }

    fn parse_error(&self, _wrong: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        self.document.get_document()
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Self::ElemName<'a> {
        self.document.elem_name(target)
    }

    fn create_element(&self, name: QualName, attrs: Vec<Attribute>, flags: ElementFlags) -> NodeId {
        self.one_more();
        self.document.create_element(name, attrs, flags)
    }

    fn create_comment(&self, text: StrTendril) -> NodeId {
        self.one_more();
        self.document.create_comment(text)
    }

    fn create_pi(&self, target: StrTendril, data: StrTendril) -> NodeId {
        self.one_more();
        self.document.create_pi(target, data)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        self.one_more();
        self.document.append(parent, child);
    }

    fn append_based_on_parent_node(&self, element: &NodeId, prev_element: &NodeId, child: NodeOrText<NodeId>) {
        self.one_more();
        self.document.append_based_on_parent_node(element, prev_element, child);
    }

    fn append_doctype_to_document(&self, name: StrTendril, public_id: StrTendril, system_id: StrTendril) {
        self.document.append_doctype_to_document(name, public_id, system_id);
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        self.document.get_template_contents(target)
    }

    fn same_node(&self, x: &NodeId, y: &NodeId) -> bool {
        self.document.same_node(x, y)
    }

    fn set_quirks_mode(&self, mode: QuirksMode) {
        self.document.set_quirks_mode(mode);
    }

    fn append_before_sibling(&self, sibling: &NodeId, new_node: NodeOrText<NodeId>) {
        self.one_more();
        self.document.append_before_sibling(sibling, new_node);
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attrs: Vec<Attribute>) {
        self.document.add_attrs_if_missing(target, attrs);
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.document.remove_from_parent(target);
    }

    fn reparent_children(&self, node: &NodeId, new_parent: &NodeId) {
        self.document.reparent_children(node, new_parent);
    }

    fn is_mathml_annotation_xml_integration_point(&self, handle: &NodeId) -> bool {
        self.document.is_mathml_annotation_xml_integration_point(handle)
    }
}

/// Gathers what a reader would see, and the title.
#[derive(Default)]
struct Texts {
    title: RefCell<String>,
    text: RefCell<String>,
    within: Cell<Within>,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Within {
    #[default]
    Text,
    Title,
    /// What is not for readers.
    Hidden,
}

impl TokenSink for Texts {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        match token {
            Token::CharacterTokens(text) => match self.within.get() {
                Within::Text => self.text.borrow_mut().push_str(&text),
                Within::Title => self.title.borrow_mut().push_str(&text),
                Within::Hidden => {}
            },
            Token::TagToken(tag) => {
                let starts = tag.kind == TagKind::StartTag;
                match &*tag.name {
                    "script" | "style" | "iframe" | "noembed" | "noframes" if starts => {
                        self.within.set(Within::Hidden);
                        return TokenSinkResult::RawData(if &*tag.name == "script" { RawKind::ScriptData } else { RawKind::Rawtext });
                    }
                    "title" | "textarea" if starts => {
                        self.within.set(if &*tag.name == "title" { Within::Title } else { Within::Hidden });
                        return TokenSinkResult::RawData(RawKind::Rcdata);
                    }
                    "script" | "style" | "iframe" | "noembed" | "noframes" | "title" | "textarea" => self.within.set(Within::Text),
                    "a" | "abbr" | "b" | "code" | "em" | "font" | "i" | "kbd" | "mark" | "q" | "s" | "small" | "span" | "strong"
                    | "sub" | "sup" | "u" => {}
                    _ => self.text.borrow_mut().push('\n'),
                }
            }
            Token::DoctypeToken(_) | Token::CommentToken(_) | Token::NullCharacterToken | Token::EOFToken | Token::ParseError(_) => {}
        }
        TokenSinkResult::Continue
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// Pages that ask for more than their bytes: each has to end, and soon.
    #[test]
    fn hostile_pages_are_stopped() {
        let fonts: String = (0..400).map(|n| format!("<p><font color=c{n}></p>")).collect();
        let table = [
            ("nesting", "<div>".repeat(200_000)),
            ("nesting of what closes itself", "<ul><li>".repeat(100_000)),
            ("tables", "<table><tr><td>".repeat(50_000)),
            ("formatting that is never closed", format!("{fonts}{}", "<p>x".repeat(200_000))),
            ("links within links", "<a href=x><div>".repeat(100_000)),
            ("elements", "<i></i>".repeat(1 << 20)),
            ("templates", "<template><div>".repeat(100_000)),
            ("selects", "<select><option>".repeat(200_000)),
            ("vector graphics", "<svg><g>".repeat(100_000)),
        ];
        for (what, page) in table {
            assert!(parse(&page, soon()).is_none(), "{what}");
        }
    }

    /// What the library by itself makes of 12 KB; a hundred times as many would be gigabytes.
    #[test]
    fn a_naive_parser_is_bitten() {
        let fonts: String = (0..200).map(|n| format!("<p><font color=c{n}></p>")).collect();
        let page = format!("{fonts}{}", "<p>x".repeat(1_500));
        assert!(page.len() < 13_000);
        assert!(Document::from(page.as_str()).select("font").length() > 300_000);
        assert!(parse(&page, soon()).is_none());
    }

    /// One tag with a million attributes costs quadratic time in the library: it is left when the time is over.
    #[test]
    fn a_tag_without_end_is_left_in_time() {
        let page: String = std::iter::once("<a".to_owned()).chain((0..600_000).map(|n| format!(" a{n}"))).collect();
        let begun = Instant::now();
        let until = begun + Duration::from_millis(500);
        assert!(parse(&page, until).is_none());
        text_alone(&page, Instant::now() + Duration::from_millis(500));
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    }

    #[test]
    fn pages_as_they_are_become_trees() {
        let page = format!("<!doctype html><title>T</title>{}<p>ä ö ü</p>", "<div><p>text <b>bold</b></p></div>".repeat(2_000));
        let document = parse(&page, soon()).unwrap();
        assert_eq!(document.select("p").length(), 2_001);
        assert_eq!(Document::from(page.as_str()).html(), document.html(), "in parts as in one");
    }

    #[test]
    fn text_without_a_tree_is_what_a_reader_would_see() {
        let page = "<head><title>A &amp; B</title><style>p{}</style><script>if (a < b) '</p>'</script></head>\
                    <p>one <b>two</b>\u{0}<p>three &lt;four&gt;<!-- no --><textarea>five</textarea><br>six";
        assert_eq!(text_alone(page, soon()), ("A & B".to_owned(), "one two\nthree <four>\nsix".to_owned()));
    }
}
