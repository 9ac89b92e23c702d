//! How a message reads on a channel: two templates of the operator's, one for the title and one for the text.
//!
//! INVARIANT: strict: what is undefined is an error, and nothing of a message is taken for a template. A title is one line. Rendering ends,
//! and what it gives is bounded.

use std::io::{self, Write};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};

use crate::domain::{ErrorCode, Fault};
use crate::tools::plain;

use super::Notice;

/// Instructions that one rendering may take.
const FUEL: u64 = 50_000;
/// Bytes of what a template may give.
const LONGEST_TITLE: usize = 1_000;
const LONGEST_TEXT: usize = 32 << 10;

/// Where nothing else is said.
const TITLE: &str = "{{ title or 'toolgate: ' ~ level }}";
const TEXT: &str = "{{ message }}";

/// A channel's templates.
#[derive(Debug)]
pub struct Template(Environment<'static>);

impl Template {
    /// Of these sources; without one the title is the message's own (or its level) and the text is the message.
    ///
    /// # Errors
    /// `CONFIG_INVALID` for a source that does not compile.
    pub fn new(title: Option<&str>, text: Option<&str>) -> Result<Self, Fault> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(16);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        for global in ["debug", "range", "lipsum"] {
            environment.remove_global(global);
        }
        for (name, source) in [("title", title.unwrap_or(TITLE)), ("body", text.unwrap_or(TEXT))] {
            environment.add_template_owned(name, source.to_owned()).map_err(|error| {
                Fault::new(ErrorCode::ConfigInvalid, format!("a channel's template `{name}` does not compile: {error}"))
            })?;
        }
        Ok(Self(environment))
    }

    /// Title and text of a notice on this channel.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where a template fails; `LIMIT_EXCEEDED` where it gives too much; `INVALID_INPUT` where nothing is left to read.
    pub fn render(&self, notice: &Notice, channel: &str) -> Result<(String, String), Fault> {
        let words = context! {
            title => notice.title.as_deref().unwrap_or_default(),
            message => notice.message.as_str(),
            level => notice.level.as_str(),
            run => notice.run.to_string(),
            channel => channel,
        };
        let title = plain(&self.one("title", &words, LONGEST_TITLE)?);
        let text = plain(&self.one("body", &words, LONGEST_TEXT)?).trim().to_owned();
        if text.is_empty() {
            return Err(Fault::new(ErrorCode::InvalidInput, format!("on `{channel}` nothing of the message is left to read")));
        }
        Ok((title.split_whitespace().collect::<Vec<_>>().join(" "), text))
    }

    fn one(&self, name: &str, words: &minijinja::Value, most: usize) -> Result<String, Fault> {
        let failed = |error: minijinja::Error| {
            Fault::new(ErrorCode::ConfigInvalid, format!("a channel's template `{name}` fails: {}", error.kind()))
                .hint("the operator finds the template in `toolgate config show`")
        };
        let template = self.0.get_template(name).map_err(failed)?;
        let mut out = Bounded { bytes: Vec::new(), most, is_over: false };
        match template.render_captured_to(words, &mut out) {
            _ if out.is_over => Err(Fault::new(ErrorCode::LimitExceeded, format!("the template `{name}` gives more than {most} bytes"))
                .hint("send a shorter message")),
            Err(error) => Err(failed(error)),
            Ok(_) => String::from_utf8(out.bytes).map_err(|_| Fault::internal("a template gave what is not text")),
        }
    }
}

/// Takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
    is_over: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.most {
            self.is_over = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
