//! The one door to the terminal: data to stdout, everything else to stderr.
//!
//! INVARIANT: nothing else in this room writes to stdout or stderr, and nothing is written with a secret in it. Does not make text harmless: see `text`.

use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal as _, Read as _, Write};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::call::{NoRedaction, Redact};
use crate::config::Ambient;

use super::text;

/// What the streams are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looks {
    /// A person can type: stdin is a terminal, and so is stderr, where questions are put.
    pub interactive: bool,
    /// Stdout is a terminal of this many columns; `None` where it is not one, and nothing is cut then.
    pub width: Option<usize>,
    /// Stderr is a terminal that can redraw lines.
    pub live: bool,
    /// Colours are welcome on stderr.
    pub colour: bool,
}

/// Standard streams.
pub struct Console {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
    input: Mutex<Box<dyn BufRead + Send>>,
    looks: Looks,
    redact: Arc<dyn Redact>,
}

impl Console {
    /// These streams.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>, input: Box<dyn BufRead + Send>, looks: Looks) -> Self {
        Self { out: Mutex::new(out), err: Mutex::new(err), input: Mutex::new(input), looks, redact: Arc::new(NoRedaction) }
    }

    /// The process's own.
    #[must_use]
    pub fn of_process(ambient: &Ambient) -> Self {
        let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
        let dumb = ambient.var("TERM").is_some_and(|term| term == "dumb");
        let looks = Looks {
            interactive: stdin.is_terminal() && stderr.is_terminal(),
            width: stdout.is_terminal().then(|| usize::from(console::Term::stdout().size().1)),
            live: stderr.is_terminal() && !dumb,
            colour: stderr.is_terminal() && !ambient.refuses_colour(),
        };
        Self::new(Box::new(stdout), Box::new(stderr), Box::new(io::BufReader::new(stdin)), looks)
    }

    /// The same; what takes secrets out of everything that is written.
    #[must_use]
    pub fn redacting(self, redact: Arc<dyn Redact>) -> Self {
        Self { redact, ..self }
    }

    /// A text as it may be shown, for what does not go through this console: lines that a terminal redraws.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.redact.text(text)
    }

    /// What takes secrets out.
    #[must_use]
    pub fn redact(&self) -> Arc<dyn Redact> {
        Arc::clone(&self.redact)
    }

    /// What the streams are connected to.
    #[must_use]
    pub fn looks(&self) -> Looks {
        self.looks
    }

    /// Data, as it is but for secrets.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(self.clean(text).as_bytes())?;
        out.flush()
    }

    /// A secret that is made here and shown this once: the one line that leaves as it is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn once(&self, line: &str) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// A line of data.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.data(&format!("{text}\n"))
    }

    /// Data as JSON: indented on a terminal, else in one line.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn json(&self, value: &impl Serialize) -> io::Result<()> {
        let mut value = serde_json::to_value(value).map_err(io::Error::other)?;
        self.redact.value(&mut value);
        self.line(&text::json(&value, self.looks.width.is_some()))
    }

    /// One line of JSON lines.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        let mut value = serde_json::to_value(value).map_err(io::Error::other)?;
        self.redact.value(&mut value);
        self.line(&text::json(&value, false))
    }

    /// Something to tell that is not data. A closed stderr stops nothing.
    pub fn tell(&self, text: &str) {
        let mut err = self.err.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = err.write_all(self.clean(text).as_bytes()).and_then(|()| err.flush());
    }

    /// Puts a question on stderr and reads a line; `None` at the end of input.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub fn ask(&self, question: &str) -> io::Result<Option<String>> {
        self.tell(question);
        let mut line = String::new();
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let read = input.read_line(&mut line)?;
        Ok((read > 0).then(|| line.trim().to_owned()))
    }

    /// Everything on standard input, at most `limit` bytes and one more.
    ///
    /// # Errors
    /// Where the input cannot be read.
    pub fn read_input(&self, limit: u64) -> io::Result<Vec<u8>> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bytes = Vec::new();
        (&mut *input).take(limit + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// A table as data.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn table(&self, table: &Table) -> io::Result<()> {
        self.data(&table.render(self.looks.width))
    }
}

/// Rows in columns. Cells are made printable when they enter.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column titles.
    #[must_use]
    pub fn new(titles: &[&str]) -> Self {
        Self { rows: vec![titles.iter().map(|title| (*title).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.rows.push(cells.iter().map(|cell| text::printable(cell)).collect());
    }

    /// As text; lines are cut where a terminal has fewer columns.
    #[must_use]
    pub fn render(&self, width: Option<usize>) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| console::measure_text_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(widest).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(console::measure_text_width(cell)) + 2));
            }
            let line = line.trim_end();
            match width {
                Some(width) => text.push_str(&console::truncate_str(line, width, "…")),
                None => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_lines_as_the_terminal() {
        let mut table = Table::new(&["NAME", "ABOUT"]);
        table.row(["a", "short"]);
        table.row(["漢字名前", "a longer text\n\u{1b}[31m"]);
        assert_eq!(table.render(None), "NAME      ABOUT\na         short\n漢字名前  a longer text\\n\\u{1b}[31m\n");
        assert_eq!(table.render(Some(14)), "NAME      ABO…\na         sho…\n漢字名前  a l…\n");
    }
}
